//! Helm, and objects as the chart, kustomize and the manifest have them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use webhook_tests::binaries::{self, workspace};
use webhook_tests::{Kubectl, Output, text};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);

/// Objects by kind, namespace and name.
pub type Objects = BTreeMap<(String, String, String), Value>;

/// A version of Helm.
pub struct Helm {
    pub major: u8,
    program: PathBuf,
}

/// Helm 3 and Helm 4.
pub fn helms() -> [Helm; 2] {
    let [three, four] = binaries::helms().expect("Helm");
    [(3, three), (4, four)].map(|(major, program)| Helm { major, program: program.to_owned() })
}

impl Helm {
    /// Runs it without a cluster.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(Command::new(&self.program), arguments)
    }

    /// Runs it on a cluster, where it has to succeed.
    #[track_caller]
    pub fn ok(&self, kubectl: &Kubectl, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        let given = kubectl.command();
        command.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--namespace", kubectl.namespace()]);
        let output = self.run_with(command, arguments);
        assert!(output.status.success(), "Helm {}: {arguments:?}: {output:?}", self.major);
        output.stdout
    }

    /// An upgrade, a rollback or an adoption over what other clients have changed. Helm 3 asks nobody.
    #[track_caller]
    pub fn force(&self, kubectl: &Kubectl, arguments: &[&str]) -> String {
        let force: &[&str] = if self.major == 3 { &[] } else { &["--force-conflicts"] };
        self.ok(kubectl, &[arguments, force].concat())
    }

    fn run_with(&self, mut command: Command, arguments: &[&str]) -> Output {
        let output = command.current_dir(workspace()).args(arguments).output();
        output.unwrap_or_else(|error| panic!("Helm {}: {error}", self.major)).into()
    }

    /// `helm template` in a namespace.
    pub fn try_template(&self, namespace: &str, arguments: &[&str]) -> Output {
        let command = ["template", "atomix", "deploy/chart", "--kube-version=1.36.0", "--namespace", namespace];
        self.run(&[&command, arguments].concat())
    }

    /// What the chart makes in a namespace.
    #[track_caller]
    pub fn template(&self, namespace: &str, arguments: &[&str]) -> Objects {
        let output = self.try_template(namespace, arguments);
        assert!(output.status.success(), "Helm {}: {arguments:?}: {}", self.major, output.stderr);
        objects(&output.stdout)
    }
}

/// The objects of a YAML stream, without the labels and annotations that only the chart gives.
#[track_caller]
pub fn objects(yaml: &str) -> Objects {
    let documents = yaml.split("\n---\n").filter(|document| document.contains("\nkind: "));
    let documents = documents.map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    let mut found = Objects::new();
    for mut object in documents {
        without_helm(&mut object);
        let key = ["/kind", "/metadata/namespace", "/metadata/name"].map(|field| text(&object, field).to_owned());
        assert!(found.insert(key.clone().into(), object).is_none(), "{key:?} is there twice");
    }
    found
}

/// Removes what Helm and the chart add to each object.
pub fn without_helm(object: &mut Value) {
    let ours =
        |name: &str| !["helm.sh/", "meta.helm.sh/", "app.kubernetes.io/"].iter().any(|own| name.starts_with(own));
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    for field in ["labels", "annotations"] {
        let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) else { continue };
        map.retain(|name, _| ours(name));
        if map.is_empty() {
            metadata.remove(field);
        }
    }
}

/// The objects of a file of the repository.
#[track_caller]
pub fn file(path: &str) -> Objects {
    objects(&fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// What kustomize makes of a directory of the repository, without the definitions: it writes their values in another form.
/// The test program `scope` compares them, as kubectl reads them.
#[track_caller]
pub fn kustomized(path: &str) -> Objects {
    let kubectl = binaries::controlplane().expect("a control plane").with_file_name("kubectl");
    let output = Command::new(kubectl).current_dir(workspace()).args(["kustomize", path]).output().expect("kubectl");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    without_definitions(objects(&String::from_utf8_lossy(&output.stdout)))
}

/// All but the custom resource definitions.
pub fn without_definitions(mut objects: Objects) -> Objects {
    objects.retain(|(kind, _, _), _| kind != "CustomResourceDefinition");
    objects
}

/// Fails with the first object in which the two differ.
#[track_caller]
pub fn assert_same(made: &Objects, wanted: &Objects, what: &str) {
    assert_eq!(made.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{what}");
    for (key, object) in made {
        assert_eq!(object, &wanted[key], "{what}: {key:?}");
    }
}

/// Writes values into a file of a test.
pub fn values_file(directory: &Path, name: &str, values: &Value) -> String {
    let path = directory.join(format!("{name}.json"));
    fs::write(&path, values.to_string()).expect("a file");
    path.to_string_lossy().into_owned()
}

//! A second control plane, on which the manifest is installed without the webhook configurations: what is written there
//! has passed the schema and its CEL rules only. The sets of [`ratcheting`](crate::ratcheting) have not even passed
//! those: they were stored before the schema had any rules.

use std::sync::OnceLock;

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Controller, Installation, Kubectl, Namespace};

use crate::SOON;
use crate::manifests::{raft, with};
use crate::ratcheting::old_sets;

const CRD: [&str; 2] = ["customresourcedefinition", "partitionsets.k8s.atomix.io"];
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
const KINDS: &str = "mutatingwebhookconfigurations,validatingwebhookconfigurations";

/// See the module.
pub struct Bare {
    control_plane: ControlPlane,
    installation: Installation,
    configurations: Value,
    old: Namespace,
}

/// The second control plane; the first call starts it.
pub fn bare() -> &'static Bare {
    static SHARED: OnceLock<Bare> = OnceLock::new();
    SHARED.get_or_init(Bare::start)
}

impl Bare {
    fn start() -> Self {
        let control_plane = ControlPlane::start().expect("a control plane");
        let installation = Installation::new(&control_plane).expect("an installation");
        let kubectl = installation.kubectl();
        let configurations = kubectl.get_json(&[KINDS, "atomix-controller"]);
        kubectl.ok(&["delete", KINDS, "atomix-controller"]);
        kubectl.wait_until(&["partitionsets", "-A"], SOON, <[Value]>::is_empty);

        let old = Namespace::new(control_plane.kubectl(), "old");
        let schema = kubectl.get_json(&CRD).pointer(SCHEMA).expect("a schema").clone();
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let replace = |schema: &Value| {
            let patch = json!([{"op": "replace", "path": SCHEMA, "value": schema}]).to_string();
            kubectl.ok(&[&["patch"], &CRD[..], &["--type=json", "-p", &patch]].concat());
        };
        let bad = with(raft("bad"), "/spec/partitions", json!(0));
        replace(&json!({"type": "object", "properties": {"spec": anything, "status": anything}}));
        until(kubectl, &bad, true);
        for set in old_sets() {
            old.kubectl().create_stdin(&set.to_string());
        }
        replace(&schema);
        until(kubectl, &bad, false);
        Self { control_plane, installation, configurations, old }
    }

    /// The administrator's kubectl.
    pub fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The namespace of the old sets, for which the webhooks are now asked. The first call starts the controller.
    pub fn guarded(&self) -> Kubectl {
        static CONTROLLER: OnceLock<Controller> = OnceLock::new();
        CONTROLLER.get_or_init(|| {
            let mut configurations = self.configurations.clone();
            let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.old.name()}});
            for configuration in configurations["items"].as_array_mut().expect("configurations") {
                configuration["metadata"] = json!({"name": "atomix-controller"});
                for webhook in configuration["webhooks"].as_array_mut().expect("webhooks") {
                    webhook["namespaceSelector"] = here.clone();
                }
            }
            self.installation.kubectl().create_stdin(&configurations.to_string());
            let mut controller = self.installation.start().expect("a controller");
            controller.wait_ready().expect("ready");
            controller
        });
        self.old.kubectl()
    }
}

/// Tries a dry run until the API server accepts the set, or refuses it: a new schema counts a moment later.
fn until(kubectl: &Kubectl, set: &Value, accepted: bool) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let output = kubectl.feed(&["create", "--dry-run=server", "-f", "-"], &set.to_string());
        if output.status.success() == accepted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{}", output.stderr);
    }
}

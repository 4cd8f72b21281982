//! What these tests have in common.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use webhook_tests::{
    AuditEntry, ControlPlane, Controller, Installation, Kubectl, Kustomization, StartOptions, is_ready,
};
pub use webhook_tests::{condition, text};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(180);

/// A cluster with the custom resource definitions, on which installations for
/// some namespaces are made.
pub struct Cluster {
    pub control_plane: ControlPlane,
    pub kustomization: Kustomization,
}

pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let control_plane = ControlPlane::start().expect("a control plane");
    let kustomization = Kustomization::copy(&control_plane).expect("a copy of the kustomizations");
    control_plane.kubectl().ok(&["create", "-k", &kustomization.crds().to_string_lossy()]);
    Cluster { control_plane, kustomization }
});

/// A team with an installation of its own.
pub struct Team {
    pub name: String,
    pub installation: Installation,
}

impl Team {
    /// Installs a controller for the namespaces `<name>` and `<name>-test`, and starts none.
    pub fn new(name: &str) -> Self {
        let Cluster { control_plane, kustomization } = &*CLUSTER;
        for namespace in [name.to_owned(), format!("{name}-test"), format!("{name}-system")] {
            control_plane.kubectl().ok(&["create", "namespace", &namespace]);
        }
        let overlay = kustomization.for_team(name).expect("an overlay");
        let (controller, namespace) = (format!("{name}-atomix"), format!("{name}-system"));
        let installation = Installation::of_kustomization(control_plane, &overlay, &controller, &namespace);
        let team = Self { name: name.to_owned(), installation: installation.expect("an installation") };
        team.await_rights();
        team
    }

    /// The API server learns of new rights by watches of its own: until then it would refuse what is allowed.
    fn await_rights(&self) {
        let (name, user) = (&self.name, self.installation.user());
        let rights = [
            ("list", "partitions.k8s.atomix.io".to_owned(), name.clone()),
            ("list", "partitions.k8s.atomix.io".to_owned(), format!("{name}-test")),
            ("get", format!("secrets/{name}-atomix-webhook-ca"), format!("{name}-system")),
            ("patch", format!("mutatingwebhookconfigurations/{name}-atomix"), String::new()),
        ];
        let deadline = Instant::now() + SOON;
        for (verb, object, namespace) in rights {
            let kubectl = CLUSTER.control_plane.kubectl();
            while !kubectl.run(&["auth", "can-i", verb, &object, "--as", &user, "-n", &namespace]).status.success() {
                assert!(Instant::now() < deadline, "{user} may not {verb} {object} in {namespace:?}");
            }
        }
    }

    /// Starts a controller and waits until it is ready.
    pub fn start(&self, options: StartOptions) -> Controller {
        let mut controller = self.installation.start_with(options).expect("a controller");
        if let Err(error) = controller.wait_ready() {
            CLUSTER.control_plane.keep_logs();
            panic!("{error:#}");
        }
        controller
    }

    /// The administrator's kubectl in the team's first namespace.
    pub fn kubectl(&self) -> Kubectl {
        CLUSTER.control_plane.kubectl().in_namespace(&self.name)
    }

    /// The administrator's kubectl in the team's second namespace.
    pub fn kubectl_of_test(&self) -> Kubectl {
        CLUSTER.control_plane.kubectl().in_namespace(&format!("{}-test", self.name))
    }

    /// What the controller has asked of the API server.
    pub fn audit(&self) -> Vec<AuditEntry> {
        CLUSTER.control_plane.audit_stages_of(&self.installation.user())
    }
}

/// A PartitionSet, as YAML.
pub fn set(name: &str, partitions: u32, size: u32) -> String {
    format!(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {{name: {name}}}\n\
         spec: {{partitions: {partitions}, template: {{spec: {{protocol: raft, size: {size}}}}}}}\n"
    )
}

/// Waits until a set is Ready for the spec that it has now.
#[track_caller]
pub fn await_ready(kubectl: &Kubectl, set: &str) -> Value {
    let found = kubectl.wait_until(&["partitionsets", set], SOON, |sets| sets.first().is_some_and(is_ready));
    found[0].clone()
}

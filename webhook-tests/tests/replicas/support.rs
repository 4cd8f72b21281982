//! What these tests have in common.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use webhook_tests::{ControlPlane, Installation, Kubectl, Replicas};

/// A cluster with the manifest and without a controller, for one test at a time: the API server knows one address of
/// the webhooks only.
pub struct Ground {
    pub control_plane: ControlPlane,
    pub installation: Installation,
}

/// Waits until no other test has it.
pub fn ground() -> MutexGuard<'static, Ground> {
    static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| {
        let control_plane = ControlPlane::start().expect("a control plane");
        let installation = Installation::new(&control_plane).expect("an installation");
        Mutex::new(Ground { control_plane, installation })
    });
    let ground = GROUND.lock().unwrap_or_else(PoisonError::into_inner);
    // The replicas of other tests were killed: no replica is to wait for their Leases.
    let leases = ["lease", "atomix-controller", "atomix-controller-replicas", "-n", "kube-system"];
    ground.kubectl().ok(&[&["delete", "--ignore-not-found"], &leases[..]].concat());
    ground
}

impl Ground {
    /// The administrator's kubectl, in namespace `default`.
    pub fn kubectl(&self) -> Kubectl {
        self.control_plane.kubectl().in_namespace("default")
    }

    /// Keeps the logs if these did not start.
    pub fn started<'a>(&self, replicas: anyhow::Result<Replicas<'a>>) -> Replicas<'a> {
        replicas.unwrap_or_else(|error| {
            self.control_plane.keep_logs();
            panic!("{error:#}")
        })
    }
}

/// A PartitionSet that only the webhooks can complete.
pub fn set(name: &str) -> String {
    format!(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {{name: {name}}}\n\
         spec: {{template: {{spec: {{protocol: raft, size: 3}}}}}}\n"
    )
}

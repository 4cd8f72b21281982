//! What these tests have in common.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use webhook_tests::{ControlPlane, Controller, Kubectl, Namespace, is_ready};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);

/// A cluster without an installation, for one test at a time; each leaves it as it was.
pub fn cluster() -> MutexGuard<'static, ControlPlane> {
    static CLUSTER: LazyLock<Mutex<ControlPlane>> =
        LazyLock::new(|| Mutex::new(ControlPlane::start().expect("a control plane")));
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a controller that was just started leads, and says how long that has taken.
#[track_caller]
pub fn await_leader(controller: &Controller) -> Duration {
    let begun = Instant::now();
    while !controller.leads() {
        assert!(begun.elapsed() < SOON, "it does not lead\n{}", controller.log());
        sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// A set of one partition, once it is ready.
#[track_caller]
pub fn create_ready(namespace: &Namespace, name: &str) -> Kubectl {
    let kubectl = namespace.kubectl();
    kubectl.create_stdin(&format!(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {{name: {name}}}\n\
         spec: {{template: {{spec: {{protocol: raft, size: 1}}}}}}\n"
    ));
    kubectl.wait_until(&["partitionset", name], SOON, |found| found.first().is_some_and(is_ready));
    kubectl
}

//! The installation is removed by the commands of the README, whatever of it is gone already.

use std::time::Duration;

use webhook_tests::{Installation, Namespace, readme_commands};

use crate::support::{await_leader, cluster, create_ready};

/// A Lease that another holds is waited for longer than this.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn nothing_is_left_and_the_next_installation_leads_at_once() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let removal = readme_commands("Uninstall").swap_remove(0);
    for round in 0..2 {
        let installation = Installation::new(&cluster).expect("an installation");
        let mut controller = installation.start().expect("a controller");
        let took = await_leader(&controller);
        assert!(took < AT_ONCE, "{round}: it has led only after {took:?}");
        controller.wait_ready().expect("a ready controller");
        let namespace = Namespace::new(kubectl, "removal");
        let inside = create_ready(&namespace, "w");

        let removed = kubectl.shell(&removal);
        assert!(removed.status.success(), "{round}: {removed:?}");
        // The pods are stopped when their Deployment is gone, and may do nothing any more by then.
        assert!(controller.stop().expect("an end").success(), "{}", controller.log());
        let left = inside.ok(&["get", "statefulsets,services,configmaps,pods,pdb", "-l", "app=atomix", "-o", "name"]);
        assert_eq!(left, "", "{round}");
        let left = installation.kubectl().ok(&["get", "leases,deployments,secrets", "-l", "name=atomix-controller", "-o", "name"]);
        assert_eq!(left, "", "{round}");
        let leases = installation.kubectl().ok(&["get", "leases", "-o", "name"]);
        assert!(!leases.contains("atomix"), "{round}: {leases}");
    }
}

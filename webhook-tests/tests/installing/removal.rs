//! The installation is removed by the commands of the documents, whatever of it is gone already.

use std::time::Duration;

use webhook_tests::{Installation, Namespace, commands_of};

use crate::support::{await_leader, cluster, create_ready};

/// A Lease that another holds is waited for longer than this.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What is gone, or broken, before the installation is removed; the controller is killed first, unless that is nothing.
const GONE: [&[&str]; 4] = [
    &[],
    &["deployment/atomix-controller", "service/atomix-controller"],
    &["clusterrole/atomix-controller", "role/atomix-controller", "serviceaccount/atomix-controller"],
    &[
        "secret/atomix-controller-webhook-ca",
        "lease/atomix-controller",
        "mutatingwebhookconfiguration/atomix-controller",
    ],
];

#[test]
fn nothing_is_left_whatever_was_gone_and_the_next_installation_leads_at_once() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let removal = commands_of("docs/install.md", "Uninstall").swap_remove(0);
    for gone in GONE {
        let installation = Installation::new(&cluster).expect("an installation");
        let mut controller = installation.start().expect("a controller");
        let took = await_leader(&controller);
        assert!(took < AT_ONCE, "before {gone:?}: it has led only after {took:?}");
        controller.wait_ready().expect("a ready controller");
        let namespace = Namespace::new(kubectl, "removal");
        let inside = create_ready(&namespace, "w");
        create_ready(&namespace, "orphaning");
        if !gone.is_empty() {
            controller.kill().expect("an end");
            installation.kubectl().ok(&[&["delete"], gone].concat());
            // Sets that live are judged, and so cannot be written.
            let label = r#"{"metadata": {"labels": {"a": "b"}}}"#;
            let refused = inside.fails(&["patch", "partitionset", "w", "--type=merge", "-p", label]);
            assert!(refused.contains("failed calling webhook"), "{refused}");
            // The garbage collector takes the owner off the Partition, or deletes it if it did not know its kind yet.
            let orphan = ["delete", "partitionset", "orphaning", "--cascade=orphan", "--timeout=60s"];
            inside.ok(&orphan);
            inside.ok(&[
                "delete",
                "--ignore-not-found",
                "partition",
                "orphaning-1",
                "--cascade=foreground",
                "--timeout=60s",
            ]);
        }

        let removed = kubectl.shell(&removal);
        assert!(removed.status.success(), "{gone:?}: {removed:?}");
        // The pods are stopped when their Deployment is gone, and may do nothing any more by then.
        if gone.is_empty() {
            assert!(controller.stop().expect("an end").success(), "{}", controller.log());
        }
        let left = inside.ok(&["get", "statefulsets,services,configmaps,pods,pdb", "-l", "app=atomix", "-o", "name"]);
        assert_eq!(left, "", "{gone:?}");
        let ours = ["get", "leases,deployments,secrets,services,roles", "-l", "name=atomix-controller", "-o", "name"];
        assert_eq!(installation.kubectl().ok(&ours), "", "{gone:?}");
        let leases = installation.kubectl().ok(&["get", "leases", "-o", "name"]);
        assert!(!leases.contains("atomix"), "{gone:?}: {leases}");
    }
}

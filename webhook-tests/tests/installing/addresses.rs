//! No address is left for Services.

use std::time::{Duration, Instant};

use webhook_tests::binaries::workspace;
use webhook_tests::{Installation, MANIFEST, Namespace, condition, is_ready, text};

use crate::support::{SOON, cluster};

/// A back-off of a minute, and the time that it takes to make the rest.
const SOON_AFTER: Duration = Duration::from_secs(100);

#[test]
fn a_set_says_that_no_cluster_ip_is_left_and_goes_on_when_there_are_some() {
    let cluster = cluster();
    let installation = Installation::new(&cluster).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(cluster.kubectl(), "addresses");
    let kubectl = namespace.kubectl();
    // A range that is being deleted gives no addresses, and is made again when it is gone.
    let range = ["servicecidr", "kubernetes"];
    let hold = r#"{"metadata": {"finalizers": ["example.com/hold"]}}"#;
    kubectl.ok(&["patch", range[0], range[1], "--type=merge", "-p", hold]);
    kubectl.ok(&["delete", "servicecidr", "kubernetes", "--wait=false"]);
    let deadline = Instant::now() + SOON;
    let tried = || kubectl.run(&["create", "service", "clusterip", "probe", "--tcp=80"]);
    loop {
        let output = tried();
        if output.stderr.contains("range is full") {
            break;
        }
        assert!(Instant::now() < deadline, "{output:?}");
        let _ = kubectl.run(&["delete", "service", "probe"]);
    }

    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: w}\n\
         spec: {partitions: 2, template: {spec: {protocol: raft, size: 1}}}\n",
    );
    let says = |object: &serde_json::Value| {
        condition(object, "Ready").is_some_and(|ready| text(ready, "/message").contains("range is full"))
    };
    for (kind, name) in [("partition", "w-1"), ("partitionset", "w")] {
        kubectl.wait_until(&[kind, name], SOON, |found| found.first().is_some_and(says));
    }
    // Each partition asks ever more rarely.
    let refused = || {
        let audit = cluster.audit();
        audit.iter().filter(|entry| entry.resource == "services" && entry.code >= 500).count()
    };
    let before = (Instant::now(), refused());
    std::thread::sleep(Duration::from_secs(5));
    let asked = refused() - before.1;
    assert!(asked <= 10, "{asked} requests in {:?}", before.0.elapsed());

    let begun = Instant::now();
    kubectl.ok(&["patch", range[0], range[1], "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| found.first().is_some_and(is_ready));
    assert!(begun.elapsed() < SOON_AFTER, "{:?}", begun.elapsed());
    println!("ready {:?} after there were addresses", begun.elapsed());
    kubectl.ok(&["delete", "partitionset", "w", "--cascade=foreground"]);
    cluster.kubectl().ok(&["delete", "-f", &workspace().join(MANIFEST).to_string_lossy()]);
    assert!(controller.stop().expect("an end").success());
}

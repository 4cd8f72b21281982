//! Two installations and the namespaces of each.

use std::collections::BTreeSet;

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionElectionRequest,
    PartitionGroupId, PartitionGroupSpec, PartitionId,
};
use prost_types::Any;
use serde_json::{Value, json};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use webhook_tests::{AuditEntry, Controller, StartOptions};

use crate::support::{CLUSTER, SOON, Team, await_ready, condition, set, text};

const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// Admission reviews that a controller has answered.
fn reviews(controller: &Controller) -> u64 {
    let metrics = controller.get("/metrics").expect("metrics").body;
    let counts = metrics.lines().filter(|line| line.starts_with("atomix_admission_requests_total"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// That nothing was refused, and nothing asked for outside the team's namespaces.
#[track_caller]
fn assert_kept_to_its_rights(team: &Team) {
    let audit = team.audit();
    let wrong: Vec<_> = audit.iter().filter(|entry| !is_proper(entry, &team.name)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let namespaces: BTreeSet<&str> = audit.iter().map(|entry| entry.namespace.as_str()).collect();
    let name = &team.name;
    assert_eq!(namespaces, ["", name, &format!("{name}-system"), &format!("{name}-test")].into());
}

fn is_proper(entry: &AuditEntry, team: &str) -> bool {
    let cluster_wide = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations", "selfsubjectreviews"];
    let at_home = match entry.namespace.strip_prefix(team) {
        Some("" | "-test" | "-system") => true,
        _ => entry.namespace.is_empty() && cluster_wide.contains(&entry.resource.as_str()),
    };
    at_home && !matches!(entry.code, 401 | 403)
}

#[test]
fn each_serves_its_own_namespaces_under_its_own_name() {
    let (red, blue) = (Team::new("red"), Team::new("blue"));
    let _red = red.start(StartOptions::default());
    let domain = "--cluster-domain=example.org".to_owned();
    let _blue = blue.start(StartOptions { arguments: vec![domain], ..StartOptions::default() });
    let places = [red.kubectl(), red.kubectl_of_test(), blue.kubectl()];
    for kubectl in &places {
        kubectl.create_stdin(&set("raft", 2, 3));
    }
    for kubectl in &places {
        await_ready(kubectl, "raft");
    }
    for (team, domain) in [(&red, "cluster.local"), (&blue, "example.org")] {
        let (name, kubectl) = (&team.name, team.kubectl());
        let partition = kubectl.get_json(&["partition", "raft-1"]);
        let annotations = &partition["metadata"]["annotations"];
        assert_eq!(annotations["k8s.atomix.io/controller"], format!("{name}-system.{name}-atomix"));
        assert_eq!(partition["metadata"]["labels"]["app.kubernetes.io/managed-by"], format!("{name}-atomix"));
        let slice = kubectl.get_json(&["endpointslice", "raft-ipv4"]);
        let managed_by = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
        assert_eq!(*managed_by, format!("{name}-atomix.k8s.atomix.io"));
        let files = kubectl.get_json(&["configmap", "raft-1-config"]);
        let config: Value = serde_json::from_str(text(&files, "/data/partition.json")).expect("JSON");
        assert_eq!(config["controller"]["id"], format!("{name}-atomix"));
        assert_eq!(config["controller"]["host"], format!("{name}-atomix.{name}-system.svc.{domain}"));
        assert_eq!(config["members"][0]["host"], format!("raft-1-0.raft-1-hs.{name}.svc.{domain}"));
        team.installation.kubectl().ok(&["get", "lease", &format!("{name}-atomix")]);
    }
    for kind in CONFIGURATIONS {
        let trusts = |team: &Team| {
            let configuration = team.kubectl().get_json(&[kind, &format!("{}-atomix", team.name)]);
            text(&configuration, "/webhooks/0/clientConfig/caBundle").to_owned()
        };
        assert_ne!(trusts(&red), trusts(&blue), "the API server would take one for the other");
    }

    // What one deletes is the other's no business.
    blue.kubectl().ok(&["delete", "partitionset", "raft", "--cascade=foreground", "--timeout=90s"]);
    let left =
        blue.kubectl().get_json(&["partitions,statefulsets,configmaps,services,endpointslices", "-l", "group=raft"]);
    assert_eq!(left["items"], json!([]));
    red.kubectl().ok(&["scale", "partitionset", "raft", "--replicas=3"]);
    await_ready(&red.kubectl(), "raft");
    for team in [&red, &blue] {
        assert_kept_to_its_rights(team);
    }
}

#[test]
fn the_end_of_one_is_no_matter_to_the_other() {
    let (green, grey) = (Team::new("green"), Team::new("grey"));
    let mut first = green.start(StartOptions::default());
    let other = grey.start(StartOptions::default());
    for kubectl in [green.kubectl(), green.kubectl_of_test(), grey.kubectl()] {
        kubectl.create_stdin(&set("raft", 1, 1));
        await_ready(&kubectl, "raft");
    }

    // The webhooks of one are not asked about the sets of the other.
    let asked = reviews(&first);
    assert!(asked > 0);
    grey.kubectl().create_stdin(&set("second", 1, 1));
    await_ready(&grey.kubectl(), "second");
    assert_eq!(reviews(&first), asked);

    assert!(first.stop().expect("an end").success());
    let refused = green.kubectl().feed_fails(&["create", "-f", "-"], &set("third", 1, 1));
    assert!(refused.contains("failed calling webhook"), "{refused}");
    grey.kubectl().ok(&["scale", "partitionset", "raft", "--replicas=2"]);
    await_ready(&grey.kubectl(), "raft");
    drop(other);

    // One that comes back finds everything of all its namespaces as it should be.
    let stopped = green.audit().len();
    let _second = green.start(StartOptions::default());
    green.kubectl().ok(&["scale", "partitionset", "raft", "--replicas=2"]);
    await_ready(&green.kubectl(), "raft");
    let audit = green.audit();
    let needless: Vec<_> = audit[stopped..]
        .iter()
        .filter(|entry| entry.is_write() && (entry.namespace == "green-test" || entry.code >= 400))
        .filter(|entry| entry.resource != "leases")
        .collect();
    assert!(needless.is_empty(), "{needless:#?}");
}

#[test]
fn a_partition_that_names_another_controller_is_left_alone() {
    let team = Team::new("amber");
    let _controller = team.start(StartOptions::default());
    let kubectl = team.kubectl();
    kubectl.create_stdin(&set("raft", 2, 1));
    await_ready(&kubectl, "raft");
    let annotate = |value: &str| {
        let annotation = format!("k8s.atomix.io/controller={value}");
        kubectl.ok(&["annotate", "--overwrite", "partition", "raft-1", &annotation]);
    };
    annotate("elsewhere.another");
    kubectl.wait_until(&["partitionset", "raft"], SOON, |sets| {
        condition(&sets[0], "Stalled").is_some_and(|stalled| {
            stalled["reason"] == "AnotherController" && text(stalled, "/message").contains("elsewhere.another")
        })
    });
    // Neither what belongs to it nor itself: when the other partition has been put right, and has got the new image,
    // this one could have been as well.
    kubectl.ok(&["delete", "configmap", "raft-1-config", "raft-2-config"]);
    kubectl.ok(&[
        "patch",
        "partitionset",
        "raft",
        "--type=merge",
        "-p",
        r#"{"spec":{"template":{"spec":{"image":"node:2"}}}}"#,
    ]);
    kubectl.wait_until(&["configmap", "raft-2-config"], SOON, |found| !found.is_empty());
    let images = |partition: &str| text(&kubectl.get_json(&["partition", partition]), "/spec/image").to_owned();
    kubectl.wait_until(&["partition", "raft-2"], SOON, |found| text(&found[0], "/spec/image") == "node:2");
    assert_eq!(images("raft-1"), "atomix/atomix-raft-node:latest");
    kubectl.fails(&["get", "configmap", "raft-1-config"]);

    annotate("amber-system.amber-atomix");
    kubectl.wait_until(&["configmap", "raft-1-config"], SOON, |found| !found.is_empty());
    kubectl.wait_until(&["partition", "raft-1"], SOON, |found| text(&found[0], "/spec/image") == "node:2");
}

#[test]
fn sets_of_other_namespaces_are_nobodys() {
    let team = Team::new("lime");
    let controller = team.start(StartOptions::default());
    let kubectl = CLUSTER.control_plane.kubectl();
    kubectl.ok(&["create", "namespace", "nobody"]);
    let elsewhere = kubectl.in_namespace("nobody");
    elsewhere.create_stdin(&set("raft", 1, 1));
    // What was asked for later, here, is complete.
    team.kubectl().create_stdin(&set("raft", 1, 1));
    await_ready(&team.kubectl(), "raft");
    let untouched = elsewhere.get_json(&["partitionset", "raft"]);
    assert!(untouched["status"].is_null() && untouched["spec"]["maxUnavailablePartitions"].is_null(), "{untouched}");
    assert_eq!(elsewhere.get_json(&["partitions"])["items"], json!([]));

    // Over gRPC they are neither seen nor made, and the API server is not asked.
    assert_eq!(asked_for_everything(&controller, "lime"), ["lime/raft".to_owned(), "lime/raft".to_owned()]);
    assert_kept_to_its_rights(&team);
    assert_eq!(
        text(&elsewhere.get_json(&["partitionset", "raft"]), "/metadata/uid"),
        text(&untouched, "/metadata/uid")
    );
    elsewhere.fails(&["get", "partitionset", "new"]);
}

/// Asks for groups of `own` and of the namespace `nobody`, one and all, and for all that can be done to them. Returns the
/// groups that were seen; everything else was refused.
#[track_caller]
fn asked_for_everything(controller: &Controller, own: &str) -> Vec<String> {
    let id =
        |namespace: &str, name: &str| Some(PartitionGroupId { name: name.to_owned(), namespace: namespace.to_owned() });
    let refused = |status: Result<(), Status>| {
        let status = status.expect_err("a refusal");
        let why = r#"namespace "nobody" is not served over gRPC by this controller (--grpc-namespaces, --namespace)"#;
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, why));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", controller.grpc_addr())).expect("an address");
        let mut client = ControllerServiceClient::new(endpoint.connect().await.expect("a connection"));
        let mut seen = Vec::new();
        for name in ["raft", ""] {
            let found = client.get_partition_groups(GetPartitionGroupsRequest { id: id(own, name) }).await;
            let groups = found.expect("groups").into_inner().groups.into_iter().filter_map(|group| group.id);
            seen.extend(groups.map(|id| format!("{}/{}", id.namespace, id.name)));
            let found = client.get_partition_groups(GetPartitionGroupsRequest { id: id("nobody", name) }).await;
            refused(found.map(drop));
        }
        let type_url = "type.googleapis.com/atomix.protocols.raft.RaftProtocol".to_owned();
        let protocol = Some(Any { type_url, value: Vec::new() });
        let spec = Some(PartitionGroupSpec { partitions: 1, partition_size: 1, protocol });
        let create = CreatePartitionGroupRequest { id: id("nobody", "new"), spec };
        refused(client.create_partition_group(create).await.map(drop));
        let delete = DeletePartitionGroupRequest { id: id("nobody", "raft") };
        refused(client.delete_partition_group(delete).await.map(drop));
        let partition_id = Some(PartitionId { partition: 1, group: id("nobody", "raft") });
        let enter = PartitionElectionRequest { partition_id, member: "raft-1-0".to_owned() };
        refused(client.enter_election(enter).await.map(drop));
        seen
    })
}

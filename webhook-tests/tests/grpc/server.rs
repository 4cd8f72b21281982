//! The server around the API: what anybody may ask, what is limited, and how it ends.

use std::time::{Duration, Instant};

use atomix_controller::grpc::health::API;
use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionElectionRequest,
    PartitionGroupId, PartitionGroupSpec, PartitionId,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use webhook_tests::{Controller, Link, Signal, StartOptions};

use crate::support::{SOON, ground};
use crate::wire::{start, start_with};

async fn channel(controller: &Controller) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", controller.grpc_addr())).expect("an address");
    endpoint.connect().await.expect("a connection")
}

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Status> {
    let response = HealthClient::new(channel.clone()).check(request(service)).await?;
    Ok(response.into_inner().status())
}

/// Waits until the health of a service is as wanted.
async fn await_health(channel: &Channel, service: &str, wanted: ServingStatus) {
    let watch = async {
        let mut changes =
            HealthClient::new(channel.clone()).watch(request(service)).await.expect("a watch").into_inner();
        while let Some(change) = changes.message().await.expect("a change") {
            if change.status() == wanted {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(SOON, watch).await.unwrap_or_else(|_| panic!("{service:?} is not {wanted:?}"));
}

fn id(namespace: &str) -> PartitionGroupId {
    PartitionGroupId { name: "g".to_owned(), namespace: namespace.to_owned() }
}

/// What each method of the API says of a namespace: create, delete, get, enter.
async fn said(channel: &Channel, namespace: &str) -> [Status; 4] {
    let mut client = ControllerServiceClient::new(channel.clone());
    let (id, spec) = (Some(id(namespace)), Some(PartitionGroupSpec::default()));
    let create = client.create_partition_group(CreatePartitionGroupRequest { id: id.clone(), spec }).await.err();
    let delete = client.delete_partition_group(DeletePartitionGroupRequest { id: id.clone() }).await.err();
    let get = client.get_partition_groups(GetPartitionGroupsRequest { id: id.clone() }).await.err();
    let partition_id = Some(PartitionId { partition: 1, group: id });
    let enter = PartitionElectionRequest { partition_id, member: "g-1-0".to_owned() };
    let enter = client.enter_election(enter).await.err();
    [create, delete, get, enter].map(|status| status.unwrap_or_else(|| Status::ok("")))
}

fn denied(statuses: &[Status; 4]) -> [bool; 4] {
    [0, 1, 2, 3].map(|method| statuses[method].code() == Code::PermissionDenied)
}

#[tokio::test]
async fn reflection_shows_the_services_and_health_is_known_of_both() {
    let controller = start(&[]);
    let channel = channel(&controller).await;
    let ask = |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let list = ask(MessageRequest::ListServices(String::new()));
    let symbol = ask(MessageRequest::FileContainingSymbol(API.to_owned()));
    let requests = futures::stream::iter([list, symbol]);
    let answers = ServerReflectionClient::new(channel.clone()).server_reflection_info(requests).await;
    let mut answers = answers.expect("reflection").into_inner();
    let mut next = async || {
        let answer: ServerReflectionResponse = answers.message().await.expect("an answer").expect("one more");
        answer.message_response.expect("a message")
    };
    let MessageResponse::ListServicesResponse(services) = next().await else { panic!("no list") };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let both = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    names.retain(|name| !both.contains(&name.as_str()));
    assert_eq!(names, [API, "grpc.health.v1.Health"]);
    assert!(
        matches!(next().await, MessageResponse::FileDescriptorResponse(files) if !files.file_descriptor_proto.is_empty())
    );

    for service in ["", API] {
        await_health(&channel, service, ServingStatus::Serving).await;
    }
    assert_eq!(health(&channel, "no.such.Service").await.expect_err("no health").code(), Code::NotFound);
}

#[tokio::test]
async fn read_only_lets_nobody_create_or_delete() {
    let controller = start(&["--grpc-read-only"]);
    let statuses = said(&channel(&controller).await, "default").await;
    assert_eq!(denied(&statuses), [true, true, false, false], "{statuses:?}");
    assert_eq!(statuses[0].message(), "the controller runs with --grpc-read-only: groups can only be found");
}

#[tokio::test]
async fn only_the_namespaces_that_are_named_are_served() {
    let controller = start(&["--grpc-namespaces=one,two"]);
    let channel = channel(&controller).await;
    for (namespace, expected) in [("one", false), ("two", false), ("three", true), ("", true)] {
        let statuses = said(&channel, namespace).await;
        assert_eq!(denied(&statuses), [expected; 4], "{namespace}: {statuses:?}");
    }
    let statuses = said(&channel, "three").await;
    assert!(statuses[2].message().contains(r#"namespace "three" is not served"#), "{:?}", statuses[2]);
}

#[tokio::test]
async fn the_log_says_what_the_default_allows() {
    let open = start(&[]);
    let line = |controller: &Controller| {
        let log = controller.log();
        log.lines().find(|line| line.contains("every client that reaches it may")).map(str::to_owned)
    };
    let said = line(&open).expect("a line in the log");
    for part in [
        "create and delete",
        "--grpc-auth",
        "--grpc-read-only",
        r#""namespaces":"all""#,
        r#""deletable":"groups that were created over gRPC""#,
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let read_only = start(&["--grpc-read-only"]);
    let said = line(&read_only).expect("a line in the log");
    assert!(!said.contains("create and delete"), "{said}");
}

#[tokio::test]
async fn a_replica_that_is_told_to_end_sends_everybody_away_and_answers_who_comes_nevertheless() {
    const DRAIN: Duration = Duration::from_secs(20);
    let mut controller = start(&["--drain=20s"]);
    let kept = channel(&controller).await;
    await_health(&kept, "", ServingStatus::Serving).await;
    await_health(&kept, API, ServingStatus::Serving).await;
    let watch = HealthClient::new(kept.clone()).watch(request(API)).await.expect("a watch");
    let mut watch = watch.into_inner();
    assert_eq!(watch.message().await.expect("a status").expect("a status").status(), ServingStatus::Serving);

    let signalled = Instant::now();
    controller.signal(Signal::Term);
    assert_eq!(watch.message().await.expect("a status").expect("a status").status(), ServingStatus::NotServing);
    // On a new connection: the kept one was asked to go.
    let new = channel(&controller).await;
    for service in ["", API] {
        assert_eq!(health(&new, service).await.expect("an answer"), ServingStatus::NotServing);
    }
    let [.., enter] = said(&channel(&controller).await, "default").await;
    assert_eq!(enter.code(), Code::Unavailable, "{enter:?}");
    assert!(enter.message().contains("another one answers"), "{enter:?}");
    assert!(signalled.elapsed() < DRAIN, "the machine is too slow for this test");
    // Whoever only looks may do so until the end.
    let end = watch.message().await.expect_err("an end");
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    assert!(signalled.elapsed() >= DRAIN, "{:?}", signalled.elapsed());
    let code = loop {
        if let Some(status) = controller.ended().expect("a status") {
            break status.code();
        }
        assert!(signalled.elapsed() < DRAIN + Duration::from_secs(20), "{:?}", signalled.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(code, Some(0), "{}", controller.log());
}

#[tokio::test]
async fn the_api_is_not_serving_while_the_api_server_is_away_and_the_process_stays_ready() {
    let link = Link::new(&ground().control_plane).expect("a link");
    let controller = start_with(StartOptions { server: Some(link.server()), ..StartOptions::default() });
    let channel = channel(&controller).await;
    await_health(&channel, API, ServingStatus::Serving).await;
    link.cut();
    await_health(&channel, API, ServingStatus::NotServing).await;
    assert_eq!(health(&channel, "").await.expect("an answer"), ServingStatus::Serving);
    assert_eq!(controller.get("/readyz").expect("an answer").status, 200);
    link.mend();
    await_health(&channel, API, ServingStatus::Serving).await;
}

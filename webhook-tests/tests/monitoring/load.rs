//! A little of everything that the controller does.

use std::net::SocketAddr;

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    GetPartitionGroupsRequest, PartitionElectionRequest, PartitionElectionResponse, PartitionGroupId, PartitionId,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use webhook_tests::{Namespace, harness, is_ready};

use crate::prometheus::SOON;

/// A set with a primary, and a client of the Atomix API.
pub struct Load {
    namespace: Namespace,
    runtime: Runtime,
    client: ControllerServiceClient<Channel>,
    /// Open as long as the node stands for election.
    _candidacy: Streaming<PartitionElectionResponse>,
    rounds: u32,
}

fn set(partitions: i32) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "log", "size": 1}}},
    })
}

async fn connect(at: SocketAddr) -> ControllerServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
    ControllerServiceClient::new(endpoint.connect().await.expect("a connection"))
}

impl Load {
    /// Makes the set, and enters its election.
    pub fn start(name: &str) -> Self {
        let namespace = Namespace::new(harness().kubectl(), name);
        namespace.kubectl().create_stdin(&set(1).to_string());
        namespace.kubectl().wait_until(&["partitionset", "w"], SOON, |sets| sets.first().is_some_and(is_ready));
        let runtime = Runtime::new().expect("a runtime");
        let group = PartitionGroupId { name: "w".to_owned(), namespace: namespace.name().to_owned() };
        let (client, candidacy) = runtime.block_on(async {
            let mut client = connect(harness().controller().grpc_addr()).await;
            let partition = PartitionId { partition: 1, group: Some(group) };
            let request = PartitionElectionRequest { partition_id: Some(partition), member: "w-1-0".to_owned() };
            let mut stream = client.enter_election(request).await.expect("a candidacy").into_inner();
            stream.message().await.expect("a term").expect("a term");
            (client, stream)
        });
        Self { namespace, runtime, client, _candidacy: candidacy, rounds: 0 }
    }

    /// A reconciliation, a rejection and a call.
    pub fn round(&mut self) {
        self.rounds += 1;
        let (kubectl, round) = (self.namespace.kubectl(), format!("round={}", self.rounds));
        kubectl.ok(&["annotate", "--overwrite", "partitionset/w", &round]);
        kubectl.ok(&["annotate", "--overwrite", "partition/w-1", &round]);
        // Valid by the schema, so that the webhook judges it.
        let mut bad = set(1);
        bad["metadata"]["name"] = "bad".into();
        bad["spec"]["template"]["spec"]["config"] = "nonsense: 1".into();
        kubectl.feed_fails(&["create", "-f", "-"], &bad.to_string());
        let id = PartitionGroupId { name: "w".to_owned(), namespace: self.namespace.name().to_owned() };
        let request = GetPartitionGroupsRequest { id: Some(id) };
        self.runtime.block_on(self.client.get_partition_groups(request)).expect("an answer");
    }
}

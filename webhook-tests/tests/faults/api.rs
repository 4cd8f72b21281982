//! What one replica says over gRPC.

use std::thread::sleep;
use std::time::{Duration, Instant};

use atomix_controller::grpc::health::API;
use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{GetPartitionGroupsRequest, PartitionGroupId};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use webhook_tests::Controller;

use crate::support::SOON;

/// A client of one replica.
pub struct Api {
    runtime: Runtime,
    channel: Channel,
}

impl Api {
    pub fn new(controller: &Controller) -> Self {
        // With a thread of its own: a client that answers no ping while nothing is asked would be taken for dead.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://{}", controller.grpc_addr())).expect("an address");
        let channel = {
            let _inside = runtime.enter();
            endpoint.timeout(SOON).connect_lazy()
        };
        Self { runtime, channel }
    }

    /// Whether a service says that it serves.
    #[track_caller]
    fn serves(&self, service: &str) -> bool {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = self.runtime.block_on(HealthClient::new(self.channel.clone()).check(request));
        answer.expect("its health").into_inner().status() == ServingStatus::Serving
    }

    /// Whether the process is well, as load balancers ask.
    #[track_caller]
    pub fn is_up(&self) -> bool {
        self.serves("")
    }

    /// Whether what it reads is current.
    #[track_caller]
    pub fn is_current(&self) -> bool {
        self.serves(API)
    }

    /// Waits until that is so: one of several watches may be the last to begin again.
    #[track_caller]
    pub fn await_current(&self) {
        let deadline = Instant::now() + SOON;
        while !self.is_current() {
            assert!(Instant::now() < deadline, "what it reads is not current");
            sleep(Duration::from_millis(50));
        }
    }

    /// How many partitions a group has that is asked for by name.
    #[track_caller]
    pub fn partitions(&self, namespace: &str, name: &str) -> usize {
        let id = Some(PartitionGroupId { name: name.to_owned(), namespace: namespace.to_owned() });
        let mut client = ControllerServiceClient::new(self.channel.clone());
        let answer = self.runtime.block_on(client.get_partition_groups(GetPartitionGroupsRequest { id }));
        let groups = answer.expect("a group").into_inner().groups;
        assert_eq!(groups.len(), 1, "{groups:#?}");
        groups[0].partitions.len()
    }
}

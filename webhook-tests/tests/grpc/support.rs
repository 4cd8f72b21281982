//! What the tests of the API have in common.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionGroup,
    PartitionGroupId, PartitionGroupSpec,
};
use atomix_controller::grpc::proto::protocols::raft::RaftProtocol;
use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;
use webhook_tests::{ControlPlane, Installation, Replicas};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(90);

/// A cluster with the manifest and two controllers behind a balancer.
pub struct Ground {
    pub control_plane: ControlPlane,
    pub installation: &'static Installation,
    pub replicas: Replicas<'static>,
}

/// The shared one. Tests that stop controllers have their own.
pub fn ground() -> &'static Ground {
    static GROUND: LazyLock<Ground> = LazyLock::new(|| {
        let control_plane = ControlPlane::start().expect("a control plane");
        let installation: &Installation = Box::leak(Box::new(Installation::new(&control_plane).expect("installed")));
        let replicas = installation.replicas(2).unwrap_or_else(|error| {
            control_plane.keep_logs();
            panic!("{error:#}")
        });
        Ground { control_plane, installation, replicas }
    });
    &GROUND
}

impl Ground {
    /// Clients of each of the replicas.
    pub fn clients(&self, namespace: &str) -> [Api; 2] {
        [0, 1].map(|index: usize| Api::new(self.replicas.controllers[index].grpc_addr(), namespace))
    }
}

/// A client of one replica, in one namespace.
pub struct Api {
    runtime: Runtime,
    client: ControllerServiceClient<Channel>,
    namespace: String,
}

impl Api {
    pub fn new(address: SocketAddr, namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address").timeout(SOON);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        Self { runtime, client: ControllerServiceClient::new(channel), namespace: namespace.to_owned() }
    }

    pub fn id(&self, name: &str) -> PartitionGroupId {
        PartitionGroupId { name: name.to_owned(), namespace: self.namespace.clone() }
    }

    pub fn create(&self, name: &str, spec: PartitionGroupSpec) -> Result<(), Status> {
        self.send_create(CreatePartitionGroupRequest { id: Some(self.id(name)), spec: Some(spec) })
    }

    pub fn send_create(&self, request: CreatePartitionGroupRequest) -> Result<(), Status> {
        self.runtime.block_on(self.client.clone().create_partition_group(request)).map(drop)
    }

    pub fn delete(&self, name: &str) -> Result<(), Status> {
        self.send_delete(DeletePartitionGroupRequest { id: Some(self.id(name)) })
    }

    pub fn send_delete(&self, request: DeletePartitionGroupRequest) -> Result<(), Status> {
        self.runtime.block_on(self.client.clone().delete_partition_group(request)).map(drop)
    }

    /// The groups of that name: all if it is empty.
    pub fn get(&self, name: &str) -> Result<Vec<PartitionGroup>, Status> {
        self.send_get(GetPartitionGroupsRequest { id: Some(self.id(name)) })
    }

    pub fn send_get(&self, request: GetPartitionGroupsRequest) -> Result<Vec<PartitionGroup>, Status> {
        let response = self.runtime.block_on(self.client.clone().get_partition_groups(request));
        response.map(|response| response.into_inner().groups)
    }

    /// The answers to many questions that are asked at the same time.
    pub fn at_once(&self, count: usize, name: &str) -> Vec<Vec<PartitionGroup>> {
        let questions = (0..count).map(|_| async {
            let request = GetPartitionGroupsRequest { id: Some(self.id(name)) };
            self.client.clone().get_partition_groups(request).await.expect("an answer").into_inner().groups
        });
        self.runtime.block_on(futures::future::join_all(questions))
    }

    /// The names of all groups.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let groups = self.get("").expect("a list");
        groups.into_iter().map(|group| group.id.expect("an id").name).collect()
    }

    /// Waits until these are the names of all groups: a watch lags by milliseconds.
    #[track_caller]
    pub fn await_names(&self, names: &[&str]) {
        let begun = Instant::now();
        while self.names() != names {
            assert!(begun.elapsed() < SOON, "{:?}", self.names());
        }
    }
}

/// A PartitionSet as kubectl makes it.
pub fn set(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name}, "spec": spec})
}

/// The fields that are wrong, from the details of a status.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// An Any as the clients make it.
pub fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

pub fn raft(partitions: u32, size: u32, options: &RaftProtocol) -> PartitionGroupSpec {
    let protocol = any("atomix.protocols.raft.RaftProtocol", options);
    PartitionGroupSpec { partitions, partition_size: size, protocol: Some(protocol) }
}

//! Clients of the Atomix API that list, find, create and delete groups, one call after the other.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionGroupId,
    PartitionGroupSpec,
};
use prost_types::Any;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::{SET, lock};

/// Between two calls of one client.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two groups that a client creates.
const PAUSE_OF_WRITER: Duration = Duration::from_secs(2);
/// Longer than any call takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls under way.
#[derive(Default)]
pub struct Calls {
    made: AtomicUsize,
    end: AtomicBool,
    failures: Mutex<Vec<String>>,
    clients: Mutex<JoinSet<()>>,
}

impl Calls {
    /// Starts so many clients that read, and one that creates and deletes groups in `scratch`. Must be called on a runtime.
    pub fn start(address: SocketAddr, readers: usize, namespace: &str, scratch: &str) -> Arc<Self> {
        let calls = Arc::new(Self::default());
        let mut clients = lock(&calls.clients);
        for _ in 0..readers {
            clients.spawn(Arc::clone(&calls).read(client(address), namespace.to_owned()));
        }
        clients.spawn(Arc::clone(&calls).write(client(address), scratch.to_owned()));
        drop(clients);
        calls
    }

    /// Ends the clients after their current call. The number of calls, and what went wrong.
    pub async fn finish(&self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Release);
        let clients = std::mem::take(&mut *lock(&self.clients));
        clients.join_all().await;
        (self.made.load(Ordering::Acquire), lock(&self.failures).clone())
    }

    async fn read(self: Arc<Self>, client: ControllerServiceClient<Channel>, namespace: String) {
        let mut named = true;
        while !self.end.load(Ordering::Acquire) {
            let name = if named { SET } else { "" };
            let id = PartitionGroupId { name: name.to_owned(), namespace: namespace.clone() };
            let found = get(&client, &id).await;
            self.record("get", found, 1);
            named = !named;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(self: Arc<Self>, client: ControllerServiceClient<Channel>, namespace: String) {
        let type_url = "type.googleapis.com/atomix.protocols.log.LogProtocol".to_owned();
        let protocol = Some(Any { type_url, value: Vec::new() });
        let mut number = 0;
        while !self.end.load(Ordering::Acquire) {
            number += 1;
            let id = PartitionGroupId { name: format!("g{number}"), namespace: namespace.clone() };
            let spec = Some(PartitionGroupSpec { partitions: 1, partition_size: 1, protocol: protocol.clone() });
            let request = CreatePartitionGroupRequest { id: Some(id.clone()), spec };
            let created = sent(request, |request| {
                let mut client = client.clone();
                async move { client.create_partition_group(request).await }
            })
            .await;
            self.record("create", created.map(|_| 1), 1);
            let found = get(&client, &id).await;
            self.record("get after create", found, 1);
            let request = DeletePartitionGroupRequest { id: Some(id.clone()) };
            let deleted = sent(request, |request| {
                let mut client = client.clone();
                async move { client.delete_partition_group(request).await }
            })
            .await;
            self.record("delete", deleted.map(|_| 0), 0);
            let found = get(&client, &id).await;
            self.record("get after delete", found, 0);
            tokio::time::sleep(PAUSE_OF_WRITER).await;
        }
    }

    fn record(&self, call: &str, groups: Result<usize, Status>, wanted: usize) {
        self.made.fetch_add(1, Ordering::Release);
        match groups {
            Ok(groups) if groups == wanted => {}
            Ok(groups) => lock(&self.failures).push(format!("{call}: {groups} groups, not {wanted}")),
            Err(status) => lock(&self.failures).push(format!("{call}: {:?} {}", status.code(), status.message())),
        }
    }
}

/// How many groups have this id.
async fn get(client: &ControllerServiceClient<Channel>, id: &PartitionGroupId) -> Result<usize, Status> {
    let request = GetPartitionGroupsRequest { id: Some(id.clone()) };
    let found = sent(request, |request| {
        let mut client = client.clone();
        async move { client.get_partition_groups(request).await }
    })
    .await;
    found.map(|found| found.into_inner().groups.len())
}

/// Makes a call, and makes it again if its connection ended before it was sent, as gRPC clients do by themselves
/// (gRFC A6, transparent retries) and tonic's does not. A server's `Cancelled` has no source: it is an answer.
async fn sent<R: Clone, A, F>(request: R, call: impl Fn(R) -> F) -> Result<A, Status>
where
    F: Future<Output = Result<A, Status>>,
{
    loop {
        match call(request.clone()).await {
            Err(status) if status.code() == Code::Cancelled && status.source().is_some() => {}
            answer => return answer,
        }
    }
}

fn client(address: SocketAddr) -> ControllerServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address").timeout(PATIENCE);
    ControllerServiceClient::new(endpoint.connect_lazy())
}

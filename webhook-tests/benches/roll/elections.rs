//! Members of a partition that enter its election again whenever their stream ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    PartitionElectionRequest, PartitionGroupId, PartitionId, PrimaryTerm,
};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Endpoint;

use crate::{SET, lock};

/// Between the end of a stream and the next one of a member.
const PAUSE: Duration = Duration::from_millis(50);

/// Elections under way.
#[derive(Default)]
pub struct Elections {
    end: AtomicBool,
    streams: AtomicUsize,
    seen: Mutex<Seen>,
    members: Mutex<JoinSet<()>>,
}

/// What the members received.
#[derive(Clone, Default)]
pub struct Seen {
    /// How often each status ended a stream.
    pub ends: BTreeMap<String, usize>,
    /// The primary of each term of each partition.
    pub primaries: BTreeMap<(i32, i64), String>,
    /// What must not be: a term with two primaries, a term below an earlier one.
    pub failures: Vec<String>,
    greatest: BTreeMap<(i32, u32), i64>,
}

impl Elections {
    /// Every member of every partition enters its election. Must be called on a runtime.
    pub fn start(address: SocketAddr, namespace: &str, partitions: i32, size: u32) -> Arc<Self> {
        let elections = Arc::new(Self::default());
        let mut members = lock(&elections.members);
        for partition in 1..=partitions {
            for member in 0..size {
                members.spawn(Arc::clone(&elections).stay(address, namespace.to_owned(), partition, member));
            }
        }
        drop(members);
        elections
    }

    /// What was received so far, and over how many streams.
    pub fn seen(&self) -> (usize, Seen) {
        (self.streams.load(Ordering::Acquire), lock(&self.seen).clone())
    }

    /// Ends all streams.
    pub fn finish(&self) -> (usize, Seen) {
        self.end.store(true, Ordering::Release);
        lock(&self.members).abort_all();
        self.seen()
    }

    async fn stay(self: Arc<Self>, address: SocketAddr, namespace: String, partition: i32, member: u32) {
        while !self.end.load(Ordering::Acquire) {
            let ended = self.enter(address, &namespace, partition, member).await;
            let end = match ended {
                Ok(()) => "OK".to_owned(),
                Err(status) => format!("{:?} {}", status.code(), status.message()),
            };
            *lock(&self.seen).ends.entry(end).or_default() += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn enter(&self, address: SocketAddr, namespace: &str, partition: i32, member: u32) -> Result<(), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.map_err(|error| Status::unknown(format!("connect: {error}")))?;
        let group = PartitionGroupId { name: SET.to_owned(), namespace: namespace.to_owned() };
        let request = PartitionElectionRequest {
            partition_id: Some(PartitionId { partition, group: Some(group) }),
            member: format!("{SET}-{partition}-{member}"),
        };
        let mut stream = ControllerServiceClient::new(channel).enter_election(request).await?.into_inner();
        self.streams.fetch_add(1, Ordering::Release);
        while let Some(response) = stream.message().await? {
            lock(&self.seen).take(partition, member, response.term.unwrap_or_default());
        }
        Ok(())
    }
}

impl Seen {
    fn take(&mut self, partition: i32, member: u32, PrimaryTerm { term, primary, .. }: PrimaryTerm) {
        let greatest = self.greatest.entry((partition, member)).or_default();
        if term < *greatest {
            self.failures.push(format!("{SET}-{partition}-{member}: term {term} after {greatest}"));
        }
        *greatest = term.max(*greatest);
        if primary.is_empty() {
            return;
        }
        let known = self.primaries.entry((partition, term)).or_insert_with(|| primary.clone());
        if *known != primary {
            self.failures.push(format!("term {term} of partition {partition}: {known} and {primary}"));
        }
    }
}

//! What these tests have in common.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{
    PartitionElectionRequest, PartitionGroupId, PartitionId, PrimaryTerm,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use webhook_tests::{
    ControlPlane, Controller, Installation, Kubectl, Namespace, StartOptions, free_port, is_ready, text,
};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(90);

/// What the members of all tests run on.
pub static MEMBERS: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

/// A cluster with two replicas of the controller, which no test may stop.
pub struct Ground {
    pub control_plane: &'static ControlPlane,
    pub installation: Installation,
    pub replicas: [Controller; 2],
}

/// The cluster that tests share.
pub fn ground() -> &'static Ground {
    static GROUND: LazyLock<Ground> = LazyLock::new(|| {
        let control_plane = ControlPlane::shared();
        let installation = Installation::new(control_plane).expect("an installation");
        let mut replicas = [None, Some(free_port())].map(|webhook_port| {
            let options = StartOptions { webhook_port, ..StartOptions::default() };
            installation.start_with(options).expect("a controller")
        });
        for replica in &mut replicas {
            replica.wait_ready().expect("a ready controller");
        }
        Ground { control_plane, installation, replicas }
    });
    &GROUND
}

impl Ground {
    /// One more replica, for a test to do with it as it pleases.
    pub fn replica(&self, options: StartOptions) -> Controller {
        let options = StartOptions { webhook_port: Some(free_port()), ..options };
        let mut replica = self.installation.start_with(options).expect("a controller");
        replica.wait_ready().expect("a ready controller");
        replica
    }

    /// A set of the `log` protocol called `w`, in a namespace of its own.
    pub fn set(&self, name: &str, partitions: u32, size: u32) -> Set {
        Set::new(self.control_plane.kubectl(), name, partitions, size)
    }
}

/// A group `w` whose nodes elect their primaries.
pub struct Set {
    namespace: Namespace,
}

impl Set {
    pub fn new(kubectl: &Kubectl, name: &str, partitions: u32, size: u32) -> Self {
        let namespace = Namespace::new(kubectl, name);
        let set = json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
            "spec": {"partitions": partitions, "template": {"spec": {"protocol": "log", "size": size}}},
        });
        let kubectl = namespace.kubectl();
        kubectl.create_stdin(&set.to_string());
        kubectl.wait_until(&["partitionset", "w"], SOON, |sets| sets.first().is_some_and(is_ready));
        Self { namespace }
    }

    pub fn kubectl(&self) -> Kubectl {
        self.namespace.kubectl()
    }

    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Enters `w-<partition>-<member>` at a replica.
    pub fn enter(&self, replica: &Controller, partition: i32, member: u32) -> Stream {
        Stream::open(replica.grpc_addr(), self.namespace(), partition, &format!("w-{partition}-{member}"))
    }

    /// The same, when the member has received that it is a candidate.
    #[track_caller]
    pub fn stand(&self, replica: &Controller, partition: i32, member: u32, received: &str) -> Stream {
        let stream = self.enter(replica, partition, member);
        stream.receives(received);
        stream
    }

    /// The record of an election, as kubectl shows it.
    pub fn record(&self, partition: i32) -> Value {
        self.kubectl().get_json(&["partition", &format!("w-{partition}")])["status"]["election"].clone()
    }

    /// Waits until the record of an election satisfies a predicate.
    #[track_caller]
    pub fn await_record(&self, partition: i32, within: Duration, mut predicate: impl FnMut(&Value) -> bool) -> Value {
        let found = self.kubectl().wait_until(&["partition", &format!("w-{partition}")], within, |partitions| {
            partitions.first().is_some_and(|partition| predicate(&partition["status"]["election"]))
        });
        found[0]["status"]["election"].clone()
    }
}

/// Term and candidates of a record in short: `3 w-1-0 w-1-2`. The primary is the first candidate.
#[track_caller]
pub fn short(record: &Value) -> String {
    let candidates = record["candidates"].as_array().expect("candidates").iter();
    let candidates: Vec<&str> = candidates.map(|candidate| candidate.as_str().expect("a name")).collect();
    assert_eq!(text(record, "/primary"), candidates.first().copied().unwrap_or_default(), "{record}");
    [vec![record["term"].to_string().as_str()], candidates].concat().join(" ")
}

/// What a member receives.
#[derive(Debug)]
pub enum Received {
    Term(PrimaryTerm),
    End(Status),
}

/// The stream of a member, with a connection of its own. Dropping it ends both.
#[derive(Debug)]
pub struct Stream {
    received: Receiver<Received>,
    member: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.member.abort();
    }
}

impl Stream {
    pub fn open(at: SocketAddr, namespace: &str, partition: i32, member: &str) -> Self {
        let (send, received) = mpsc::channel();
        let request = request(namespace, partition, member);
        let member = MEMBERS.spawn(async move {
            let listen = async {
                let mut client = connect(at).await?;
                let mut stream = client.enter_election(request).await?.into_inner();
                while let Some(response) = stream.message().await? {
                    drop(send.send(Received::Term(response.term.expect("a term"))));
                }
                Err::<(), _>(Status::ok("the stream has ended without a status"))
            };
            if let Err(status) = listen.await {
                drop(send.send(Received::End(status)));
            }
        });
        Self { received, member: member.abort_handle() }
    }

    /// Waits until the member receives this term and these candidates, in the form of [`short`]. It may receive others before.
    #[track_caller]
    pub fn receives(&self, wanted: &str) {
        self.hears_within(wanted, SOON);
    }

    #[track_caller]
    pub fn hears_within(&self, wanted: &str, within: Duration) {
        let (deadline, mut before) = (Instant::now() + within, Vec::new());
        loop {
            match self.received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Received::Term(term)) => {
                    assert_eq!(term.primary, term.candidates.first().cloned().unwrap_or_default());
                    let said = format!("{} {}", term.term, term.candidates.join(" "));
                    if said == wanted {
                        return;
                    }
                    before.push(said);
                }
                Ok(Received::End(status)) => panic!("not {wanted:?}, but {before:?} and {status:?}"),
                Err(error) => panic!("not {wanted:?}, but {before:?}: {error}"),
            }
        }
    }

    /// Waits until the stream ends, whatever the member receives before.
    #[track_caller]
    pub fn ends(&self) -> (Code, String) {
        let deadline = Instant::now() + SOON;
        loop {
            match self.received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Received::Term(_)) => {}
                Ok(Received::End(status)) => return (status.code(), status.message().to_owned()),
                Err(error) => panic!("it does not end: {error}"),
            }
        }
    }

    /// What the member receives first.
    #[track_caller]
    pub fn first(&self) -> Received {
        self.received.recv_timeout(SOON).expect("a term")
    }

    /// That there is nothing that the member has not received yet.
    #[track_caller]
    pub fn is_quiet(&self) {
        self.is_quiet_for(Duration::ZERO);
    }

    /// The same, and that nothing comes for some time.
    #[track_caller]
    pub fn is_quiet_for(&self, time: Duration) {
        match self.received.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A connection of its own to the API of a replica.
pub async fn connect(at: SocketAddr) -> Result<ControllerServiceClient<Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
    let channel = endpoint.connect().await.map_err(|error| Status::unknown(error.to_string()))?;
    Ok(ControllerServiceClient::new(channel))
}

pub fn request(namespace: &str, partition: i32, member: &str) -> PartitionElectionRequest {
    let group = PartitionGroupId { name: "w".to_owned(), namespace: namespace.to_owned() };
    let partition_id = Some(PartitionId { partition, group: Some(group) });
    PartitionElectionRequest { partition_id, member: member.to_owned() }
}

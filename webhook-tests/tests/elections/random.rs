//! Members come, go and vanish, and replicas are killed, at random and many thousand times; what all of them received
//! must fit together.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use atomix_controller::grpc::proto::controller::{PartitionElectionResponse, PrimaryTerm};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use webhook_tests::{ControlPlane, Controller, Installation, StartOptions, free_port, items, text};

use crate::support::{MEMBERS, SOON, Set, connect, request, short};

const PARTITIONS: u32 = 5;
/// The more members a partition has, the more happens in it between two writes.
const SIZE: u32 = 21;
const REPLICAS: usize = 3;
/// Candidacies that were entered and have ended, each of which is two events.
const EVENTS: usize = 10_000;
/// Replicas that are killed meanwhile.
const KILLS: usize = 8;
/// Between two kills.
const LULL: Duration = Duration::from_secs(5);
/// By when a member that enters has to have got its first message. Less than what the test waits for all of them.
const ENTERED: Duration = Duration::from_secs(60);
/// By when there have to have been so many, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(900);
/// For how long a dead replica's candidates may stand: half of it, and whatever a busy machine takes to notice.
const NO_GHOST_AFTER: Duration = Duration::from_secs(60);
/// Most milliseconds for which a member stays.
const LONGEST_STAY: usize = 120;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// All come and go.
    Churn,
    /// All stay, and no stream may end.
    Stay,
    /// A replica is killed, and its streams end.
    Kill,
}

/// Numbers that nobody foresees.
struct Random(u64);

impl Random {
    fn new(salt: &str) -> Self {
        Self(RandomState::new().hash_one(salt) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("a small number") % limit
    }
}

/// What was received about one partition.
#[derive(Default)]
struct History {
    primaries: BTreeMap<i64, String>,
    highest: i64,
}

#[derive(Default)]
struct World {
    namespace: String,
    addresses: Mutex<Vec<SocketAddr>>,
    histories: Mutex<BTreeMap<i32, History>>,
    /// What each member that stays received last.
    standing: Mutex<BTreeMap<String, String>>,
    wrong: Mutex<Vec<String>>,
    events: AtomicUsize,
    /// Streams that ended by a newer one of the same member.
    replaced: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn object(&self, what: String) {
        locked(&self.wrong).push(what);
    }

    /// Takes in what a member received; `last` is the term that its stream sent before.
    fn receive(&self, partition: i32, member: &str, last: &mut i64, term: &PrimaryTerm) {
        if term.term < *last || term.term < 1 {
            self.object(format!("{member} received term {} after {last}", term.term));
        }
        *last = term.term;
        if term.candidates.first() != Some(&term.primary) || !term.candidates.iter().any(|name| name == member) {
            self.object(format!("{member} received {term:?}"));
        }
        let mut histories = locked(&self.histories);
        let history = histories.entry(partition).or_default();
        history.highest = history.highest.max(term.term);
        let known = history.primaries.entry(term.term).or_insert_with(|| term.primary.clone());
        if *known != term.primary {
            self.object(format!("two primaries of w-{partition} in term {}: {known} and {}", term.term, term.primary));
        }
    }

    fn highest(&self, partition: i32) -> i64 {
        locked(&self.histories).get(&partition).map_or(0, |history| history.highest)
    }
}

/// A member's stream, by a connection that can be torn.
struct Stream {
    messages: Streaming<PartitionElectionResponse>,
    wire: AbortHandle,
    /// The term that it sent last.
    last: i64,
    /// All of what it sent first.
    first: PrimaryTerm,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

/// A way to `server` for one connection, which is torn when the task is aborted: what goes through it does not say
/// goodbye.
async fn wire(server: SocketAddr) -> std::io::Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let carry = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await?;
        let mut server = TcpStream::connect(server).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    Ok((address, carry.abort_handle()))
}

/// Enters a member at some replica, and returns when it stands. None if the replica is not there, or is killed; a call
/// that gets no answer in [`ENTERED`] is wrong.
async fn enter(world: &World, partition: i32, member: &str, random: &mut Random) -> Option<Stream> {
    let at = {
        let addresses = locked(&world.addresses);
        addresses[random.below(addresses.len())]
    };
    // A member that enters now cannot receive an earlier term than any member has received by now.
    let floor = world.highest(partition);
    let (way, wire) = wire(at).await.ok()?;
    let Ok(Ok(mut client)) = timeout(SOON, connect(way)).await else {
        wire.abort();
        return None;
    };
    let response = match timeout(ENTERED, client.enter_election(request(&world.namespace, partition, member))).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            wire.abort();
            return None;
        }
        Err(_) => {
            world.object(format!("{member} has got no answer for {ENTERED:?}"));
            wire.abort();
            return None;
        }
    };
    let mut stream = Stream { messages: response.into_inner(), wire, last: floor, first: PrimaryTerm::default() };
    match timeout(ENTERED, stream.messages.message()).await {
        Ok(Ok(Some(message))) => {
            stream.first = message.term.unwrap_or_default();
            world.receive(partition, member, &mut stream.last, &stream.first);
            world.events.fetch_add(1, Ordering::Relaxed);
            Some(stream)
        }
        Ok(_) => None,
        Err(_) => {
            world.object(format!("{member} has received nothing for {ENTERED:?}"));
            None
        }
    }
}

/// Listens until the stream ends; never returns before.
async fn listen(world: &World, partition: i32, member: &str, stream: &mut Stream, stays: bool) -> Status {
    loop {
        match stream.messages.message().await {
            Ok(Some(message)) => {
                let term = message.term.unwrap_or_default();
                world.receive(partition, member, &mut stream.last, &term);
                if stays {
                    stand(world, member, &term);
                }
            }
            Ok(None) => return Status::ok("the stream has ended without a status"),
            Err(status) => return status,
        }
    }
}

fn stand(world: &World, member: &str, term: &PrimaryTerm) {
    let received = format!("{} {}", term.term, term.candidates.join(" "));
    locked(&world.standing).insert(member.to_owned(), received);
}

/// What a member does all day.
async fn live(world: Arc<World>, mut phase: watch::Receiver<Phase>, partition: i32, member: String) {
    let mut random = Random::new(&member);
    while *phase.borrow_and_update() == Phase::Churn {
        let Some(mut stream) = enter(&world, partition, &member, &mut random).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let stay = Duration::from_millis(random.below(LONGEST_STAY) as u64);
        let received = timeout(stay, listen(&world, partition, &member, &mut stream, false)).await;
        if received.is_err() && random.below(8) == 0 {
            // A newer stream takes its place.
            if let Some(newer) = enter(&world, partition, &member, &mut random).await {
                match timeout(SOON, listen(&world, partition, &member, &mut stream, false)).await {
                    Ok(status) if status.code() == Code::Aborted => {
                        world.replaced.fetch_add(1, Ordering::Relaxed);
                    }
                    // Its replica was killed.
                    Ok(_) => {}
                    Err(_) => world.object(format!("{member} has an older stream that does not end")),
                }
                world.events.fetch_add(1, Ordering::Relaxed);
                stream = newer;
            }
        }
        // Half of them say so when they go, the others vanish.
        if random.below(2) == 0 {
            stream.wire.abort();
        }
        drop(stream);
        world.events.fetch_add(1, Ordering::Relaxed);
    }
    while locked(&world.wrong).is_empty() {
        if let Some(mut stream) = enter(&world, partition, &member, &mut random).await {
            stand(&world, &member, &stream.first);
            let status = listen(&world, partition, &member, &mut stream, true).await;
            locked(&world.standing).remove(&member);
            if *phase.borrow() == Phase::Stay {
                world.object(format!("the stream of {member} has ended: {status:?}"));
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The replicas of the controller.
struct Replicas<'a> {
    installation: &'a Installation,
    running: Vec<Controller>,
}

impl Replicas<'_> {
    /// Starts those that are missing; returns where all are.
    fn start(&mut self) -> Vec<SocketAddr> {
        let running = self.running.len();
        for index in running..REPLICAS {
            // The webhooks know one address only.
            let webhook_port = (index > 0).then(free_port);
            let options = StartOptions { webhook_port, ..StartOptions::default() };
            self.running.push(self.installation.start_with(options).expect("a controller"));
        }
        for replica in &mut self.running[running..] {
            replica.wait_ready().expect("a ready controller");
        }
        self.running.iter().map(Controller::grpc_addr).collect()
    }

    fn kill(&mut self, index: usize) {
        self.running.remove(index).kill().expect("an end");
    }
}

/// Whether all that stay have received what the record says, and it names them and no other member.
fn is_settled(set: &Set, world: &World) -> bool {
    let standing = locked(&world.standing).clone();
    let partitions = items(&set.kubectl(), &["partitions"]);
    let settled = partitions.iter().all(|partition| {
        let record = &partition["status"]["election"];
        let prefix = format!("{}-", text(partition, "/metadata/name"));
        let mut members = standing.range(prefix.clone()..).take_while(|(member, _)| member.starts_with(&prefix));
        let candidates = record["candidates"].as_array().map_or(0, Vec::len);
        members.clone().count() == candidates && members.all(|(_, received)| *received == short(record))
    });
    settled && partitions.len() == PARTITIONS as usize
}

#[test]
fn what_everybody_hears_fits_together_whoever_comes_goes_or_dies() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut replicas = Replicas { installation: &installation, running: Vec::new() };
    let addresses = Mutex::new(replicas.start());
    let set = Set::new(control_plane.kubectl(), "random", PARTITIONS, SIZE);
    let world = Arc::new(World { namespace: set.namespace().to_owned(), addresses, ..World::default() });
    let phase = watch::Sender::new(Phase::Churn);
    for partition in 1..=i32::try_from(PARTITIONS).expect("a number") {
        for member in 0..SIZE {
            let member = format!("w-{partition}-{member}");
            MEMBERS.spawn(live(Arc::clone(&world), phase.subscribe(), partition, member));
        }
    }

    let assert_right = || {
        let wrong = locked(&world.wrong).clone();
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    let (begun, mut random, mut kills, mut last) = (Instant::now(), Random::new("kills"), 0, Instant::now());
    let events = || world.events.load(Ordering::Relaxed);
    while events() < EVENTS || kills < KILLS {
        assert_right();
        assert!(begun.elapsed() < DEADLINE, "{} events and {kills} kills in {DEADLINE:?}", events());
        if last.elapsed() < LULL || kills >= KILLS {
            sleep(Duration::from_millis(100));
            continue;
        }
        // Now and then all at once.
        let killed = if kills == KILLS / 2 { REPLICAS } else { 1 };
        for _ in 0..killed {
            let index = random.below(replicas.running.len());
            replicas.kill(index);
        }
        *locked(&world.addresses) = replicas.start();
        (kills, last) = (kills + killed, Instant::now());
    }
    let (took, replaced) = (begun.elapsed(), world.replaced.load(Ordering::Relaxed));
    println!("{} events in {took:?}, {kills} replicas killed, {replaced} streams replaced", events());
    assert!(replaced > 50);

    // Everybody stays, and all agree.
    phase.send_replace(Phase::Stay);
    let within = |limit: Duration, what: &str| {
        let begun = Instant::now();
        loop {
            assert_right();
            if is_settled(&set, &world) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < limit, "{what}: {:#?}", locked(&world.standing));
            sleep(Duration::from_millis(200));
        }
    };
    let everybody = (PARTITIONS * SIZE) as usize;
    let begun = Instant::now();
    while locked(&world.standing).len() < everybody {
        assert_right();
        assert!(begun.elapsed() < SOON, "{:#?}", locked(&world.standing));
        sleep(Duration::from_millis(50));
    }
    within(SOON, "they do not agree");
    // No ghost: whoever was with a replica that dies does not come back.
    phase.send_replace(Phase::Kill);
    replicas.kill(0);
    let took = within(NO_GHOST_AFTER, "ghosts");
    let left = locked(&world.standing).len();
    println!("{left} of {everybody} candidates are left, all others gone {took:?} after their replica was killed");
    assert!(left < everybody && left > 0);
    for partition in items(&set.kubectl(), &["partitions"]) {
        let index = text(&partition, "/metadata/labels/partition").parse().expect("a number");
        assert!(partition["status"]["election"]["term"].as_i64() >= Some(world.highest(index)));
    }
}

//! How long reviews and calls of the Atomix API take at a fixed rate, and the CPU time and memory
//! that they cost the controller. A request counts from when it was due, also if the one before it was late.

#![allow(missing_docs, reason = "a program")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/replicas/support.rs"]
mod support;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/replicas/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{GetPartitionGroupsRequest, PartitionGroupId};
use futures::future::try_join_all;
use tonic::transport::Endpoint;
use webhook_tests::{Controller, is_ready};

use crate::support::ground;
use crate::wire::{Wire, review};

const USAGE: &str =
    "usage: cargo bench -p webhook-tests --bench requests [-- SECONDS [REVIEWS_PER_SECOND [CALLS_PER_SECOND]]]";

/// Connections of each load, each with one request at a time.
const CONNECTIONS: u32 = 16;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// When each request of one connection is due.
#[derive(Clone, Copy)]
struct Schedule {
    begun: Instant,
    per_second: u32,
    connection: u32,
    end: Instant,
}

impl Schedule {
    fn of_each(per_second: u32, time: Duration) -> impl Iterator<Item = Self> {
        let begun = Instant::now() + Duration::from_millis(200);
        (0..CONNECTIONS).map(move |connection| Self { begun, per_second, connection, end: begun + time })
    }

    fn times(self) -> impl Iterator<Item = Instant> {
        let due = move |turn: u32| {
            self.begun + Duration::from_secs(1) * (turn * CONNECTIONS + self.connection) / self.per_second
        };
        (0..).map(due).take_while(move |due| *due < self.end)
    }
}

fn main() -> Result<()> {
    let numbers = webhook_tests::arguments::numbers(USAGE)?;
    ensure!(numbers.len() <= 3 && !numbers.contains(&0), USAGE);
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (time, reviews, calls) = (Duration::from_secs(number(0, 10).into()), number(1, 500), number(2, 1000));
    let _ = rustls::crypto::ring::default_provider().install_default();

    let ground = ground();
    let mut controller = ground.installation.start()?;
    controller.wait_ready()?;
    let kubectl = ground.kubectl();
    kubectl.create_stdin(
        "{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {name: w}, \
         spec: {partitions: 10, template: {spec: {protocol: log, size: 1}}}}",
    );
    kubectl.try_wait_until(&["partitionset", "w"], PATIENCE, |sets| sets.first().is_some_and(is_ready))?;
    let wire = Wire::new(&ground);
    let address = controller.webhook_addr();
    measure("reviews", &controller, reviews, || send_reviews(&wire, address, reviews, time))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = controller.grpc_addr();
    measure("calls", &controller, calls, || runtime.block_on(send_calls(address, calls, time)))
}

/// Prints what the requests of one kind took and cost, after as many that do not count.
fn measure(
    what: &str,
    controller: &Controller,
    per_second: u32,
    mut send: impl FnMut() -> Result<Vec<Duration>>,
) -> Result<()> {
    send()?;
    let cpu = controller.cpu_time();
    let mut times = send()?;
    let cpu = controller.cpu_time().saturating_sub(cpu);
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("{} {what} at {per_second}/s over {CONNECTIONS} connections", times.len());
    println!("p50                       {:10.2?}", percentile(50));
    println!("p99                       {:10.2?}", percentile(99));
    println!("CPU of the controller     {:10.2?} each", cpu / u32::try_from(times.len())?);
    println!(
        "resident memory           {:8.1} MB\n",
        f64::from(u32::try_from(controller.rss_bytes() / 1000)?) / 1000.0
    );
    Ok(())
}

fn send_reviews(wire: &Wire, address: SocketAddr, per_second: u32, time: Duration) -> Result<Vec<Duration>> {
    let clients: Vec<_> = Schedule::of_each(per_second, time)
        .map(|schedule| {
            let wire = wire.clone();
            thread::spawn(move || -> Result<Vec<Duration>> {
                let (mut connection, body) = (wire.connect(address)?, review("bench", 0));
                let send = |due: Instant| {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let answer = connection.post("/mutate", &body)?;
                    ensure!(answer.status == 200, "{answer:?}");
                    Ok(due.elapsed())
                };
                schedule.times().map(send).collect()
            })
        })
        .collect();
    let times = clients.into_iter().map(|client| client.join().expect("a client"));
    Ok(times.collect::<Result<Vec<_>>>()?.concat())
}

async fn send_calls(address: SocketAddr, per_second: u32, time: Duration) -> Result<Vec<Duration>> {
    let clients = Schedule::of_each(per_second, time).map(|schedule| async move {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut client = ControllerServiceClient::new(channel);
        let mut times = Vec::new();
        for due in schedule.times() {
            tokio::time::sleep_until(due.into()).await;
            let id = PartitionGroupId { name: "w".to_owned(), namespace: "default".to_owned() };
            let found = client.get_partition_groups(GetPartitionGroupsRequest { id: Some(id) }).await?;
            ensure!(found.into_inner().groups.len() == 1, "no group");
            times.push(due.elapsed());
        }
        anyhow::Ok(times)
    });
    Ok(try_join_all(clients).await?.concat())
}

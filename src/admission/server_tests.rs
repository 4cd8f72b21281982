use std::time::SystemTime;

use axum::routing::get;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

use super::*;
use crate::runtime::metrics::Registry;
use crate::tls::Periods;
use crate::tls::authority::Authority;
use crate::tls::{self, Names};

const QUICK: &[u8] = b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

/// Longer than a busy machine takes, and shorter than [`Limits::head`], which would end a connection as well.
const PATIENCE: Duration = Duration::from_secs(25);

struct Running {
    address: SocketAddr,
    ca: Arc<Authority>,
    metrics: Arc<AdmissionMetrics>,
    /// Lets a request to `/slow` be answered.
    answer: Arc<Notify>,
    /// Says that one has arrived.
    arrived: Arc<Notify>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn no_drain() -> Limits {
    Limits { drain: Duration::ZERO, ..Limits::default() }
}

async fn start(limits: Limits) -> Running {
    let names = Names::new("keeper", "home", "x");
    let ca = Arc::new(Authority::mint(&names, 1, &Periods::default(), SystemTime::now()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, shutdown) = (Registry::default().register(), CancellationToken::new());
    let (answer, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (answer, arrived) = (Arc::clone(&answer), Arc::clone(&arrived));
        get(async move || {
            arrived.notify_one();
            answer.notified().await;
            "slow"
        })
    };
    let long = get(|| async { "x".repeat(1 << 20) });
    let router = Router::new().route("/quick", get(|| async { "quick" })).route("/slow", slow).route("/long", long);
    let config = tls::tests::server_config(&ca, &names);
    let task = tokio::spawn(serve(listener, config, router, Arc::clone(&metrics), limits, shutdown.clone()));
    Running { address, ca, metrics, answer, arrived, shutdown, task }
}

impl Running {
    async fn connect(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        self.handshake(TcpStream::connect(self.address).await?, version, alpn).await
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        version: &'static SupportedProtocolVersion,
        alpn: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.current.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from("keeper.home.svc").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn client(&self) -> client::TlsStream<TcpStream> {
        self.connect(&TLS13, "http/1.1").await.unwrap()
    }

    fn handshake_failures(&self, reason: &'static str) -> u64 {
        self.metrics.tls_handshake_failures.get_or_create(&ReasonLabel { reason }).get()
    }
}

/// One answer, which these tests know to come in one piece that ends with `body`.
async fn answer(stream: &mut (impl AsyncRead + Unpin), body: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(body.as_bytes()) {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), held).await.expect("never");
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // An abrupt end is an end, too.
    let _ = end.expect("the connection is still open");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_kept_connection_serves_requests_over_tls_1_2_and_1_3() {
    let server = start(Limits::default()).await;
    for version in [&TLS12, &TLS13] {
        let mut client = server.connect(version, "http/1.1").await.unwrap();
        for _ in 0..3 {
            client.write_all(QUICK).await.unwrap();
            assert!(answer(&mut client, "quick").await.starts_with("HTTP/1.1 200"));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_acknowledged_ends_its_connection_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    limit_acknowledgement(&stream, Duration::from_secs(20)).unwrap();
    assert_eq!(rustix::net::sockopt::tcp_user_timeout(&stream).unwrap(), 20_000);
}

#[tokio::test]
async fn http_2_is_not_offered() {
    let server = start(Limits::default()).await;
    assert!(server.connect(&TLS13, "h2").await.is_err());
    until(|| server.handshake_failures("tls") == 1).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped() {
    let server = start(Limits { handshake: Duration::from_millis(100), ..no_drain() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    closed(&mut stream).await;
    assert_eq!(server.handshake_failures("timeout"), 1);
}

#[tokio::test]
async fn a_connection_without_a_request_ends_and_so_does_a_head_that_trickles_in() {
    let server = start(Limits { head: Duration::from_secs(2), ..Limits::default() }).await;
    let (mut fresh, mut idle, mut slow) = (server.client().await, server.client().await, server.client().await);
    idle.write_all(QUICK).await.unwrap();
    answer(&mut idle, "quick").await;
    slow.write_all(b"GET /quick HTTP/1.1\r\nx: ").await.unwrap();
    let trickle = async {
        while slow.write_all(b"y").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("the connection is still open");
    closed(&mut fresh).await;
    closed(&mut idle).await;
}

#[test]
fn the_api_server_closes_its_idle_connections_first() {
    assert!(Limits::default().head > Duration::from_secs(90));
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_dropped() {
    let server = start(Limits { acknowledgement: Duration::from_millis(500), ..Limits::default() }).await;
    let mut client = server.client().await;
    for _ in 0..16 {
        client.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }
    connections(&server, 1).await;
    connections(&server, 0).await;
}

#[tokio::test]
async fn a_long_head_is_refused() {
    let server = start(Limits::default()).await;
    let mut client = server.client().await;
    let head = format!("GET /quick HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_BUFFER));
    client.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text).await;
    assert!(text.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&text));
}

/// Waits until the server has so many connections.
async fn connections(server: &Running, count: i64) {
    until(|| server.metrics.connections.get() == count).await;
}

#[tokio::test]
async fn half_open_connections_leave_room_for_a_client_and_end() {
    let limits = Limits { connections: 41, handshake: Duration::from_secs(2), ..Limits::default() };
    let server = start(limits).await;
    let mut half_open = Vec::new();
    for _ in 0..40 {
        half_open.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut client = server.client().await;
    client.write_all(QUICK).await.unwrap();
    answer(&mut client, "quick").await;
    // This one has to wait until the others have ended.
    let mut next = timeout(PATIENCE, server.client()).await.unwrap();
    next.write_all(QUICK).await.unwrap();
    answer(&mut next, "quick").await;
    for stream in &mut half_open {
        closed(stream).await;
    }
    assert_eq!(server.handshake_failures("timeout"), 40);
    connections(&server, 2).await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_the_limit_allows() {
    let server = start(Limits { connections: 1, ..Limits::default() }).await;
    let mut busy = server.client().await;
    busy.write_all(SLOW).await.unwrap();
    server.arrived.notified().await;
    let second = server.client();
    let mut second = pin!(second);
    assert!(timeout(Duration::from_millis(300), second.as_mut()).await.is_err());
    assert_eq!(server.metrics.connections.get(), 1);
    server.answer.notify_one();
    answer(&mut busy, "slow").await;
    drop(busy);
    let mut second = timeout(PATIENCE, second).await.unwrap();
    second.write_all(QUICK).await.unwrap();
    answer(&mut second, "quick").await;
}

fn closes(answer: &str) -> bool {
    answer.to_lowercase().contains("\r\nconnection: close\r\n")
}

#[tokio::test]
async fn a_drain_answers_kept_and_new_connections_and_each_answer_closes_its_own() {
    let server = start(Limits { drain: Duration::from_secs(600), ..Limits::default() }).await;
    let (mut kept, mut fresh, mut busy) = (server.client().await, server.client().await, server.client().await);
    kept.write_all(QUICK).await.unwrap();
    assert!(!closes(&answer(&mut kept, "quick").await));
    busy.write_all(SLOW).await.unwrap();
    server.arrived.notified().await;
    server.shutdown.cancel();
    server.answer.notify_one();
    assert!(closes(&answer(&mut busy, "slow").await));
    closed(&mut busy).await;
    let mut new = server.client().await;
    for client in [&mut kept, &mut fresh, &mut new] {
        client.write_all(QUICK).await.unwrap();
        assert!(closes(&answer(client, "quick").await));
        closed(client).await;
    }
    connections(&server, 0).await;
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn after_the_drain_nothing_is_accepted_and_idle_connections_end() {
    let never = Duration::from_secs(600);
    let server = start(Limits { drain: Duration::from_secs(8), handshake: never, ..Limits::default() }).await;
    let (mut idle, mut fresh) = (server.client().await, server.client().await);
    idle.write_all(QUICK).await.unwrap();
    answer(&mut idle, "quick").await;
    let mut half_open = TcpStream::connect(server.address).await.unwrap();
    connections(&server, 3).await;
    server.shutdown.cancel();
    for _ in 0..3 {
        assert!(!server.task.is_finished());
        server.client().await;
    }
    closed(&mut idle).await;
    closed(&mut fresh).await;
    closed(&mut half_open).await;
    timeout(Duration::from_secs(30), server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_client_that_connected_just_before_the_end_still_gets_an_answer() {
    let server = start(Limits { late: Duration::from_secs(30), ..no_drain() }).await;
    let mut fresh = server.client().await;
    let handshake = TcpStream::connect(server.address).await.unwrap();
    connections(&server, 2).await;
    server.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), refused).await.expect("connections are still accepted");
    let mut late = server.handshake(handshake, &TLS13, "http/1.1").await.unwrap();
    for client in [&mut fresh, &mut late] {
        client.write_all(QUICK).await.unwrap();
        assert!(closes(&answer(client, "quick").await));
    }
    timeout(Duration::from_secs(15), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_closes_the_rest() {
    let server = start(no_drain()).await;
    let (mut busy, mut idle) = (server.client().await, server.client().await);
    idle.write_all(QUICK).await.unwrap();
    answer(&mut idle, "quick").await;
    busy.write_all(SLOW).await.unwrap();
    server.arrived.notified().await;
    server.shutdown.cancel();
    closed(&mut idle).await;
    assert!(!server.task.is_finished());
    server.answer.notify_one();
    let text = answer(&mut busy, "slow").await;
    assert!(text.to_lowercase().contains("connection: close"), "{text}");
    timeout(Duration::from_secs(15), server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.metrics.connections.get(), 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(Limits { stop: Duration::from_millis(100), ..no_drain() }).await;
    let mut busy = server.client().await;
    busy.write_all(SLOW).await.unwrap();
    server.arrived.notified().await;
    server.shutdown.cancel();
    timeout(Duration::from_secs(15), server.task).await.unwrap().unwrap();
    closed(&mut busy).await;
}

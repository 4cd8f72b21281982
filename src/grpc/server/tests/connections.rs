//! How long a connection lasts.

use super::*;

#[tokio::test]
async fn a_client_that_sends_nothing_or_no_http_2_is_dropped() {
    let server = start(Limits { setup: Duration::from_millis(200), ..no_drain() }).await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", &[0; 4096]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("still open");
    }
    server.until_connections(0).await;
}

#[tokio::test]
async fn an_old_connection_ends_without_its_election() {
    let age = (Duration::from_secs(1), Duration::from_secs(1));
    let server = start(Limits { age, ..no_drain() }).await;
    let (idle, mut node) = (server.client().await, server.client().await);
    let mut stream = node.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stream).await;
    idle.ended().await;
    let next = std::future::poll_fn(|cx| Pin::new(stream.body_mut()).poll_frame(cx));
    assert!(timeout(Duration::from_secs(1), next).await.is_err(), "the election has ended");
    assert_eq!(server.metrics.connections.get(), 1);
}

/// What a client says on a new connection to make one call, without reading anything.
fn said(path: &str, message: &[u8]) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let path = format!("/atomix.controller.ControllerService/{path}");
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", &path), ("content-type", "application/grpc")];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let (settings, headers, data) = (frame(4, 0, 0, &[]), frame(1, 4, 1, &block), frame(0, 1, 1, message));
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings, headers, data].concat()
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let short = Duration::from_secs(2);
    let mut server = start(Limits { ping: (short, short), ..no_drain() }).await;
    let mut node = server.client().await;
    let mut stream = node.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stream).await;
    server.sees(Seen::Began).await;
    let mut vanished = TcpStream::connect(server.address).await.unwrap();
    vanished.write_all(&said("EnterElection", &enter("b"))).await.unwrap();
    server.sees(Seen::Began).await;
    server.sees(Seen::Dropped).await;
    server.until_connections(1).await;
    node.get().await;
}

#[tokio::test]
async fn one_connection_has_room_for_the_elections_of_a_whole_mesh_and_refuses_one_too_many_at_once() {
    let server = start(Limits { elections: 273, ..no_drain() }).await;
    let mut mesh = server.client().await;
    let all = async {
        let mut elections = Vec::new();
        for member in 0..273 {
            let mut election = mesh.begin("EnterElection", &[], enter(&member.to_string()).into()).await.unwrap();
            first(&mut election).await;
            elections.push(election);
        }
        let refused = mesh.call("EnterElection", enter("one too many")).await;
        mesh.get().await;
        refused.0
    };
    assert_eq!(timeout(Duration::from_secs(60), all).await.expect("a call waits unseen"), 14);
}

//! What is refused when there is too much.

use super::*;

#[tokio::test]
async fn streams_are_limited() {
    let mut server = start(Limits { elections: 1, ..Limits::default() }).await;
    let mut client = server.client().await;
    let mut stream = client.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stream).await;
    server.sees(Seen::Began).await;
    let (code, why) = client.call("EnterElection", enter("b")).await;
    assert_eq!((code, why.as_str()), (14, "too many calls at a time: try again, or another replica"));
    client.get().await;
    drop(stream);
    server.sees(Seen::Dropped).await;
    server.until_counted("EnterElection", "CANCELLED").await;
    let mut stream = client.begin("EnterElection", &[], enter("c").into()).await.unwrap();
    first(&mut stream).await;
}

#[tokio::test]
async fn calls_wait_in_a_bounded_queue() {
    let mut server = start(Limits { calls: 1, waiting: 1, ..Limits::default() }).await;
    let mut client = server.client().await;
    let call = |path: &'static str, name: &'static str| {
        let mut client = Client { send: client.send.clone(), connection: tokio::spawn(async { Ok(()) }) };
        tokio::spawn(async move { client.call(path, get(name)).await.0 })
    };
    let working = call("DeletePartitionGroup", "x");
    server.sees(Seen::Began).await;
    let (one, other) = (call("GetPartitionGroups", "x"), call("GetPartitionGroups", "x"));
    let refused = server.until_counted("GetPartitionGroups", "UNAVAILABLE");
    timeout(Duration::from_secs(10), refused).await.unwrap();
    working.abort();
    server.sees(Seen::Dropped).await;
    let mut codes = [one.await.unwrap(), other.await.unwrap()];
    codes.sort_unstable();
    assert_eq!(codes, [0, 14]);
    client.get().await;
}

#[tokio::test]
async fn slow_clients_keep_others_waiting_only_for_so_long() {
    let (request, answer) = (Duration::from_millis(200), Duration::from_secs(1));
    let server = start(Limits { calls: 2, request, answer, ..Limits::default() }).await;
    let (mut slow, mut greedy, mut client) =
        (server.client().await, server.taking_nothing().await, server.client().await);
    let (sender, pieces) = mpsc::channel(1);
    sender.send(get("x").slice(..3)).await.unwrap();
    let half = tokio::spawn(async move {
        outcome(slow.begin("GetPartitionGroups", &[], Body::new(Pieces(pieces))).await.unwrap()).await
    });
    let unread = greedy.begin("GetPartitionGroups", &[], get("long").into()).await.unwrap();
    for _ in 0..3 {
        timeout(Duration::from_secs(10), client.get()).await.unwrap();
    }
    assert_eq!(half.await.unwrap().0, 4);
    greedy.ended().await;
    drop((unread, sender));
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_the_others_go_on() {
    let server = start(Limits { connections: 2, setup: Duration::from_millis(300), ..Limits::default() }).await;
    let mut client = server.client().await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.until_connections(2).await;
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(Duration::from_secs(10), refused.read(&mut [0])).await.unwrap();
    assert!(closed.is_err() || closed.is_ok_and(|read| read == 0));
    assert_eq!(server.metrics.connections_refused.get(), 1);
    client.get().await;
    // The silent one is dropped, and leaves its place.
    server.until_connections(1).await;
    server.client().await.get().await;
}

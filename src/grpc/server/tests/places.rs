//! Who gets a place, and whose is taken, when there are too few.

use super::*;

#[tokio::test]
async fn there_are_only_so_many_streams_at_a_time() {
    let mut server = start(Limits { stands: 1, ..Limits::default() }).await;
    let mut client = server.client().await;
    let mut stands = client.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stands).await;
    server.sees(Seen::Began).await;
    let (code, why) = client.call("EnterElection", enter("b")).await;
    assert_eq!((code, why.as_str()), (14, "too many calls at a time: try again, or another replica"));
    client.get().await;
    drop(stands);
    server.sees(Seen::Dropped).await;
    server.until_counted("EnterElection", "CANCELLED").await;
    let mut stands = client.begin("EnterElection", &[], enter("c").into()).await.unwrap();
    first(&mut stands).await;
}

#[tokio::test]
async fn calls_wait_for_a_place_and_only_so_many_may_wait() {
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
async fn slow_clients_keep_no_place_from_others() {
    let server = start(Limits { calls: 2, ..Limits::default() }).await;
    let (mut slow, mut greedy, mut client) = (server.client().await, server.client().await, server.client().await);
    // Neither the rest of a request that is not whole is waited for, nor that an answer is taken.
    let (sender, pieces) = mpsc::channel(1);
    sender.send(get("x").slice(..3)).await.unwrap();
    let half = tokio::spawn(async move {
        outcome(slow.begin("GetPartitionGroups", &[], Body::new(Pieces(pieces))).await.unwrap()).await
    });
    let untaken = greedy.begin("GetPartitionGroups", &[], get("long").into()).await.unwrap();
    for _ in 0..3 {
        timeout(Duration::from_secs(10), client.get()).await.unwrap();
        let mut other = Client { send: client.send.clone(), connection: tokio::spawn(async { Ok(()) }) };
        tokio::join!(client.get(), other.get());
    }
    assert_eq!(half.await.unwrap(), (14, "the request did not come at once: try again".into()));
    greedy.ended().await;
    drop((untaken, sender));
}

#[tokio::test]
async fn only_so_many_bytes_wait_for_clients_that_do_not_take_them() {
    let server = start(Limits { untaken: 5 << 19, ..Limits::default() }).await;
    let (mut greedy, mut client) = (server.taking_nothing().await, server.client().await);
    let one = greedy.begin("GetPartitionGroups", &[], get("long").into()).await.unwrap();
    let other = greedy.begin("GetPartitionGroups", &[], get("long").into()).await.unwrap();
    let (code, why) = client.call("GetPartitionGroups", get("long")).await;
    assert_eq!(code, 14);
    assert_eq!(why, "too much of what was answered is not taken yet: try again, or another replica");
    client.get().await;
    drop(one);
    server.until_counted("GetPartitionGroups", "CANCELLED").await;
    for _ in 0..3 {
        assert_eq!(client.call("GetPartitionGroups", get("long")).await.0, 0);
    }
    drop(other);
}

#[tokio::test]
async fn an_answer_that_is_larger_than_all_the_room_has_it_to_itself() {
    let server = start(Limits { untaken: 100_000, ..Limits::default() }).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        assert_eq!(client.call("GetPartitionGroups", get("long")).await.0, 0);
    }
}

#[tokio::test]
async fn who_comes_takes_the_place_of_who_does_not_use_it_half_open_ones_first() {
    let day = Duration::from_secs(86_400);
    let mut server = start(Limits { connections: 3, idle: day, ..Limits::default() }).await;
    let mut stands = server.client().await;
    let mut stream = stands.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stream).await;
    server.sees(Seen::Began).await;
    let mut idle = server.client().await;
    idle.get().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut new = timeout(Duration::from_secs(10), server.client()).await.unwrap();
    new.get().await;
    // Silent ones went first, and then not all had to go.
    idle.get().await;
    stands.get().await;
    assert!(server.metrics.connections.get() <= 3);
}

#[tokio::test]
async fn half_a_request_is_no_use_of_a_connection() {
    let mut server = start(Limits { connections: 3, ..Limits::default() }).await;
    let mut stands = server.client().await;
    let mut stream = stands.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stream).await;
    server.sees(Seen::Began).await;
    let (sender, pieces) = mpsc::channel(1);
    sender.send(get("x").slice(..3)).await.unwrap();
    let mut slow = server.client().await;
    let half = tokio::spawn(async move { slow.begin("GetPartitionGroups", &[], Body::new(Pieces(pieces))).await });
    let begun = server.metrics.in_flight.get_or_create(&GrpcMethodLabel { method: "GetPartitionGroups" }).clone();
    while begun.get() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        timeout(Duration::from_secs(10), client.get()).await.unwrap();
        others.push(client);
    }
    assert!(half.await.unwrap().is_err(), "its place was not taken");
    stands.get().await;
}

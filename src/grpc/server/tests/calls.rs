//! How calls are answered, and when they end.

use super::*;

#[tokio::test]
async fn calls_are_answered_one_after_the_other_and_at_once_on_one_connection() {
    let server = start(Limits::default()).await;
    let mut client = server.client().await;
    client.get().await;
    client.get().await;
    let mut other = Client { send: client.send.clone(), connection: tokio::spawn(async { Ok(()) }) };
    tokio::join!(client.get(), other.get());
    assert_eq!(server.count("GetPartitionGroups", "OK"), 4);
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented_and_counted_under_one_name() {
    let server = start(Limits::default()).await;
    let mut client = server.client().await;
    for path in ["Nothing", "../other.Service/Get"] {
        assert_eq!(client.call(path, get("x")).await.0, 12);
    }
    assert_eq!(server.count("unknown", "UNIMPLEMENTED"), 2);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_goes_on() {
    let server = start(Limits::default()).await;
    let mut client = server.client().await;
    assert_eq!(client.call("CreatePartitionGroup", get("x")).await, (13, "the server failed; its log says why".into()));
    assert_eq!(client.call("EnterElection", enter("panic")).await.0, 13);
    client.get().await;
    assert_eq!((server.count("CreatePartitionGroup", "INTERNAL"), server.count("EnterElection", "INTERNAL")), (1, 1));
}

#[tokio::test]
async fn the_deadline_of_the_client_ends_calls_and_streams() {
    let mut server = start(Limits::default()).await;
    let mut client = server.client().await;
    for (path, message) in [("DeletePartitionGroup", get("x")), ("EnterElection", enter("a"))] {
        let response = client.begin(path, &[("grpc-timeout", "200m")], message.into()).await.unwrap();
        assert_eq!(outcome(response).await, (4, "the call took too long".into()));
        server.sees(Seen::Began).await;
        server.sees(Seen::Dropped).await;
    }
    let response = client.begin("GetPartitionGroups", &[("grpc-timeout", "20S")], get("x").into()).await.unwrap();
    assert_eq!(outcome(response).await.0, 0);
}

#[tokio::test]
async fn a_unary_call_lasts_no_longer_than_the_server_allows() {
    let mut server = start(Limits { answer: Duration::from_millis(200), ..Limits::default() }).await;
    let mut client = server.client().await;
    assert_eq!(client.call("DeletePartitionGroup", get("x")).await.0, 4);
    server.sees(Seen::Began).await;
    server.sees(Seen::Dropped).await;
    let mut stands = client.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stands).await;
    sleep(Duration::from_millis(500)).await;
    client.get().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_takes_too_long_does_not_end_its_connection() {
    let server = start(Limits { answer: Duration::from_millis(50), ..Limits::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = server.client().await;
        clients.push(tokio::spawn(async move {
            for _ in 0..8 {
                assert_eq!(client.call("DeletePartitionGroup", get("x")).await.0, 4);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_whose_client_is_gone_stops() {
    let mut server = start(Limits::default()).await;
    let mut client = server.client().await;
    let calling = client.begin("DeletePartitionGroup", &[], get("x").into());
    assert!(timeout(Duration::from_millis(200), calling).await.is_err());
    server.sees(Seen::Began).await;
    server.sees(Seen::Dropped).await;
    let mut stands = client.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    first(&mut stands).await;
    server.sees(Seen::Began).await;
    client.connection.abort();
    drop((stands, client));
    server.sees(Seen::Dropped).await;
    server.until_counted("EnterElection", "CANCELLED").await;
    server.until_connections(0).await;
}

#[tokio::test]
async fn a_request_that_is_not_complete_in_time_is_refused() {
    let server = start(Limits { request: Duration::from_millis(200), ..Limits::default() }).await;
    let mut client = server.client().await;
    let (sender, pieces) = mpsc::channel(1);
    sender.send(get("x").slice(..3)).await.unwrap();
    let response = client.begin("GetPartitionGroups", &[], Body::new(Pieces(pieces))).await.unwrap();
    assert_eq!(outcome(response).await, (4, "the request was not complete in time".into()));
    client.get().await;
}

#[tokio::test]
async fn a_client_that_does_not_take_an_answer_is_cut_off() {
    for window in [0, 16 * 1024] {
        let server = start(Limits { answer: Duration::from_millis(300), ..Limits::default() }).await;
        let mut client = Client::over(TcpStream::connect(server.address).await.unwrap(), window).await;
        let response = client.begin("GetPartitionGroups", &[], get("long").into()).await.unwrap();
        client.ended().await;
        drop(response);
        server.until_connections(0).await;
    }
}

//! How the server ends.

use super::*;

#[tokio::test]
async fn a_drain_ends_elections_at_once_and_answers_other_calls() {
    let mut server = start(Limits { drain: Duration::from_secs(600), ..Limits::default() }).await;
    let (mut node, mut idle, fresh) = (server.client().await, server.client().await, server.client().await);
    let stream = node.begin("EnterElection", &[], enter("a").into()).await.unwrap();
    server.sees(Seen::Began).await;
    idle.get().await;
    let mut busy = server.client().await;
    let under_way = tokio::spawn(async move { (busy.call("GetPartitionGroups", get("soon")).await.0, busy) });
    server.sees(Seen::Began).await;
    server.shutdown.cancel();
    let sent_away = (14, "this replica is stopping: connect again, another one answers".to_owned());
    assert_eq!(outcome(stream).await, sent_away);
    // Each connection gets a GOAWAY; calls that are under way finish.
    node.ended().await;
    idle.ended().await;
    let (code, busy) = timeout(Duration::from_secs(10), under_way).await.unwrap().unwrap();
    assert_eq!(code, 0);
    busy.ended().await;
    fresh.ended().await;
    // A client that connects in the drain is answered, and gets a GOAWAY soon.
    let mut late = server.client().await;
    late.get().await;
    late.ended().await;
    let mut late = server.client().await;
    assert_eq!(late.call("EnterElection", enter("a")).await, sent_away);
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn after_the_drain_nothing_is_accepted_and_what_is_under_way_finishes() {
    let mut server = start(no_drain()).await;
    let (mut idle, mut busy, fresh) = (server.client().await, server.client().await, server.client().await);
    idle.get().await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    let under_way = tokio::spawn(async move { busy.call("GetPartitionGroups", get("soon")).await.0 });
    server.sees(Seen::Began).await;
    server.until_connections(4).await;
    server.shutdown.cancel();
    idle.ended().await;
    fresh.ended().await;
    assert_eq!(under_way.await.unwrap(), 0);
    server.stopped().await;
    drop(silent);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = start(Limits { stop: Duration::from_millis(200), ..no_drain() }).await;
    let mut busy = server.client().await;
    let under_way =
        tokio::spawn(async move { busy.begin("DeletePartitionGroup", &[], get("x").into()).await.is_err() });
    server.sees(Seen::Began).await;
    server.shutdown.cancel();
    assert!(under_way.await.unwrap());
    server.stopped().await;
}

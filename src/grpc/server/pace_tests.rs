use tokio::time::timeout;

use super::*;

/// What may happen on a connection.
type Event = fn(&Arc<Pace>);

fn pace() -> Arc<Pace> {
    Arc::new(Pace::new(Limits::default(), true))
}

#[tokio::test(start_paused = true)]
async fn an_eviction_stands_whatever_comes_after_it() {
    let after: [(&str, Event); 6] = [
        ("nothing", |_| {}),
        ("the end of the handshake", |pace| pace.secured()),
        ("the preface", |pace| {
            pace.secured();
            pace.has_read(PREFACE);
        }),
        ("a call", |pace| drop(pace.begin(None))),
        ("patience", |pace| pace.linger(Duration::from_secs(60))),
        ("a stop", |pace| pace.hurry(Duration::from_secs(60))),
    ];
    for (what, happens) in after {
        let pace = pace();
        assert!(pace.evict());
        happens(&pace);
        assert_eq!(timeout(Duration::ZERO, pace.overdue()).await, Ok(Name::Evicted), "{what}");
        assert_eq!(pace.waits(), None, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_for_its_client_unless_a_request_is_whole() {
    let (pace, limits) = (pace(), Limits::default());
    let waits = |time| Some(Wait::from(Instant::now(), time));
    assert_eq!(pace.waits(), waits(limits.handshake));
    tokio::time::advance(Duration::from_secs(1)).await;
    pace.secured();
    assert_eq!(pace.waits(), waits(limits.preface));
    pace.has_read(PREFACE - 1);
    assert_eq!(pace.waits(), waits(limits.preface));
    pace.has_read(1);
    assert_eq!(pace.waits(), waits(limits.idle));
    let under_way = pace.begin(None);
    assert_eq!(pace.waits(), None);
    assert!(!pace.evict());
    tokio::time::advance(Duration::from_secs(1000)).await;
    drop(under_way);
    assert_eq!(pace.waits(), waits(limits.idle));
}

use super::*;

fn time(query: &str) -> Duration {
    let now = Instant::now();
    deadline(Some(query), now) - now
}

#[test]
fn the_deadline_is_a_second_before_the_api_server_gives_up_and_in_four_at_the_latest() {
    for (query, millis) in [
        ("timeout=3s", 2000),
        ("timeout=5s", 4000),
        ("a=b&timeout=2s&c", 1000),
        ("timeout=1s", 100),
        ("timeout=30s", 4000),
        ("timeout=18446744073709551615s", 4000),
        ("timeout=99999999999999999999s", 4000),
        ("timeout=0s", 4000),
        ("timeout=-1s", 4000),
        ("timeout=", 4000),
        ("timeout=2", 4000),
        ("timeout=soon", 4000),
        ("notimeout=2s", 4000),
        ("", 4000),
    ] {
        assert_eq!(time(query), Duration::from_millis(millis), "{query}");
    }
    let now = Instant::now();
    assert_eq!(deadline(None, now) - now, MAX_TIME);
}

#[test]
fn structure_takes_far_more_memory_than_its_length() {
    assert_eq!(memory_to_read(br#"{"a":{},"b":[]}"#), 2 * 15 + 2 * 640 + 160 + 128);
    let repeated = |item: &str, bytes: usize| format!("[{}]", item.repeat(bytes / item.len()));
    assert!(fits_memory(repeated("x", MAX_BODY).as_bytes()));
    assert!(fits_memory(repeated(r#"{"":0},"#, 7 * 20_000).as_bytes()));
    assert!(!fits_memory(repeated(r#"{"":0},"#, 7 * 40_000).as_bytes()));
    assert!(!fits_memory(repeated("0,", 1_000_000).as_bytes()));
    // Twenty thousand values in each of two objects are more than any set has.
    assert!(fits_memory(repeated(r#"{"name":"0123456789","value":"0123456789"},"#, 2 * 10_000 * 43).as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn large_bodies_share_so_many_bytes() {
    let limits = Limits::new(MAX_BODY, 1);
    let permit = limits.body(MAX_BODY - SMALL_BODY).await.unwrap();
    let small = limits.body(SMALL_BODY).await.unwrap();
    assert!(matches!(limits.body(1).await, Err(Rejection::Overload)));
    drop(small);
    assert!(limits.body(SMALL_BODY).await.is_ok());
    drop(permit);
    assert!(limits.body(MAX_BODY).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_permit_for_a_decision_is_waited_for_until_the_deadline() {
    let limits = Limits::new(MAX_BODY, 1);
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    let permit = limits.decision(at(1)).await.unwrap();
    assert!(limits.decision(at(1)).await.is_none());
    let next = limits.clone();
    let next = tokio::spawn(async move { next.decision(at(3)).await.is_some() });
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(permit);
    assert!(next.await.unwrap());
}

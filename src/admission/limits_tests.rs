use super::*;

fn time(query: &str) -> Duration {
    let now = Instant::now();
    deadline(Some(query), now) - now
}

#[test]
fn the_answer_is_due_a_second_before_the_api_server_gives_up_and_after_four_at_the_latest() {
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
fn what_is_written_as_text_weighs_its_length_and_what_is_written_as_structure_far_more() {
    assert_eq!(memory_to_read(br#"["{,[\"{,[\\"]"#), 2 * 14 + 160);
    assert_eq!(memory_to_read(br#"{"a":{},"b":[]}"#), 2 * 15 + 640 + 128);
    let repeated = |item: &str, bytes: usize| format!("[{}]", item.repeat(bytes / item.len()));
    assert_eq!(Weight::of(repeated("x", 60_000).as_bytes()), Weight::Light);
    assert_eq!(Weight::of(repeated("x", 70_000).as_bytes()), Weight::Heavy);
    assert_eq!(Weight::of(repeated("x", super::super::MAX_BODY).as_bytes()), Weight::Heavy);
    assert_eq!(Weight::of(repeated(r#"{"":0},"#, 20_000).as_bytes()), Weight::Heavy);
    assert_eq!(Weight::of(repeated(r#"{"":0},"#, 400_000).as_bytes()), Weight::TooHeavy);
    assert_eq!(Weight::of(repeated("0,", 1_000_000).as_bytes()), Weight::TooHeavy);
}

#[tokio::test(start_paused = true)]
async fn room_is_waited_for_until_the_deadline() {
    let limits = Limits::new(100, 1);
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    let first = limits.body(60, at(1)).await.unwrap();
    assert!(limits.body(60, at(1)).await.is_none());
    assert!(limits.body(101, at(1)).await.is_none());
    let both = limits.body(40, at(1)).await.unwrap();
    drop(first);
    assert!(limits.body(60, at(1)).await.is_some());
    drop(both);
    let place = limits.decision(at(1)).await.unwrap();
    let next = limits.clone();
    let next = tokio::spawn(async move { next.decision(at(3)).await.is_some() });
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(place);
    assert!(next.await.unwrap());
}

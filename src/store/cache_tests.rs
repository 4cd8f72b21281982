use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

#[test]
fn an_older_state_does_not_replace_a_newer_one() {
    let cache = Cache::default();
    cache.observe(key("a"), 5, "own write");
    cache.observe(key("a"), 4, "late watch event");
    cache.forget(&key("a"), 3);
    assert_eq!(cache.get(&key("a")).as_deref(), Some(&"own write"));
    cache.forget(&key("a"), 6);
    assert_eq!(cache.get(&key("a")), None);
}

#[test]
fn a_late_answer_does_not_bring_back_what_is_gone() {
    let cache = Cache::default();
    cache.observe(key("a"), 4, "old");
    cache.forget(&key("a"), 7);
    assert!(!cache.observe(key("a"), 6, "answer to an own write before the deletion"));
    assert_eq!(cache.get(&key("a")), None);
    assert!(cache.observe(key("a"), 8, "made again"));
}

#[test]
fn what_was_known_before_a_list_began_is_not_later_than_the_list_unless_the_store_was_restored() {
    let cache = Cache::default();
    cache.observe(key("a"), 90, "after the snapshot");
    cache.observe(key("gone"), 3, "before the snapshot");
    cache.forget(&key("gone"), 95);
    let highest = cache.highest_version();
    assert_eq!(highest, 95);
    cache.observe(key("own"), 99, "own write while the list was made");
    assert!(!cache.is_contradicted(&key("own"), 40, highest));
    assert!(cache.is_contradicted(&key("a"), 40, highest) && cache.is_contradicted(&key("gone"), 3, highest));
    assert!(!cache.is_contradicted(&key("a"), 90, highest) && !cache.is_contradicted(&key("new"), 41, highest));
}

#[test]
fn a_newer_state_that_says_the_same_is_no_news_and_an_older_one_stays_out() {
    let cache = Cache::default();
    assert!(cache.observe(key("a"), 4, "same"));
    assert!(!cache.observe(key("a"), 6, "same"));
    assert!(!cache.observe(key("a"), 5, "older"));
    assert_eq!(cache.get(&key("a")).as_deref(), Some(&"same"));
    assert!(cache.observe(key("a"), 7, "other"));
}

#[test]
fn only_so_many_deletions_are_remembered() {
    let cache = Cache::default();
    for version in 0..2000 {
        cache.forget(&key(&format!("a-{version}")), version);
        cache.observe(key("b"), version, ());
    }
    let state = cache.read();
    assert_eq!((state.gone.versions.len(), state.gone.order.len()), (REMEMBERED, REMEMBERED));
}

#[test]
fn a_prefix_selects_within_one_namespace() {
    let cache = Cache::default();
    for name in ["x-1", "x-10", "x", "xy-1"] {
        cache.observe(key(name), 1, ());
    }
    cache.observe(ObjectKey::new("ns2", "x-2"), 1, ());
    let names: Vec<String> = cache.with_prefix("ns", "x-").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["x-1", "x-10"]);
}

#[test]
fn a_full_list_drops_what_it_lacks() {
    let cache = Cache::default();
    cache.observe(key("a"), 1, ());
    cache.observe(key("b"), 1, ());
    let dropped = cache.retain(&HashSet::from([key("a")]), None, ListAge::BegunAt(1));
    assert_eq!(dropped.len(), 1);
    assert!(cache.get(&key("a")).is_some() && cache.get(&key("b")).is_none());
}

#[test]
fn a_list_of_a_known_version_drops_for_good_what_is_older_and_nothing_that_is_newer() {
    let cache = Cache::default();
    cache.observe(key("older"), 4, ());
    cache.observe(key("newer"), 6, ());
    let dropped = cache.retain(&HashSet::new(), None, ListAge::Version(5));
    assert_eq!(dropped.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key("older")]);
    assert!(!cache.observe(key("older"), 5, ()), "a late answer");
    assert!(cache.get(&key("newer")).is_some());
}

#[test]
fn what_a_list_of_the_watch_drops_and_may_exist_is_unconfirmed_until_it_is_known() {
    let cache = Cache::default();
    for (name, version) in [("older", 4), ("created", 6), ("deleted", 7)] {
        cache.observe(key(name), version, ());
    }
    assert_eq!(cache.retain(&HashSet::new(), None, ListAge::BegunAt(5)).len(), 3);
    assert_eq!(cache.unconfirmed("ns"), [key("created"), key("deleted")]);
    assert_eq!((cache.last_version(&key("created")), cache.last_version(&key("older"))), (Some(6), None));
    assert!(cache.observe(key("created"), 6, ()), "the watch shows it");
    cache.observe(key("lost"), 8, ());
    cache.retain(&HashSet::from([key("created")]), None, ListAge::BegunAt(7));
    assert_eq!(cache.unconfirmed("ns"), [key("lost")], "a list that began after the deletion lacks the object");
    cache.forget(&key("lost"), 8);
    assert!(cache.unconfirmed("ns").is_empty() && cache.get(&key("created")).is_some());
}

#[tokio::test]
async fn a_change_that_is_waited_for_is_not_missed() {
    let cache = Arc::new(Cache::default());
    cache.observe(key("a"), 1, 1);
    let there = Arc::clone(&cache);
    let wait = tokio::spawn(async move {
        there.wait_until(&key("a"), |value| value == Some(&3)).await;
        there.wait_until(&key("a"), |value| value.is_none()).await;
    });
    for version in 2..4 {
        tokio::task::yield_now().await;
        cache.observe(key("a"), version, version);
    }
    tokio::task::yield_now().await;
    cache.forget(&key("a"), 4);
    wait.await.unwrap();
}

#[test]
fn the_list_of_one_namespace_drops_nothing_of_another() {
    let cache = Cache::default();
    let elsewhere = ObjectKey::new("ns2", "a");
    cache.observe(key("a"), 1, ());
    cache.observe(elsewhere.clone(), 1, ());
    let dropped = cache.retain(&HashSet::new(), Some("ns"), ListAge::BegunAt(1));
    assert_eq!(dropped.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key("a")]);
    assert!(cache.get(&elsewhere).is_some());
    assert_eq!(cache.retain(&HashSet::new(), None, ListAge::BegunAt(1)).len(), 1);
}

#[test]
fn the_lag_of_a_watch_is_the_age_of_the_first_state_that_it_has_not_shown() {
    let (cache, start) = (Cache::default(), Instant::now());
    let later = |seconds| start + Duration::from_secs(seconds);
    let is_late = || cache.lag(later(60)) > Duration::from_secs(50);
    assert_eq!(cache.lag(later(60)), Duration::ZERO);
    cache.observe(key("a"), 5, "own write");
    cache.observe(key("a"), 7, "the next");
    cache.shown("ns", 4);
    cache.shown("another", 9);
    assert!(is_late());
    cache.shown("ns", 5);
    assert!(!is_late(), "the watch has shown the write");
    cache.observe(key("a"), 7, "known already");
    assert!(!is_late());
    cache.observe(key("b"), 8, "deleted before the watch came so far");
    cache.shown_whole(Some("another"));
    assert!(is_late());
    cache.shown_whole(None);
    assert!(!is_late());
}

//! Why a StatefulSet makes no more pods: its controller reports it in events of its own, and nowhere else.
//!
//! Events are many, and are read only while pods are missing: those of a whole namespace at once, so that a quota that
//! keeps a hundred partitions from their pods costs no more reads than one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use moka::future::Cache;

use crate::calls::within;
use crate::controller::context::Context;

/// How long what was read of a namespace counts, and when a partition looks again.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(20);
/// Longest that one read may take: other partitions of its namespace wait for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that are read at most.
const MOST: u32 = 500;
/// How old an event may be: the StatefulSet controller tries again after 1,000 seconds at the latest.
const RECENT: SignedDuration = SignedDuration::from_secs(1200);
/// Which events are read.
const SELECTED: &str = "regarding.kind=StatefulSet,reason=FailedCreate";
/// What stands before the API server's words.
const PREFIX: &str = " failed error: ";

/// The API server's words by the uid of the StatefulSet.
type Words = HashMap<String, String>;

/// What was last read, by namespace. Those that ask while a namespace is read wait for that read.
#[derive(Debug)]
pub(super) struct CreationFailures(Cache<String, Arc<Words>>);

impl Default for CreationFailures {
    fn default() -> Self {
        Self(Cache::builder().time_to_live(READ_AGAIN).build())
    }
}

impl CreationFailures {
    /// The API server's words when it last refused a pod of the StatefulSet of that uid; none if nothing is known.
    pub(super) async fn of(&self, context: &Context, namespace: &str, uid: &str) -> Option<String> {
        self.words(namespace, uid, Box::pin(read(context, namespace))).await
    }

    /// The words about an object, by `read` if there has been none of its namespace for a while.
    async fn words(&self, namespace: &str, uid: &str, read: impl Future<Output = Words>) -> Option<String> {
        let words = self.0.get_with_by_ref(namespace, async { Arc::new(read.await) }).await;
        words.get(uid).cloned()
    }
}

/// The API server's words by the uid of the StatefulSet; none if they cannot be read.
async fn read(context: &Context, namespace: &str) -> Words {
    let events: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let selected = ListParams::default().fields(SELECTED).limit(MOST);
    match within(CALL_TIMEOUT, events.list(&selected)).await {
        Ok(events) => latest(&events.items, Timestamp::now()),
        Err(error) => {
            tracing::debug!(namespace, %error, "events of StatefulSets were not read");
            Words::new()
        }
    }
}

/// What to say of a missing pod whose name another pod has, one that the StatefulSet of that uid does not control: of
/// this its controller makes no event. None if there is no such pod, or if it cannot be read.
pub(super) async fn name_taken(context: &Context, namespace: &str, pod: &str, uid: &str) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    // Any version will do: the API server answers from its cache.
    let named = ListParams::default().fields(&format!("metadata.name={pod}")).match_any();
    let found = within(CALL_TIMEOUT, pods.list_metadata(&named)).await.ok()?.items.into_iter().next()?;
    let controller = found.owner_references().iter().find(|owner| owner.controller == Some(true));
    controller.is_none_or(|owner| owner.uid != uid).then(|| {
        format!("pod {pod} cannot be made, since there is one of that name which is not the StatefulSet's: delete it")
    })
}

/// The words of the latest event about each object.
fn latest(events: &[Event], now: Timestamp) -> Words {
    let mut latest: HashMap<String, (Timestamp, String)> = HashMap::new();
    for event in events {
        let (Some(uid), Some(at)) = (event.regarding.as_ref().and_then(|object| object.uid.clone()), last_seen(event))
        else {
            continue;
        };
        let note = event.note.as_deref().unwrap_or_default();
        let words = note.split_once(PREFIX).map_or(note, |(_, words)| words);
        if now.duration_since(at) < RECENT && latest.get(&uid).is_none_or(|(known, _)| *known <= at) {
            latest.insert(uid, (at, words.to_owned()));
        }
    }
    latest.into_iter().map(|(uid, (_, words))| (uid, words)).collect()
}

/// When an event was last observed, in whichever field its source reports it.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let deprecated = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    [series, deprecated, first].into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_read_that_takes_its_time_keeps_only_its_namespace_waiting_and_serves_all_of_it() {
        let failures = CreationFailures::default();
        let found = |why: &str| ready(HashMap::from([("u".to_owned(), why.to_owned())]));
        let mut slow = Box::pin(failures.words("slow", "u", pending()));
        assert_eq!((&mut slow).now_or_never(), None);
        assert_eq!(failures.words("slow", "u", found("second")).now_or_never(), None);
        assert_eq!(failures.words("other", "u", found("a")).now_or_never(), Some(Some("a".to_owned())));
        assert_eq!(failures.words("other", "u", pending()).now_or_never(), Some(Some("a".to_owned())));
        drop(slow);
        assert_eq!(failures.words("slow", "u", found("third")).now_or_never(), Some(Some("third".to_owned())));
    }

    fn words(events: Value) -> Words {
        let events: Vec<Event> = serde_json::from_value(events).unwrap();
        latest(&events, "2026-01-01T01:00:00Z".parse().unwrap())
    }

    fn event(uid: &str, note: &str, at: &str) -> Value {
        json!({"metadata": {}, "regarding": {"uid": uid}, "note": note, "deprecatedLastTimestamp": at})
    }

    #[test]
    fn the_words_of_the_latest_event_of_a_stateful_set_count() {
        let note = |why: &str| format!("create Pod w-1-1 in StatefulSet w-1 failed error: {why}");
        let found = words(json!([
            event("a", &note("exceeded quota: q"), "2026-01-01T00:59:00Z"),
            event("a", &note("exceeded quota: r"), "2026-01-01T00:59:30Z"),
            event("a", &note("exceeded quota: p"), "2026-01-01T00:58:00Z"),
            event("b", "other words", "2026-01-01T00:59:00Z"),
            event("c", &note("long gone"), "2026-01-01T00:20:00Z"),
            {"metadata": {}, "note": "of nothing"},
        ]));
        let wanted = [("a", "exceeded quota: r"), ("b", "other words")];
        assert_eq!(found, wanted.map(|(uid, words)| (uid.to_owned(), words.to_owned())).into());
    }
}

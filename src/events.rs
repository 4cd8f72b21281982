//! Kubernetes events: few, on the object that a person looks at, and never in anybody's way.
//!
//! kube's own recorder takes two events with different notes for one, and shows the first note for both; hence this.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::runtime::tasks::Supervisor;
use crate::text::shortened;

/// Events that may wait to be written; more are dropped, since the conditions say the same.
const WAITING: usize = 256;
/// Events that are remembered, so that the same one is counted when it happens again.
const REMEMBERED: usize = 512;
/// How long after an event the same one is counted instead of written anew, as in client-go.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// Longest that one call may take: the events behind it wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How an event is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// For information.
    Normal,
    /// Something needs attention.
    Warning,
}

/// What makes two events the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    uid: String,
    severity: Severity,
    reason: String,
    note: String,
}

/// Where events are handed in. Handing in never waits and never fails.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(Told, ObjectReference)>);

impl Events {
    /// Starts writing events as `controller`, from the replica called `instance`; `tasks` says who observes the task that
    /// does it, and its name.
    #[must_use]
    pub fn start(
        client: Client,
        controller: &str,
        instance: Option<String>,
        tasks: (&Supervisor, &'static str),
    ) -> Self {
        let (supervisor, task) = tasks;
        let (sender, mut receiver) = mpsc::channel::<(Told, ObjectReference)>(WAITING);
        let instance = instance.filter(|instance| !instance.is_empty()).unwrap_or_else(|| controller.to_owned());
        let mut recorder = Recorder {
            client,
            controller: controller.to_owned(),
            instance: shortened(instance, INSTANCE_BYTES),
            memory: Memory::default(),
        };
        // It ends with the last of those who hand in events.
        supervisor.spawn_finite(task, async move {
            while let Some((told, object)) = receiver.recv().await {
                let reason = told.reason.clone();
                if let Err(error) = recorder.write(told, object).await {
                    tracing::debug!(%error, reason, "an event was not written");
                }
            }
        });
        Self(sender)
    }

    /// Hands in an event about `object`, which must be of a namespace.
    pub fn publish(
        &self,
        object: &impl Resource<DynamicType = ()>,
        severity: Severity,
        reason: &str,
        note: impl Into<String>,
    ) {
        let told = Told {
            uid: object.meta().uid.clone().unwrap_or_default(),
            severity,
            reason: reason.to_owned(),
            note: shortened(note.into(), NOTE_BYTES),
        };
        if self.0.try_send((told, object.object_ref(&()))).is_err() {
            tracing::debug!(reason, "an event was dropped: too many are waiting");
        }
    }
}

struct Recorder {
    client: Client,
    controller: String,
    instance: String,
    memory: Memory,
}

impl Recorder {
    /// Counts an event that was told lately, and creates any other.
    async fn write(&mut self, told: Told, object: ObjectReference) -> kube::Result<()> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), object.namespace.as_deref().unwrap_or("default"));
        let now = Timestamp::now();
        if let Some(again) = self.memory.again(&told, now) {
            let series = EventSeries { count: again.count, last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(json!({ "series": series }));
            match within(CALL_TIMEOUT, events.patch(&again.name, &PatchParams::default(), &patch)).await {
                // Somebody has deleted it, or it has lived as long as the API server keeps events.
                Err(error) if classify(&error) == Class::Gone => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.memory.remember(told, again);
                    return Ok(());
                }
            }
        }
        let name = name(object.name.as_deref().unwrap_or(&self.controller), now);
        let event = self.event(&told, name.clone(), object, now);
        within(CALL_TIMEOUT, events.create(&PostParams::default(), &event)).await?;
        self.memory.remember(told, Last { name, count: 1, at: now });
        Ok(())
    }

    fn event(&self, told: &Told, name: String, object: ObjectReference, now: Timestamp) -> Event {
        let severity = match told.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: object.namespace.clone(), ..ObjectMeta::default() },
            event_time: Some(MicroTime(now)),
            type_: Some(severity.to_owned()),
            reason: Some(told.reason.clone()),
            note: Some(told.note.clone()),
            action: Some("Reconcile".to_owned()),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(object),
            ..Event::default()
        }
    }
}

/// When an event was last told, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    name: String,
    count: i32,
    at: Timestamp,
}

/// The events that were told lately.
#[derive(Debug, Default)]
struct Memory(HashMap<Told, Last>);

impl Memory {
    /// The event that is to be counted once more, as it is then; none if there is no such event, or not lately.
    fn again(&self, told: &Told, now: Timestamp) -> Option<Last> {
        let last = self.0.get(told).filter(|last| is_recent(last, now))?;
        Some(Last { name: last.name.clone(), count: last.count.saturating_add(1), at: now })
    }

    /// Remembers what was told, and forgets what is too long ago, or the oldest if that is not enough.
    fn remember(&mut self, told: Told, last: Last) {
        if !self.0.contains_key(&told) && self.0.len() >= REMEMBERED {
            self.0.retain(|_, known| is_recent(known, last.at));
            if self.0.len() >= REMEMBERED
                && let Some(oldest) = self.0.iter().min_by_key(|(_, known)| known.at).map(|(told, _)| told.clone())
            {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(told, last);
    }
}

fn is_recent(last: &Last, now: Timestamp) -> bool {
    now.duration_since(last.at) < SERIES
}

/// The name of an event about the object called `object`: a DNS subdomain, as that is one.
fn name(object: &str, now: Timestamp) -> String {
    /// Bytes that the API server takes in a name.
    const MOST: usize = 253;
    let time = format!("{:x}", now.as_nanosecond());
    // Names are ASCII.
    let start = object.get(..MOST - 1 - time.len()).unwrap_or(object);
    format!("{}.{time}", start.trim_end_matches(['.', '-']))
}

/// Bytes that the API server takes in a note.
const NOTE_BYTES: usize = 1024;
/// Bytes that the API server takes in `reportingInstance`.
const INSTANCE_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(note: &str) -> Told {
        Told { uid: "u".to_owned(), severity: Severity::Normal, reason: "R".to_owned(), note: note.to_owned() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn last(name: &str, count: i32, second: i64) -> Last {
        Last { name: name.to_owned(), count, at: at(second) }
    }

    #[test]
    fn the_same_event_is_counted_and_one_with_another_note_or_object_is_not() {
        let mut memory = Memory::default();
        assert_eq!(memory.again(&told("w-3 is deleted"), at(0)), None);
        memory.remember(told("w-3 is deleted"), last("w.1", 1, 0));
        assert_eq!(memory.again(&told("w-3 is deleted"), at(60)), Some(last("w.1", 2, 60)));
        let other = told("w-3 is deleted");
        for other in [
            told("w-2 is deleted"),
            Told { uid: "v".to_owned(), ..other.clone() },
            Told { severity: Severity::Warning, ..other.clone() },
            Told { reason: "S".to_owned(), ..other },
        ] {
            assert_eq!(memory.again(&other, at(60)), None, "{other:?}");
        }
    }

    #[test]
    fn a_series_ends_when_the_event_has_not_happened_for_a_while() {
        let mut memory = Memory::default();
        memory.remember(told("a"), last("w.1", 1, 0));
        let again = memory.again(&told("a"), at(359)).unwrap();
        memory.remember(told("a"), again);
        assert_eq!(memory.again(&told("a"), at(718)), Some(last("w.1", 3, 718)));
        assert_eq!(memory.again(&told("a"), at(719)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut memory = Memory::default();
        let note = |second: i64| told(&second.to_string());
        let most = i64::try_from(REMEMBERED).unwrap();
        // Ten of them in a millisecond each, so that none is too long ago.
        let at = |index: i64| Timestamp::from_millisecond(index).unwrap();
        for index in 0..=most {
            memory.remember(note(index), Last { name: "w".to_owned(), count: 1, at: at(index) });
        }
        assert_eq!(memory.0.len(), REMEMBERED);
        assert_eq!(memory.again(&note(0), at(most)), None);
        assert!(memory.again(&note(1), at(most)).is_some());
        // All of them are too long ago now.
        memory.remember(note(-1), last("w", 1, 3600));
        assert_eq!(memory.0.len(), 1);
    }

    #[test]
    fn the_name_of_an_event_is_one_that_the_api_server_takes() {
        assert_eq!(name("w", Timestamp::from_nanosecond(255).unwrap()), "w.ff");
        let long = format!("{}--.{}", "a".repeat(233), "b".repeat(17));
        let cut = name(&long, Timestamp::from_second(1_800_000_000).unwrap());
        assert!(cut.len() <= 253 && cut.starts_with(&format!("{}.", "a".repeat(233))), "{cut}");
    }
}

//! Kubernetes events on the objects that a person looks at.
//!
//! The recorder of kube-runtime 5 does not compare the notes of two events: it counts an event with another note as a
//! repetition and shows the note of the first. This recorder compares them.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::runtime::tasks::Supervisor;
use crate::text::shortened;

/// Events that may wait to be written. More are dropped: the conditions say the same.
const MAX_QUEUED: usize = 256;
/// Series that are remembered.
const MAX_SERIES: usize = 512;
/// How long after an event the same one is counted instead of written anew, as in client-go.
const SERIES_GAP: Duration = Duration::from_secs(360);
/// Longest that one call may take: the events behind it wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the API server takes in a note.
const MAX_NOTE: usize = 1024;
/// Bytes that the API server takes in `reportingInstance`.
const MAX_INSTANCE: usize = 128;

/// How an event is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// What two events have in common that are the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    severity: Severity,
    reason: String,
    note: String,
}

/// The queue of events. Publishing never waits and never fails.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(Key, ObjectReference)>);

impl Events {
    /// Starts a task of that name that writes events as `controller`, from the replica called `instance`, until the last
    /// clone is dropped.
    pub(crate) fn start(
        client: Client,
        controller: &str,
        instance: Option<String>,
        (supervisor, task): (&Supervisor, &'static str),
    ) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Key, ObjectReference)>(MAX_QUEUED);
        let instance = instance.filter(|instance| !instance.is_empty()).unwrap_or_else(|| controller.to_owned());
        let mut recorder = Recorder {
            client,
            controller: controller.to_owned(),
            instance: shortened(instance, MAX_INSTANCE),
            series: HashMap::new(),
        };
        supervisor.spawn_finite(task, async move {
            while let Some((key, object)) = receiver.recv().await {
                let reason = key.reason.clone();
                if let Err(error) = recorder.record(key, object).await {
                    tracing::debug!(%error, reason, "an event was not written");
                }
            }
        });
        Self(sender)
    }

    /// Queues an event about `object`, which is an object of a namespace.
    pub(crate) fn publish(
        &self,
        object: &impl Resource<DynamicType = ()>,
        severity: Severity,
        reason: &str,
        note: impl Into<String>,
    ) {
        let key = Key {
            uid: object.meta().uid.clone().unwrap_or_default(),
            severity,
            reason: reason.to_owned(),
            note: shortened(note.into(), MAX_NOTE),
        };
        if self.0.try_send((key, object.object_ref(&()))).is_err() {
            tracing::debug!(reason, "an event was dropped: too many are waiting");
        }
    }
}

/// An event that was written lately, and how often it has happened.
struct Series {
    name: String,
    count: i32,
    last: Instant,
}

struct Recorder {
    client: Client,
    controller: String,
    instance: String,
    series: HashMap<Key, Series>,
}

impl Recorder {
    /// Counts an event that was written lately, and creates any other.
    async fn record(&mut self, key: Key, object: ObjectReference) -> kube::Result<()> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), object.namespace.as_deref().unwrap_or("default"));
        let (now, time) = (Instant::now(), MicroTime(Timestamp::now()));
        self.series.retain(|_, series| now.duration_since(series.last) < SERIES_GAP);
        if let Some(series) = self.series.get_mut(&key) {
            let count = series.count.saturating_add(1);
            let patch = json!({"series": EventSeries { count, last_observed_time: time.clone() }});
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            match within(CALL_TIMEOUT, events.patch(&series.name, &params, &patch)).await {
                // It was deleted, or has expired.
                Err(error) if classify(&error) == Class::Gone => {}
                result => {
                    result?;
                    (series.count, series.last) = (count, now);
                    return Ok(());
                }
            }
        }
        let event = self.event(&key, object, time);
        let name = within(CALL_TIMEOUT, events.create(&PostParams::default(), &event)).await?.name_any();
        if self.series.len() >= MAX_SERIES {
            self.series.clear();
        }
        self.series.insert(key, Series { name, count: 1, last: now });
        Ok(())
    }

    fn event(&self, key: &Key, object: ObjectReference, time: MicroTime) -> Event {
        let severity = match key.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        let metadata = ObjectMeta {
            // The API server validates a prefix as a name, but for a dash at its end.
            generate_name: Some(format!("{}-", object.name.as_deref().unwrap_or(&self.controller))),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        };
        Event {
            metadata,
            event_time: Some(time),
            type_: Some(severity.to_owned()),
            reason: Some(key.reason.clone()),
            note: Some(key.note.clone()),
            action: Some("Reconcile".to_owned()),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(object),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hyper::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::Value;
    use tokio::time::advance;
    use tower::service_fn;

    use super::*;

    /// What an API server was sent: `POST <note>` or `PATCH <name> <count>`.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Vec<String>>>);

    impl Server {
        fn recorder(&self) -> Recorder {
            let sent = Arc::clone(&self.0);
            let service = service_fn(move |request: Request<Body>| {
                let sent = Arc::clone(&sent);
                async move {
                    let (head, body) = request.into_parts();
                    let mut event: Value = serde_json::from_slice(&body.collect_bytes().await?)?;
                    let mut sent = sent.lock().unwrap();
                    let name = head.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
                    let code = if name == "w.gone" { 404 } else { 200 };
                    if head.method == Method::POST {
                        let note = event["note"].as_str().unwrap().to_owned();
                        event["metadata"]["name"] = json!(format!("w.{note}"));
                        sent.push(format!("POST {note}"));
                    } else {
                        sent.push(format!("PATCH {name} {}", event["series"]["count"]));
                        let fault = json!({"kind": "Status", "code": code, "status": "Failure"});
                        event = if code == 200 { json!({"metadata": {"name": name}}) } else { fault };
                    }
                    let response = Response::builder().status(code).body(Body::from(event.to_string().into_bytes()));
                    response.map_err(|error| -> tower::BoxError { error.into() })
                }
            });
            Recorder {
                client: Client::new(service, "default"),
                controller: "c".to_owned(),
                instance: "c-1".to_owned(),
                series: HashMap::new(),
            }
        }

        fn sent(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn key(note: &str) -> Key {
        Key { uid: "u".to_owned(), severity: Severity::Normal, reason: "R".to_owned(), note: note.to_owned() }
    }

    async fn record(recorder: &mut Recorder, key: Key) {
        let object = ObjectReference { name: Some("w".to_owned()), ..ObjectReference::default() };
        recorder.record(key, object).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_event_is_counted_and_one_with_another_note_or_object_is_created() {
        let server = Server::default();
        let mut recorder = server.recorder();
        for _ in 0..3 {
            record(&mut recorder, key("a")).await;
        }
        assert_eq!(server.sent(), ["POST a", "PATCH w.a 2", "PATCH w.a 3"]);
        for other in [
            key("b"),
            Key { uid: "v".to_owned(), ..key("a") },
            Key { severity: Severity::Warning, ..key("a") },
            Key { reason: "S".to_owned(), ..key("a") },
        ] {
            let created = format!("POST {}", other.note);
            record(&mut recorder, other).await;
            assert_eq!(server.sent(), [created]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_series_ends_when_the_event_has_not_happened_for_a_while_or_is_gone() {
        let server = Server::default();
        let mut recorder = server.recorder();
        record(&mut recorder, key("a")).await;
        for _ in 0..2 {
            advance(SERIES_GAP.saturating_sub(Duration::from_secs(1))).await;
            record(&mut recorder, key("a")).await;
        }
        advance(SERIES_GAP).await;
        record(&mut recorder, key("a")).await;
        assert_eq!(server.sent(), ["POST a", "PATCH w.a 2", "PATCH w.a 3", "POST a"]);
        for _ in 0..2 {
            record(&mut recorder, key("gone")).await;
        }
        assert_eq!(server.sent(), ["POST gone", "PATCH w.gone 2", "POST gone"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_series_is_bounded() {
        let server = Server::default();
        let mut recorder = server.recorder();
        for note in 0..=MAX_SERIES {
            record(&mut recorder, key(&note.to_string())).await;
            assert!(recorder.series.len() <= MAX_SERIES);
        }
    }
}

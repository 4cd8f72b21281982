//! Kubernetes events: few, on the object that a person looks at, and never in anybody's way.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;

/// Events that may wait to be written; more are dropped, since the conditions say the same.
const WAITING: usize = 256;

/// How an event is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For information.
    Normal,
    /// Something needs attention.
    Warning,
}

/// Where events are handed in. Handing in never waits and never fails.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Starts writing events as `controller`, from the replica called `instance`.
    #[must_use]
    pub fn start(client: Client, controller: &str, instance: Option<String>) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        let recorder = Recorder::new(client, Reporter { controller: controller.to_owned(), instance });
        tokio::spawn(async move {
            while let Some((event, object)) = receiver.recv().await {
                if let Err(error) = recorder.publish(&event, &object).await {
                    tracing::debug!(%error, reason = event.reason, "an event was not written");
                }
            }
        });
        Self(sender)
    }

    /// Hands in an event about `object`.
    pub fn publish(
        &self,
        object: &impl Resource<DynamicType = ()>,
        severity: Severity,
        reason: &str,
        note: impl Into<String>,
    ) {
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(shortened(note.into())),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.0.try_send((event, object.object_ref(&()))).is_err() {
            tracing::debug!(reason, "an event was dropped: too many are waiting");
        }
    }
}

/// The API server takes notes of at most 1,024 bytes.
fn shortened(mut note: String) -> String {
    const MOST: usize = 1024;
    if note.len() > MOST {
        let end = (0..=MOST - 3).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
        note.truncate(end);
        note.push_str("...");
    }
    note
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_notes_are_cut_between_characters() {
        let note = shortened("é".repeat(600));
        assert!(note.len() <= 1024 && note.ends_with("é..."), "{}", note.len());
        assert_eq!(shortened("short".to_owned()), "short");
    }
}

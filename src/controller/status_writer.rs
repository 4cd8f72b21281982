//! Writes the statuses of one kind, and decides what a reconciliation ends with.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use super::context::Context;
use super::per_object::PerObject;
use super::refusals::{Refusal, Refusals};
use super::settings::FIELD_MANAGER;
use super::status_pacing::StatusPacing;
use super::trouble::Trouble;
use super::writer::bounded;
use crate::api::names::ObjectKey;
use crate::api_error::{Class, classify, message};
use crate::events::Severity;
use crate::queue::{Outcome, Trigger};
use crate::store::cache::key_of;

/// Reason of the event on an object whose status cannot be written.
const STATUS_NOT_WRITTEN: &str = "StatusNotWritten";

/// Transient failures in a row that no status reports: a second, with the queue's back-off.
const IGNORED_TRANSIENT_FAILURES: u32 = 2;

/// Writes the statuses of one kind.
#[derive(Debug)]
pub(super) struct StatusWriter {
    objects: PerObject<State>,
    refusals: Refusals,
    trigger: Trigger,
}

#[derive(Debug, Default)]
struct State {
    pacing: StatusPacing,
    /// Why the status could not be written when that was last tried.
    refused: Option<String>,
    transient_failures: u32,
}

/// How the write of a status ended.
#[derive(Debug)]
pub(super) enum StatusWrite<K> {
    /// It was right already.
    Unchanged,
    /// It is right again without a write, after one was refused.
    Cleared,
    /// It is written; this is the object now.
    Written(Box<K>),
    /// It can be written after a while only.
    Later(Duration),
    Failed,
}

impl<K> StatusWrite<K> {
    /// Whether the status differs from the last one, or can be written again.
    pub(super) fn is_news(&self) -> bool {
        matches!(self, Self::Cleared | Self::Written(_))
    }
}

/// What a reconciliation was about, to decide when the next one is.
pub(super) struct Attempt<'a, K> {
    /// What is in the way and may be gone at another attempt.
    pub(super) trouble: Option<&'a Trouble>,
    /// What the API server refuses until something changes that no watch shows.
    pub(super) refusal: Option<Refusal>,
    pub(super) status: StatusWrite<K>,
    /// When to look again at the latest, if no event comes before.
    pub(super) again: Option<Duration>,
}

impl StatusWriter {
    /// A writer for the objects whose reconciliation `trigger` requests.
    pub(super) fn new(trigger: Trigger) -> Self {
        Self { objects: PerObject::default(), refusals: Refusals::default(), trigger }
    }

    /// Whether a failed attempt is passed over without a status: all is on its way out with the namespace, or the failure
    /// is one that has not occurred often enough in a row. What is not passed over is logged, unless `shown` says it.
    pub(super) fn suppress_transient(&self, key: &ObjectKey, trouble: Option<&Trouble>, shown: &[Condition]) -> bool {
        let suppressed = self.objects.with(key, |state| {
            let is_transient = trouble.is_some_and(Trouble::is_transient);
            state.transient_failures = if is_transient { state.transient_failures.saturating_add(1) } else { 0 };
            (1..=IGNORED_TRANSIENT_FAILURES).contains(&state.transient_failures)
        });
        let Some(trouble) = trouble else { return false };
        if suppressed || trouble.is_silent() {
            tracing::debug!(object = %key, reason = trouble.reason, why = trouble.message, "trying again");
            return true;
        }
        if !trouble.is_shown(shown) {
            tracing::info!(object = %key, reason = trouble.reason, why = trouble.message, "cannot be completed yet");
        }
        false
    }

    /// Writes a status if it differs from `before`; one that does so only in how far things are, and so is not `urgent`,
    /// not too often.
    pub(super) async fn write<K, S>(
        &self,
        context: &Context,
        object: &K,
        (before, after): (&S, &S),
        urgent: bool,
    ) -> StatusWrite<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
        S: Serialize + PartialEq,
    {
        let key = key_of(object);
        if before == after {
            let was_refused = self.objects.with(&key, |state| state.refused.take().is_some());
            return if was_refused { StatusWrite::Cleared } else { StatusWrite::Unchanged };
        }
        if let Err(wait) = self.objects.with(&key, |state| state.pacing.admit(urgent, Instant::now())) {
            return StatusWrite::Later(wait);
        }
        match patch(context, object, after).await {
            Ok(written) => {
                context.metrics.api_write("status", "patch");
                self.objects.with(&key, |state| {
                    state.refused = None;
                    state.pacing.record_written();
                });
                StatusWrite::Written(Box::new(written))
            }
            // The uid is another one if it was deleted and made again.
            Err(error) if matches!(classify(&error), Class::Gone | Class::Conflict) => {
                StatusWrite::Later(self.objects.with(&key, |state| state.pacing.record_conflict()))
            }
            Err(error) => {
                let (why, class) = (message(&error), classify(&error));
                tracing::warn!(object = %key, %why, "status not written, trying again");
                let passes = class.is_transient() || class == Class::NotLeading;
                let is_news = self.objects.with(&key, |state| {
                    state.pacing.record_conflict();
                    !passes && state.refused.replace(why.clone().into_owned()).as_deref() != Some(&*why)
                });
                if is_news {
                    let note = format!("the status is not up to date, since it cannot be written: {why}");
                    context.events.publish(object, Severity::Warning, STATUS_NOT_WRITTEN, note);
                }
                StatusWrite::Failed
            }
        }
    }

    /// Why the status of an object cannot be written, if it was refused when that was last tried.
    pub(super) fn refused(&self, key: &ObjectKey) -> Option<String> {
        self.objects.read(key, |state| state.refused.clone()).flatten()
    }

    /// When the object is to be reconciled again.
    pub(super) fn outcome<K>(&self, key: &ObjectKey, attempt: &Attempt<'_, K>) -> Outcome {
        let Attempt { trouble, refusal, status, again } = attempt;
        let unwritten = self.refused(key).map(|_| Refusal { reason: STATUS_NOT_WRITTEN, writes: 1 });
        let refused = self.refusals.record(key, refusal.or(unwritten), &self.trigger);
        let later = if let StatusWrite::Later(wait) = status { Some(*wait) } else { None };
        if let Some(wait) = later.filter(|_| trouble.is_some()) {
            // The back-off may last far longer than the status may lag.
            self.trigger.after(key.clone(), wait);
        }
        let retry = trouble.as_ref().and_then(|trouble| trouble.again);
        if matches!(status, StatusWrite::Failed) && unwritten.is_none() {
            return Outcome::Failed;
        }
        if let Some(wait) = refused {
            return Outcome::Refused(wait);
        }
        if trouble.is_some() && retry.is_none() {
            return Outcome::Failed;
        }
        [later, retry, *again].into_iter().flatten().min().map_or(Outcome::Done, Outcome::Again)
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.objects.forget(key);
        self.refusals.record(key, None, &self.trigger);
    }
}

/// Writes a status, and nothing else, of the very version of the object that it was computed from: a late write of a
/// former leader must not replace a newer status. Fields that are not in `status` stay as they are.
async fn patch<K>(context: &Context, object: &K, status: &impl Serialize) -> kube::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let metadata = json!({ "uid": object.uid().unwrap_or_default(), "resourceVersion": object.resource_version() });
    let patch = Patch::Merge(json!({ "metadata": metadata, "status": status }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    bounded(api.patch_status(&object.name_any(), &params, &patch)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_only_when_it_does_not_pass() {
        let (statuses, key) = (StatusWriter::new(Trigger::default()), ObjectKey::new("n", "a"));
        let trouble = Trouble::new(false, "ApiError", "away".to_owned());
        let failures = || (0..4).map(|_| statuses.suppress_transient(&key, Some(&trouble), &[])).collect::<Vec<_>>();
        assert_eq!(failures(), [true, true, false, false]);
        assert!(!statuses.suppress_transient(&key, None, &[]));
        assert_eq!(failures(), [true, true, false, false]);
    }

    #[test]
    fn what_is_refused_is_tried_rarely_what_fails_with_a_back_off_and_what_waits_at_its_time() {
        let (statuses, key) = (StatusWriter::new(Trigger::default()), ObjectKey::new("n", "a"));
        let seconds = Duration::from_secs;
        let failed = Trouble::new(false, "ApiError", "away".to_owned());
        let contested = Trouble { again: Some(seconds(15)), ..Trouble::new(true, "Contested", "c".to_owned()) };
        let refusal = Some(Refusal { reason: "Refused", writes: 1 });
        let outcome = |trouble, refusal, status: StatusWrite<()>, again| {
            statuses.outcome(&key, &Attempt { trouble, refusal, status, again })
        };
        assert_eq!(outcome(None, None, StatusWrite::Unchanged, None), Outcome::Done);
        assert_eq!(outcome(None, None, StatusWrite::Later(seconds(3)), Some(seconds(9))), Outcome::Again(seconds(3)));
        assert_eq!(outcome(Some(&failed), None, StatusWrite::Unchanged, Some(seconds(9))), Outcome::Failed);
        assert_eq!(outcome(Some(&contested), None, StatusWrite::Unchanged, None), Outcome::Again(seconds(15)));
        assert_eq!(outcome(Some(&failed), refusal, StatusWrite::Unchanged, None), Outcome::Refused(seconds(3)));
        assert_eq!(outcome(None, None, StatusWrite::Failed, Some(seconds(9))), Outcome::Failed);
    }
}

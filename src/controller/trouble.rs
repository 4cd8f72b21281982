//! What stands in the way of an object being as its spec says, in the terms of conditions.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api_error::{self, Class};
use crate::rules::{Violation, violation};

/// Reason of trouble that is not reported: all objects are on their way out.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
/// Reason of an object whose name another owner's object has.
const NAME_COLLISION: &str = "NameCollision";
/// Reason of an object that a quota of the namespace forbids.
const QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// Reason of an object that the API server finds invalid, or that a policy or a webhook of the cluster denies.
const REFUSED: &str = "Refused";
/// Reason of a pod that is to be replaced and cannot be.
const EVICTION_REFUSED: &str = "EvictionRefused";
/// Reason of trouble that the next attempt may well not have.
const API_ERROR: &str = "ApiError";

/// Obstacles of one kind that a message names before it says how many more there are.
pub(super) const NAMED: usize = 8;

/// One obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Whether it needs help from outside, as opposed to passing by itself.
    pub(super) stalled: bool,
    /// One word in CamelCase.
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) message: String,
    /// When to try again, if that is known.
    pub(super) again: Option<Duration>,
    /// Whether it ends by a change that no watch shows: of a policy, a right, a quota, an object of another owner.
    pub(super) unseen: bool,
}

impl Trouble {
    /// An obstacle of which nothing is known but what it is.
    pub(super) fn new(stalled: bool, reason: &'static str, message: String) -> Self {
        Self { stalled, reason, message, again: None, unseen: false }
    }

    /// The conditions of an object that it stands in the way of.
    pub(super) fn drafts(&self) -> Vec<Draft> {
        let kind = if self.stalled { STALLED } else { RECONCILING };
        Draft::not_ready(self.reason, kind, self.reason, self.message.clone())
    }

    /// Whether it is not reported: the namespace is being deleted, with everything in it.
    pub(super) fn is_silent(&self) -> bool {
        self.reason == NAMESPACE_TERMINATING
    }

    /// Whether it is worth reporting only when it comes again: a conflict, an API server that is busy.
    pub(super) fn is_transient(&self) -> bool {
        self.reason == API_ERROR
    }

    /// Whether conditions say so already.
    pub(super) fn is_shown(&self, conditions: &[Condition]) -> bool {
        let ready = conditions::find(conditions, READY);
        ready.is_some_and(|ready| ready.message.contains(&self.message))
    }

    /// The same that ends by a change that no watch shows.
    pub(super) fn unseen(self) -> Self {
        Self { unseen: true, ..self }
    }

    /// An object of that name exists, and has another owner: `how`, for people.
    pub(super) fn collision(kind: &str, name: &str, how: &str) -> Self {
        let message = format!("{kind} {name:?} exists and {how}: it is left alone; delete or rename it");
        Self::new(true, NAME_COLLISION, message).unseen()
    }

    /// The object, or a former one of that name, is being deleted.
    pub(super) fn deleting(kind: &str, name: &str) -> Self {
        Self::new(false, "WaitingForDeletion", format!("{kind} {name:?} is being deleted"))
    }

    /// Another program, last seen as field manager `by`, changes the object again and again. It is put right again after
    /// a while.
    pub(super) fn contested(kind: &str, name: &str, by: &str, again: Duration) -> Self {
        let message = format!(
            "{kind} {name:?} is changed again and again by {by:?}: it is put right a few times a minute until that ends"
        );
        Self { again: Some(again), ..Self::new(true, "Contested", message) }
    }

    /// An object that was not written, for a reason that may pass.
    pub(super) fn not_written(kind: &str, name: &str, why: &str) -> Self {
        Self::new(false, API_ERROR, format!("{kind} {name:?} could not be brought up to date: {why}"))
    }

    /// A write of an object that failed.
    pub(super) fn of_write(kind: &str, name: &str, error: &kube::Error) -> Self {
        let words = api_error::message(error);
        let refused = |stalled, reason, how| {
            Self::new(stalled, reason, format!("{kind} {name:?} is refused{how}: {words}")).unseen()
        };
        match api_error::classify(error) {
            Class::Invalid if kind == "StatefulSet" => refused(true, "InvalidPodTemplate", " by the API server"),
            Class::Invalid => refused(true, REFUSED, " by the API server"),
            Class::Denied => refused(true, REFUSED, ""),
            // The message names the quota, and how much of it is used.
            Class::Quota => refused(false, QUOTA_EXCEEDED, ""),
            Class::NamespaceTerminating => {
                let message = format!("{kind} {name:?} is not written: the namespace is being deleted");
                Self::new(false, NAMESPACE_TERMINATING, message)
            }
            // As a rule, it takes an administrator.
            Class::Forbidden | Class::WebhookFailed => Self::not_written(kind, name, &words).unseen(),
            _ => Self::not_written(kind, name, &words),
        }
    }

    pub(super) fn is_collision(&self) -> bool {
        self.reason == NAME_COLLISION
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.reason == REFUSED
    }

    /// Whether all other objects of the namespace would be refused as well.
    pub(super) fn concerns_namespace(&self) -> bool {
        [QUOTA_EXCEEDED, NAMESPACE_TERMINATING].contains(&self.reason)
    }

    /// An eviction that failed. `budgets` are the disruption budgets of the pod, if it has more than it may.
    pub(super) fn of_eviction(pod: &str, error: &kube::Error, budgets: &[String]) -> Self {
        let words = api_error::message(error);
        let class = api_error::classify(error);
        let (stalled, reason, message) = match class {
            Class::NamespaceTerminating => (false, NAMESPACE_TERMINATING, words.into_owned()),
            Class::Denied | Class::Invalid | Class::Quota => {
                let named = budgets.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
                let named = if named.is_empty() { String::new() } else { format!(" They are {named}: delete one") };
                (
                    true,
                    EVICTION_REFUSED,
                    format!("outdated pod {pod} is not replaced: its eviction is refused: {words}{named}"),
                )
            }
            _ => (false, API_ERROR, format!("Pod {pod:?} could not be evicted: {words}")),
        };
        let unseen = stalled || matches!(class, Class::Forbidden | Class::WebhookFailed);
        Self { unseen, ..Self::new(stalled, reason, message) }
    }

    /// The obstacle that is reported first, with all others that need help as it does, or that have the same
    /// reason: what has to be done can be done for all at once.
    pub(super) fn first(troubles: Vec<Self>) -> Option<Self> {
        let mut troubles = troubles;
        troubles.sort_by_key(|trouble| !trouble.stalled);
        let mut troubles = troubles.into_iter();
        let mut first = troubles.next()?;
        let mut messages = vec![std::mem::take(&mut first.message)];
        let mut more = 0;
        let stalled = first.stalled;
        let reason = first.reason;
        for other in troubles.filter(|other| if stalled { other.stalled } else { other.reason == reason }) {
            first.again = first.again.into_iter().chain(other.again).min();
            if messages.contains(&other.message) {
                continue;
            }
            if messages.len() == NAMED {
                more += 1;
            } else {
                messages.push(other.message);
            }
        }
        if more > 0 {
            messages.push(format!("{more} more like that"));
        }
        first.message = messages.join("; ");
        Some(first)
    }
}

impl From<Vec<Violation>> for Trouble {
    fn from(violations: Vec<Violation>) -> Self {
        Self::new(true, "InvalidSpec", violation::join(&violations))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trouble(stalled: bool, reason: &'static str, message: &str) -> Trouble {
        Trouble::new(stalled, reason, message.to_owned())
    }

    #[test]
    fn all_obstacles_that_need_help_are_reported_together() {
        let collision = |name: &str| trouble(true, "NameCollision", name);
        let others = [trouble(false, "ApiError", "away"), trouble(true, "Refused", "no")];
        let troubles = [collision("a"), collision("b"), collision("a")].into_iter().chain(others);
        assert_eq!(Trouble::first(troubles.rev().collect()), Some(trouble(true, "Refused", "no; a; b")));
        let troubles = [trouble(false, "ApiError", "away"), collision("a"), collision("b"), collision("a")];
        assert_eq!(Trouble::first(troubles.into()), Some(collision("a; b")));
        let many = (0..10).map(|number| collision(&number.to_string()));
        assert_eq!(Trouble::first(many.collect()), Some(collision("0; 1; 2; 3; 4; 5; 6; 7; 2 more like that")));
        let passing = ["a", "b"].map(|message| trouble(false, "ApiError", message));
        let troubles = passing.into_iter().chain([trouble(false, "QuotaExceeded", "q")]);
        assert_eq!(Trouble::first(troubles.collect()), Some(trouble(false, "ApiError", "a; b")));
        assert_eq!(Trouble::first(Vec::new()), None);
    }

    #[test]
    fn refusals_of_the_api_server_are_classified_by_what_helps() {
        let of = |status: serde_json::Value| {
            Trouble::of_write("Service", "g-1", &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
        };
        let ending = json!({"code": 403, "message": "forbidden", "reason": "Forbidden",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]}});
        assert!(of(ending).is_silent());
        let quota =
            json!({"code": 403, "message": "services \"g-1\" is forbidden: exceeded quota: q", "reason": "Forbidden"});
        assert_eq!(of(quota).reason, QUOTA_EXCEEDED);
        let forbidden = of(json!({"code": 403, "reason": "Forbidden", "message": "no"}));
        assert!(forbidden.is_transient() && forbidden.unseen);
        let away = of(json!({"code": 500, "reason": "InternalError", "message": "away"}));
        let message = r#"Service "g-1" could not be brought up to date: away"#;
        assert_eq!(away, trouble(false, API_ERROR, message));
        assert!(of(json!({"code": 422, "reason": "Invalid", "message": "bad"})).is_refusal());
    }

    #[test]
    fn a_pod_with_several_budgets_is_reported_with_their_names() {
        let words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        let error = kube::Error::Api(Box::new(serde_json::from_value(json!({"code": 500, "message": words})).unwrap()));
        let of_pod = Trouble::of_eviction("w-1-2", &error, &["theirs".to_owned(), "w-1-pdb".to_owned()]);
        assert!(of_pod.stalled && of_pod.unseen);
        assert_eq!(
            of_pod.message,
            format!(
                "outdated pod w-1-2 is not replaced: its eviction is refused: {words} They are \"theirs\", \"w-1-pdb\": delete one"
            )
        );
    }
}

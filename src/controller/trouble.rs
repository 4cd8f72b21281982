//! What stands in the way of an object being as its spec says, in the terms of conditions.

use std::time::Duration;

use super::partition::identity::NotAPartition;
use super::write_error::Error;
use crate::rules::{Violation, violation};

/// Reason of trouble that nobody is told of: all of it is on its way out.
const NAMESPACE_ENDS: &str = "NamespaceTerminating";
/// Reason of trouble that the next attempt may well not have.
const API_ERROR: &str = "ApiError";

/// One obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it needs help from outside, as opposed to passing by itself.
    pub stalled: bool,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// When to try again, if that is known.
    pub again: Option<Duration>,
}

impl Trouble {
    /// An obstacle of which nothing is known but what it is.
    #[must_use]
    pub fn new(stalled: bool, reason: &'static str, message: String) -> Self {
        Self { stalled, reason, message, again: None }
    }

    /// Whether nobody needs to hear of it: the namespace is going, with everything in it.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.reason == NAMESPACE_ENDS
    }

    /// Whether it is worth telling only when it comes again: a conflict, an API server that is busy.
    #[must_use]
    pub fn is_fleeting(&self) -> bool {
        self.reason == API_ERROR
    }

    /// The obstacle that a person should hear of first: one that does not pass by itself.
    pub fn first(troubles: Vec<Self>) -> Option<Self> {
        let mut troubles = troubles;
        troubles.sort_by_key(|trouble| !trouble.stalled);
        troubles.into_iter().next()
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let again = if let Error::Contested { again, .. } = &error { Some(*again) } else { None };
        let (stalled, reason) = match &error {
            Error::Collision { .. } => (true, "NameCollision"),
            Error::Invalid { kind, .. } if kind == "StatefulSet" => (true, "InvalidPodTemplate"),
            Error::Invalid { .. } | Error::Denied { .. } => (true, "Refused"),
            Error::Deleting { .. } => (false, "WaitingForDeletion"),
            Error::Quota { .. } => (false, "QuotaExceeded"),
            Error::NamespaceEnds => (false, NAMESPACE_ENDS),
            Error::Contested { .. } => (true, "Contested"),
            Error::NotEvicted { .. } | Error::Failed { .. } => (false, API_ERROR),
        };
        Self { again, ..Self::new(stalled, reason, error.to_string()) }
    }
}

impl From<Vec<Violation>> for Trouble {
    fn from(violations: Vec<Violation>) -> Self {
        Self::new(true, "InvalidSpec", violation::join(&violations))
    }
}

impl From<NotAPartition> for Trouble {
    fn from(error: NotAPartition) -> Self {
        Self::new(true, "InvalidName", error.to_string())
    }
}

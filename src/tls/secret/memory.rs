//! What the task that looks after the Secret remembers from one look to the next.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::tls::backoff::{Backoff, Pace};
use crate::tls::canary::Verdict;
use crate::tls::rotation::Canary;

/// The Secret as last seen.
#[derive(Default)]
pub(super) enum Seen {
    #[default]
    NotYet,
    Missing,
    Present(Box<Secret>),
}

/// A version of the Secret, and when it was first seen.
pub(super) struct Sight {
    uid: Option<String>,
    version: Option<String>,
    at: Instant,
}

impl Sight {
    /// For how long this very version of `secret` has been seen.
    pub(super) fn time(sight: &mut Option<Self>, secret: &Secret, now: Instant) -> Duration {
        let (uid, version) = (secret.uid(), secret.resource_version());
        match sight {
            Some(sight) if sight.uid == uid && sight.version == version => now.saturating_duration_since(sight.at),
            _ => {
                *sight = Some(Self { uid, version, at: now });
                Duration::ZERO
            }
        }
    }
}

/// All of it.
pub(super) struct Memory {
    pub(super) seen: Seen,
    pub(super) sight: Option<Sight>,
    /// API servers trust something already, or other replicas serve it, and the watches had not told yet.
    pub(super) is_trusted: bool,
    pub(super) backoff: Backoff,
    pub(super) pace: Pace,
    /// Generation that all live replicas serve, and since when.
    pub(super) served: Option<(u64, Instant)>,
    /// What canaries have shown, of which state, and when.
    pub(super) asked: Option<((u64, u8), Canary, Instant)>,
    pub(super) asking: Option<BoxFuture<'static, ((u64, u8), Verdict)>>,
}

impl Memory {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: Seen::default(),
            sight: None,
            is_trusted: false,
            backoff: Backoff::default(),
            pace: Pace::new(now),
            served: None,
            asked: None,
            asking: None,
        }
    }
}

//! What exists of a set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::Partition;
use crate::api::conditions::{self, READY, STALLED};
use crate::api::labels::annotations;
use crate::controller::partition::PodsOf;
use crate::controller::settings::Settings;
use crate::store::Cached;
use crate::store::cached::Published;

/// What exists of a set.
#[derive(Clone, Debug, Default)]
pub(super) struct Existing {
    /// Its partitions by index.
    pub partitions: BTreeMap<i64, Member>,
    /// The addresses that the group's EndpointSlices publish, by family.
    pub published: BTreeMap<&'static str, Published>,
}

/// A partition that exists.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The partition.
    pub known: Arc<Cached<Partition>>,
    /// Cluster IPs of its Service; none if that does not exist yet.
    pub addresses: Vec<String>,
    /// How much longer it has to be ready before it counts, if it is ready and does not count yet.
    pub available_in: Option<Duration>,
    /// Its pods, where more than its status has to be known.
    pub pods: Option<PodsOf>,
    /// The other controller that it names, if it names one: it is left alone then, and its status is that one's.
    pub foreign: Option<String>,
    /// Why its status cannot be written, if it cannot.
    pub unwritten: Option<String>,
}

impl Existing {
    /// Whether all partitions that there are name another controller: the set is left alone then.
    pub(super) fn is_run_by_another(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|member| member.foreign.is_some())
    }

    /// Whether a partition needs help.
    pub(super) fn is_stuck(&self) -> bool {
        self.partitions.values().any(|member| member.stall().is_some())
    }
}

impl Member {
    /// Since when the partition is ready, if it is so now and for the spec that it has now, by its status.
    pub(super) fn ready_since(&self) -> Option<Timestamp> {
        let ready = self.current(READY).filter(|ready| ready.status == "True")?;
        (!self.known.deleting && self.unwritten.is_none()).then_some(ready.last_transition_time.0)
    }

    /// A condition of the partition, if it speaks of what the partition is now.
    pub(super) fn current(&self, kind: &str) -> Option<&Condition> {
        let Partition { metadata, status, .. } = &self.known.facts;
        let status = status.as_ref().filter(|status| status.observed_generation == metadata.generation)?;
        conditions::find(&status.conditions, kind)
    }

    /// Whether its status is one of this controller that is up to date.
    pub(super) fn is_reported(&self) -> bool {
        self.foreign.is_none() && self.unwritten.is_none()
    }

    /// What the partition needs help with, if it does, for the spec that it has now.
    pub(super) fn stall(&self) -> Option<Cow<'_, str>> {
        if let Some(why) = &self.unwritten {
            return Some(format!("its status is not up to date, since it cannot be written: {why}").into());
        }
        self.current(STALLED).filter(|_| self.foreign.is_none()).map(|stalled| stalled.message.as_str().into())
    }
}

/// The other controller that a partition names, if it names one.
pub(super) fn foreign(partition: &Partition, settings: &Settings) -> Option<String> {
    let named = partition.annotations().get(annotations::CONTROLLER)?;
    (!settings.is_identity(named)).then(|| named.clone())
}

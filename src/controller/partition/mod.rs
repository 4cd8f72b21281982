//! The Partition controller: one StatefulSet of Atomix nodes and what makes it reachable.

mod build;
mod claims;
mod eviction;
pub mod identity;
mod memory;
mod nodes;
mod rolling;
mod slots;
mod status;
mod telling;

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use self::build::Children;
pub(super) use self::build::{cluster_ip_service, min_ready, port};
use self::eviction::Rolling;
use self::identity::Identity;
pub use self::memory::Memory;
use self::nodes::Nodes;
pub use self::slots::Slots;
pub(super) use self::status::PODS_NOT_READY;
use self::status::Seen;
use super::context::Context;
use super::ensure::{Done, Error};
use super::objects::{Keep, controller_of};
use super::partition_set::{PARTITION_DELAY, is_paused, slice_name};
use super::trouble::Trouble;
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{DEFAULT_COUNT, Partition, PartitionStatus, Protocol};
use crate::events::Severity;
use crate::queue::Outcome;
use crate::watch::{key_of, version_of};

/// Milliseconds to wait before a deleted Service is asked for again at the address that it had: the API server tells of the deletion
/// before it gives the address free.
const FORMER_ADDRESS_RETRIES: [u64; 5] = [50, 100, 200, 400, 800];

/// How often a partition of a paused set is looked at.
const PAUSED_LOOK: Duration = Duration::from_secs(60);

/// Brings the children of one Partition to what it says, and its status to what is true.
pub async fn reconcile(context: &Context, key: ObjectKey) -> Outcome {
    let Some(known) = context.caches.partitions.get(&key) else {
        context.pacing.forget(&key);
        context.memory.forget(&key);
        eviction::give_slot_back(context, &key);
        return Outcome::Done;
    };
    let partition = &known.facts;
    let named = partition.annotations().get(annotations::CONTROLLER);
    let ours = named.is_some_and(|named| context.settings.is_identity(named));
    if known.deleting || !ours {
        return Outcome::Done;
    }
    let Applied { deeds, trouble, pods_may_go } = match Identity::of(partition) {
        Err(error) => Applied::nothing(error.into()),
        Ok(identity) => {
            let set = ObjectKey::new(identity.namespace.as_str(), identity.set.as_str());
            if context.caches.sets.get(&set).is_some_and(|set| is_paused(&set)) {
                // Whoever resumes the set asks at once; unless the pause was so short that nobody has seen it.
                return Outcome::Again(PAUSED_LOOK);
            }
            match build::children(partition, &identity, &context.settings, former_ip(context, &identity)) {
                Err(violations) => Applied::nothing(violations.into()),
                Ok(children) => {
                    let retained = claims::retained(context, partition, &children.stateful_set).await;
                    let applied = Box::pin(apply(context, children)).await;
                    telling::tell_of_claims(context, partition, &retained, &applied.deeds);
                    applied
                }
            }
        }
    };
    telling::tell(context, partition, &deeds);
    let rolling = if pods_may_go {
        eviction::roll(context, &key, partition, &gather(context, &key, partition)).await
    } else {
        Rolling::default()
    };
    let trouble = trouble.or(rolling.trouble);
    if trouble.as_ref().is_some_and(Trouble::is_silent) {
        tracing::debug!(partition = %key, "the namespace is being deleted: nothing is written");
        return Outcome::Failed;
    }
    let fleeting = trouble.as_ref().is_some_and(Trouble::is_fleeting);
    if context.pacing.hush(&key, fleeting) {
        tracing::debug!(partition = %key, ?trouble, "trying again");
        return Outcome::Failed;
    }
    if let Some(trouble) = &trouble {
        tracing::info!(partition = %key, reason = trouble.reason, message = trouble.message, "partition cannot be completed yet");
    }
    let nodes = gather(context, &key, partition);
    let missing = context.memory.miss(&key, nodes.rollout.observed && nodes.missing().is_some(), Instant::now());
    let seen =
        Seen { nodes: &nodes, missing: missing == Ok(true), rolling: rolling.wait.as_ref(), trouble: trouble.as_ref() };
    let written = write_status(context, &key, partition, seen).await;
    let mut young = None;
    if nodes.is_complete() && trouble.is_none() {
        if context.memory.complete(&key) {
            let note = format!("all {} pods are up to date and ready", nodes.size);
            context.events.publish(partition, Severity::Normal, "Rolled", note);
        }
        young = eviction::complete(context, &key, &nodes);
    }
    let changed = written == Written::Yes || deeds.iter().any(|(_, _, done)| *done != Done::Nothing);
    if changed && let Some((set, _)) = names::set_of_partition(&key) {
        context.sets.after(set, PARTITION_DELAY);
    }
    let later = if let Written::Later(wait) = written { Some(wait) } else { None };
    let failed = written == Written::Failed || trouble.is_some();
    if let Some(wait) = later.filter(|_| failed) {
        // The back-off may last far longer than the status may lag.
        context.partitions.after(key.clone(), wait);
    }
    let again = [later, rolling.again, young, missing.err()].into_iter().flatten().min();
    match again {
        _ if failed => Outcome::Failed,
        Some(wait) => Outcome::Again(wait),
        None => Outcome::Done,
    }
}

/// The pods of a partition as they are known now.
fn gather(context: &Context, key: &ObjectKey, partition: &Partition) -> Nodes {
    let spec = &partition.spec.template;
    let min_ready = Protocol::parse(&spec.protocol).map(min_ready).unwrap_or_default();
    Nodes::gather(context, key, spec.size.unwrap_or(DEFAULT_COUNT), min_ready)
}

/// The address that the partition's Service had before it was deleted: the group's endpoints still have it.
fn former_ip(context: &Context, identity: &Identity) -> Option<IpAddr> {
    let service = ObjectKey::new(identity.namespace.as_str(), identity.name.as_str());
    if context.caches.services.get(&service).is_some() {
        return None;
    }
    ["ipv4", "ipv6"].iter().find_map(|family| {
        let slice = ObjectKey::new(identity.namespace.as_str(), slice_name(&identity.set, family));
        context.caches.endpoint_slices.get(&slice)?.facts.get(&identity.name)?.parse().ok()
    })
}

type Deed = (&'static str, String, Done);

/// What came of writing the children.
struct Applied {
    deeds: Vec<Deed>,
    trouble: Option<Trouble>,
    /// Whether the StatefulSet, its files and its budget are as they should be: a pod that goes then comes back right.
    pods_may_go: bool,
}

impl Applied {
    const fn nothing(trouble: Trouble) -> Self {
        Self { deeds: Vec::new(), trouble: Some(trouble), pods_may_go: false }
    }
}

/// Writes what has to be written. The client Service goes first and beside the rest, since the API server allocates
/// addresses one at a time; the StatefulSet waits for the ConfigMap, or a new pod would start with the old files.
async fn apply(context: &Context, children: Children) -> Applied {
    let Children { config_map, service, headless_service, stateful_set, disruption_budget } = children;
    let (writer, caches) = (&context.writer, &*context.caches);
    let nodes = async {
        let files = writer.ensure(&config_map, &caches.config_maps).await;
        match files {
            Ok(files) => (Ok(files), Some(writer.ensure(&stateful_set, &caches.stateful_sets).await)),
            Err(error) => (Err(error), None),
        }
    };
    let budget = async {
        match &disruption_budget {
            Some(budget) => Some(writer.ensure(budget, &caches.disruption_budgets).await),
            None => remove_budget(context, &stateful_set).await,
        }
    };
    let client_service = async {
        let mut service = service;
        let asked = service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.is_some());
        let mut result = writer.ensure(&service, &caches.services).await;
        for wait in FORMER_ADDRESS_RETRIES {
            if !asked || !matches!(result, Err(Error::Refused { .. })) {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(wait)).await;
            result = writer.ensure(&service, &caches.services).await;
        }
        match result {
            // Somebody else has the former address by now.
            Err(Error::Refused { .. }) if asked => {
                service.spec.iter_mut().for_each(|spec| spec.cluster_ip = None);
                writer.ensure(&service, &caches.services).await
            }
            result => result,
        }
    };
    let headless = writer.ensure(&headless_service, &caches.services);
    let (client_service, headless, (files, pods), budget) = tokio::join!(client_service, headless, nodes, budget);
    let pods_may_go = matches!(pods, Some(Ok(_))) && !matches!(budget, Some(Err(_)));
    let results = [
        ("Service", stateful_set.name_any(), client_service.map(Some)),
        ("Service", headless_service.name_any(), headless.map(Some)),
        ("ConfigMap", config_map.name_any(), files.map(Some)),
        ("StatefulSet", stateful_set.name_any(), pods.transpose()),
        ("PodDisruptionBudget", names::disruption_budget(&stateful_set.name_any()), budget.transpose()),
    ];
    let (mut deeds, mut troubles): (Vec<Deed>, _) = (Vec::new(), Vec::new());
    for (kind, name, result) in results {
        match result {
            Ok(done) => deeds.extend(done.map(|done| (kind, name, done))),
            Err(error) => troubles.push(Trouble::from(error)),
        }
    }
    Applied { deeds, trouble: Trouble::first(troubles), pods_may_go }
}

/// A partition that has shrunk to one pod has no budget any more.
async fn remove_budget(context: &Context, pods: &StatefulSet) -> Option<Result<Done, Error>> {
    let key = ObjectKey::new(pods.namespace().unwrap_or_default(), names::disruption_budget(&pods.name_any()));
    let owner = controller_of(&pods.metadata)?;
    let budgets = &context.caches.disruption_budgets;
    let removed = context.writer.remove::<PodDisruptionBudget>(&key, &owner.uid, budgets).await;
    removed.map(|removed| removed.then_some(Done::Nothing)).transpose()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    No,
    Yes,
    Later(Duration),
    Failed,
}

async fn write_status(context: &Context, key: &ObjectKey, partition: &Partition, seen: Seen<'_>) -> Written {
    let image = Protocol::parse(&partition.spec.template.protocol)
        .map(|protocol| context.settings.image(&partition.spec.template, protocol).to_owned());
    let before = PartitionStatus { election: None, ..partition.status.clone().unwrap_or_default() };
    let status = status::status(partition, seen, image, &Time(Timestamp::now()));
    if status == before {
        return Written::No;
    }
    if let Err(wait) = context.pacing.admit(key, status::is_urgent(&before, &status), Instant::now()) {
        return Written::Later(wait);
    }
    match context.patch_status(partition, &status).await {
        Ok(Some(written)) => {
            if let Some((reason, message)) = status::warning(&before, &status) {
                context.events.publish(partition, Severity::Warning, reason, message);
            }
            context.pacing.written(key);
            let (key, version) = (key_of(&written), version_of(&written));
            context.caches.partitions.observe(key, version, written.known());
            Written::Yes
        }
        Ok(None) => Written::Later(context.pacing.refused(key)),
        Err(error) => {
            tracing::warn!(partition = %key, %error, "status not written, trying again");
            Written::Failed
        }
    }
}

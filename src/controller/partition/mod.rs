//! The Partition controller: one StatefulSet of Atomix nodes and what makes it reachable.

mod budgets;
mod build;
mod claims;
mod creation_failures;
mod eviction;
mod former_address;
pub mod identity;
mod judged;
mod leftovers;
mod memory;
mod nodes;
mod obstacle;
mod permits;
mod rolling;
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

pub(super) use self::build::{APP_PROTOCOL, cluster_ip_service, initial_ports, min_ready, port};
use self::build::{Children, Network};
pub use self::creation_failures::CreationFailures;
use self::eviction::Rolling;
use self::identity::Identity;
pub use self::judged::Judged;
use self::judged::Versions;
pub use self::memory::Memory;
use self::nodes::Nodes;
pub use self::nodes::PodsOf;
use self::obstacle::Obstacle;
pub use self::permits::Permits;
pub(super) use self::status::PODS_NOT_READY;
use self::status::Seen;
use super::context::{Context, Written};
use super::desired::Desired;
use super::ensure::Done;
use super::objects::{Child, controller_of};
use super::partition_set::{PARTITION_DELAY, is_paused, slice_name};
use super::refusals::Refusal;
use super::trouble::Trouble;
use super::write_error::Error;
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, PartitionStatus, Protocol};
use crate::events::Severity;
use crate::queue::Outcome;
use crate::store::watch::{key_of, version_of};

/// How often a partition of a paused set is looked at.
const PAUSED_LOOK: Duration = Duration::from_secs(60);

/// Brings the children of one Partition to what it says, and its status to what is true.
pub async fn reconcile(context: &Context, key: ObjectKey) -> Outcome {
    context.permits.leave(&key);
    let outcome = Box::pin(reconcile_children(context, &key)).await;
    // Whatever has become of this partition, others may wait for it.
    if let Some((set, _)) = names::set_of_partition(&key) {
        context.permits.wake(context, &set);
    }
    outcome
}

async fn reconcile_children(context: &Context, key: &ObjectKey) -> Outcome {
    let Some(known) = context.caches.partitions.get(key) else {
        context.pacing.forget(key);
        context.memory.forget(key);
        context.ready_pods.forget(key);
        context.removed.forget(key);
        context.judged.forget(key);
        context.refused_partitions.record(key, None, &context.partitions);
        return Outcome::Done;
    };
    let partition = &known.facts;
    let named = partition.annotations().get(annotations::CONTROLLER);
    let ours = named.is_some_and(|named| context.settings.is_identity(named));
    if let (false, Some((set, _))) = (ours, names::set_of_partition(key)) {
        // Its status is not this controller's to write, and its set waits for its pods.
        context.sets.after(set, PARTITION_DELAY);
    }
    if known.deleting || !ours || context.removed.contains(key, &known.uid) {
        return Outcome::Done;
    }
    let Applied { deeds, trouble, pods_may_go } = match Identity::of(partition) {
        Err(error) => Applied::nothing(error.into()),
        Ok(identity) => {
            let set = ObjectKey::new(identity.namespace.as_str(), identity.set.as_str());
            let set = context.caches.sets.get(&set);
            if set.as_ref().is_some_and(|set| is_paused(set)) {
                // Whoever resumes the set asks at once; unless the pause was so short that nobody has seen it.
                return Outcome::Again(PAUSED_LOOK);
            }
            // As they are before anything is written: what changes meanwhile is judged anew.
            let versions = Versions::of(&context.caches, key, &known);
            if versions.as_ref().is_some_and(|versions| context.judged.contains(key, versions)) {
                Applied::RIGHT
            } else if telling::was_right(partition)
                && leftovers::lacks_object(&context.caches, key, partition)
                && leftovers::is_gone(context, key, &known.uid).await
            {
                // The watch is about to show it.
                return Outcome::Done;
            } else {
                let applied = build_and_apply(context, partition, &identity, set.as_deref()).await;
                if let Some(versions) = versions.filter(|_| applied.is_right()) {
                    context.judged.record(key, versions);
                }
                applied
            }
        }
    };
    telling::tell(context, partition, &deeds);
    let rolling = if pods_may_go {
        eviction::roll(context, key, partition, &gather(context, key, partition)).await
    } else {
        Rolling::default()
    };
    let trouble = trouble.or(rolling.trouble);
    if trouble.as_ref().is_some_and(Trouble::is_silent) {
        tracing::debug!(partition = %key, "the namespace is being deleted: nothing is written");
        return Outcome::Failed;
    }
    let fleeting = trouble.as_ref().is_some_and(Trouble::is_fleeting);
    if context.pacing.hush(key, fleeting) {
        tracing::debug!(partition = %key, ?trouble, "trying again");
        return Outcome::Failed;
    }
    let shown = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if let Some(trouble) = trouble.as_ref().filter(|trouble| !trouble.is_shown(shown)) {
        tracing::info!(partition = %key, reason = trouble.reason, why = trouble.message, "partition cannot be completed yet");
    }
    let nodes = gather(context, key, partition);
    let (obstacle, look_again) = obstacle_of(context, key, &nodes).await;
    let seen =
        Seen { nodes: &nodes, obstacle: obstacle.as_ref(), rolling: rolling.wait.as_ref(), trouble: trouble.as_ref() };
    let written = write_status(context, key, partition, seen).await;
    let unwritten = context.unwritten.refusal(&known.uid);
    let refusal = trouble.as_ref().filter(|trouble| trouble.unseen);
    let refusal = refusal.map(|trouble| Refusal { reason: trouble.reason, writes: 1 }).or(unwritten);
    let refused = context.refused_partitions.record(key, refusal, &context.partitions);
    let mut young = None;
    if nodes.is_complete() && trouble.is_none() {
        if context.memory.complete(key) {
            let note = format!("all {} pods are up to date and ready", nodes.size);
            context.events.publish(partition, Severity::Normal, "Rolled", note);
        }
        young = eviction::counts_in(context, key, &nodes);
    }
    // The set says why a status cannot be written.
    let changed =
        written == Written::Yes || unwritten.is_some() || deeds.iter().any(|(_, _, done)| *done != Done::Nothing);
    if changed && let Some((set, _)) = names::set_of_partition(key) {
        context.sets.after(set, PARTITION_DELAY);
    }
    let failed = written == Written::Failed || trouble.is_some();
    if let Some(wait) = written.later().filter(|_| failed) {
        // The back-off may last far longer than the status may lag.
        context.partitions.after(key.clone(), wait);
    }
    let try_again = trouble.as_ref().and_then(|trouble| trouble.again);
    let again = [written.later(), rolling.again, young, look_again, try_again].into_iter().flatten().min();
    match again {
        _ if written == Written::Failed && unwritten.is_none() => Outcome::Failed,
        _ if refused.is_some() => refused.map_or(Outcome::Failed, Outcome::Refused),
        _ if failed && try_again.is_none() => Outcome::Failed,
        Some(wait) => Outcome::Again(wait),
        None => Outcome::Done,
    }
}

/// Writes what the objects of a partition lack of what they should be.
async fn build_and_apply(
    context: &Context,
    partition: &Partition,
    identity: &Identity,
    set: Option<&PartitionSet>,
) -> Applied {
    let network = network(context, identity);
    match build::children(partition, identity, &context.settings, &network, set) {
        Err(violations) => Applied::nothing(violations.into()),
        Ok(children) => {
            let retained = claims::retained(context, partition, &children.stateful_set.object).await;
            let applied = Box::pin(apply(context, children, &network.former_addresses)).await;
            telling::tell_of_claims(context, partition, &retained, &applied.deeds);
            applied
        }
    }
}

/// The pods of a partition as they are known now.
fn gather(context: &Context, key: &ObjectKey, partition: &Partition) -> Nodes {
    let spec = &partition.spec.template;
    let min_ready = Protocol::parse(&spec.protocol).map(min_ready).unwrap_or_default();
    Nodes::gather(context, key, spec.size.unwrap_or(DEFAULT_COUNT), min_ready)
}

/// What keeps a partition from having all its pods, if it has lasted for as long as it may; and when to look again.
async fn obstacle_of(context: &Context, key: &ObjectKey, nodes: &Nodes) -> (Option<Obstacle>, Option<Duration>) {
    let mut obstacle = obstacle::first(nodes, &key.name, Timestamp::now());
    if let Some(left) = context.memory.impede(key, obstacle.as_ref(), Instant::now()) {
        return (None, Some(left));
    }
    let Some(mut missing) = obstacle.take_if(|obstacle| obstacle.is_missing()) else { return (obstacle, None) };
    let uid = context.caches.stateful_sets.get(key).map(|known| known.uid.clone()).unwrap_or_default();
    let mut words = context.creation_failures.of(context, &key.namespace, &uid).await;
    if let (None, Some(ordinal)) = (&words, nodes.missing()) {
        words = creation_failures::name_taken(context, &key.namespace, &format!("{}-{ordinal}", key.name), &uid).await;
    }
    if let Some(words) = words {
        missing.message = words;
    }
    (Some(missing), Some(creation_failures::READ_AGAIN))
}

/// What a set needs to know of the pods of its partition `key`.
pub(super) fn pods_of(context: &Context, key: &ObjectKey, partition: &Partition) -> PodsOf {
    PodsOf::from(&gather(context, key, partition))
}

/// Where the Services of a partition are to be. The group's endpoints still have the addresses that its client Service
/// had before it was deleted.
fn network(context: &Context, identity: &Identity) -> Network {
    let caches = &context.caches;
    let key = |name: &str| ObjectKey::new(identity.namespace.as_str(), name);
    let addresses = |service: &ObjectKey| -> Vec<IpAddr> {
        let service = caches.services.get(service).map(|service| service.facts.clone()).unwrap_or_default();
        service.iter().filter_map(|address| address.parse().ok()).collect()
    };
    if !addresses(&key(&identity.name)).is_empty() {
        return Network::default();
    }
    let published = |family: &str| -> Option<IpAddr> {
        let slice = caches.endpoint_slices.get(&key(&slice_name(&identity.set, family)))?;
        slice.facts.get(&identity.name)?.parse().ok()
    };
    let count = caches.sets.get(&key(&identity.set)).and_then(|set| set.spec.partitions).unwrap_or(DEFAULT_COUNT);
    let siblings = (1..=count).filter(|index| *index != identity.index);
    let siblings = siblings.map(|index| addresses(&key(&names::partition(&identity.set, index))));
    let sibling = siblings.into_iter().find(|addresses| !addresses.is_empty()).unwrap_or_default();
    let mut former: Vec<IpAddr> = ["ipv4", "ipv6"].into_iter().filter_map(published).collect();
    if sibling.first().is_some_and(IpAddr::is_ipv6) {
        former.reverse();
    }
    Network { former_addresses: former, sibling }
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
    /// All objects were right.
    const RIGHT: Self = Self { deeds: Vec::new(), trouble: None, pods_may_go: true };

    /// Whether all objects were right already.
    fn is_right(&self) -> bool {
        self.trouble.is_none() && self.pods_may_go && self.deeds.iter().all(|(_, _, done)| *done == Done::Nothing)
    }

    const fn nothing(trouble: Trouble) -> Self {
        Self { deeds: Vec::new(), trouble: Some(trouble), pods_may_go: false }
    }
}

/// Writes what has to be written. The client Service goes first and beside the rest, since the API server allocates
/// addresses one at a time; the StatefulSet waits for the ConfigMap, or a new pod would start with the old files.
async fn apply(context: &Context, children: Children, former_addresses: &[IpAddr]) -> Applied {
    let Children { config_map, service, headless_service, stateful_set, disruption_budget } = children;
    let (writer, caches) = (&context.writer, &*context.caches);
    let nodes = async {
        let files = writer.ensure(&config_map, &caches.config_maps);
        let names = writer.ensure(&headless_service, &caches.services);
        let (files, names) = tokio::join!(files, names);
        let pods = match (&files, &names) {
            (Ok(_), Ok(_)) => Some(writer.ensure(&stateful_set, &caches.stateful_sets).await),
            // It is not written yet. That somebody else has the name can be told all the same.
            (Err(Error::Collision { .. }), _) | (_, Err(Error::Collision { .. })) => {
                writer.collision(&stateful_set).await.map(Err)
            }
            _ => None,
        };
        (files, names, pods)
    };
    let budget = async {
        match &disruption_budget {
            Some(budget) => Some(writer.ensure(budget, &caches.disruption_budgets).await),
            None => remove_budget(context, &stateful_set).await,
        }
    };
    let client_service = former_address::ensure(context, service, former_addresses);
    let (client_service, (files, headless, pods), budget) = tokio::join!(client_service, nodes, budget);
    let name = stateful_set.object.name_any();
    let pods_may_go = matches!(pods, Some(Ok(_))) && !matches!(budget, Some(Err(_)));
    let results = [
        ("Service", name.clone(), client_service.map(Some)),
        ("Service", headless_service.object.name_any(), headless.map(Some)),
        ("ConfigMap", config_map.object.name_any(), files.map(Some)),
        ("PodDisruptionBudget", names::disruption_budget(&name), budget.transpose()),
        ("StatefulSet", name, pods.transpose()),
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
async fn remove_budget(context: &Context, pods: &Desired<StatefulSet>) -> Option<Result<Done, Error>> {
    let pods = &pods.object;
    let key = ObjectKey::new(pods.namespace().unwrap_or_default(), names::disruption_budget(&pods.name_any()));
    let owner = controller_of(&pods.metadata)?;
    let budgets = &context.caches.disruption_budgets;
    let removed = context.writer.remove::<PodDisruptionBudget>(&key, &owner.uid, budgets).await;
    removed.map(|removed| removed.then_some(Done::Nothing)).transpose()
}

/// The image that the pods of a partition are told to run: that of the StatefulSet, if it is there.
fn image(context: &Context, partition: &Partition, nodes: &Nodes) -> Option<String> {
    if !nodes.rollout.image.is_empty() {
        return Some(nodes.rollout.image.clone());
    }
    let spec = &partition.spec.template;
    Protocol::parse(&spec.protocol).map(|protocol| context.settings.image(spec, protocol).to_owned())
}

async fn write_status(context: &Context, key: &ObjectKey, partition: &Partition, seen: Seen<'_>) -> Written {
    let image = image(context, partition, seen.nodes);
    let before = PartitionStatus { election: None, ..partition.status.clone().unwrap_or_default() };
    let status = status::status(partition, seen, image, &Time(Timestamp::now()));
    if status == before {
        let was_unwritten = context.unwritten.record(partition.metadata.uid.as_deref().unwrap_or_default(), None);
        return if was_unwritten { Written::Yes } else { Written::No };
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
            context.pacing.refused(key);
            Written::Failed
        }
    }
}

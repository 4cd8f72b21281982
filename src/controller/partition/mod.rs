//! The Partition controller: one StatefulSet of Atomix nodes and what makes it reachable.

mod build;
mod claims;
pub mod identity;
mod status;

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use self::build::Children;
pub(super) use self::build::{cluster_ip_service, port};
use self::identity::Identity;
use super::Context;
use super::ensure::{Done, Error};
use super::objects::{Keep, controller_of};
use super::partition_set::{PARTITION_DELAY, is_paused, slice_name};
use super::trouble::Trouble;
use crate::api::conditions::{self, STALLED};
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionStatus, Protocol};
use crate::events::Severity;
use crate::queue::Outcome;
use crate::watch::{key_of, version_of};

/// Milliseconds to wait before a deleted Service is asked for again at the address that it had: the API server tells of the deletion
/// before it gives the address free.
const FORMER_ADDRESS_RETRIES: [u64; 5] = [50, 100, 200, 400, 800];

/// Brings the children of one Partition to what it says, and its status to what is true.
pub async fn reconcile(context: &Context, key: ObjectKey) -> Outcome {
    let Some(known) = context.caches.partitions.get(&key) else {
        context.pacing.forget(&key);
        return Outcome::Done;
    };
    let partition = &known.facts;
    let ours = partition.annotations().get(annotations::CONTROLLER) == Some(&context.settings.identity());
    if known.deleting || !ours {
        return Outcome::Done;
    }
    let (done, trouble) = match Identity::of(partition) {
        Err(error) => (Vec::new(), Some(Trouble::from(error))),
        Ok(identity) => {
            let set = ObjectKey::new(identity.namespace.as_str(), identity.set.as_str());
            if context.caches.sets.get(&set).is_some_and(|set| is_paused(&set)) {
                return Outcome::Done;
            }
            match build::children(partition, &identity, &context.settings, former_ip(context, &identity)) {
                Err(violations) => (Vec::new(), Some(Trouble::from(violations))),
                Ok(children) => {
                    let retained = claims::retained(context, &children.stateful_set).await;
                    let outcome = Box::pin(apply(context, children)).await;
                    tell_of_claims(context, partition, &retained);
                    outcome
                }
            }
        }
    };
    tell(context, partition, &done);
    if let Some(trouble) = &trouble {
        tracing::info!(partition = %key, reason = trouble.reason, message = trouble.message, "partition cannot be completed yet");
    }
    let written = write_status(context, &key, partition, trouble.as_ref()).await;
    let changed = written == Written::Yes || done.iter().any(|(_, _, done)| *done != Done::Nothing);
    if changed && let Some((set, _)) = names::split_partition(&key.name) {
        context.sets.after(ObjectKey::new(key.namespace.as_str(), set), PARTITION_DELAY);
    }
    match written {
        Written::Failed => Outcome::Failed,
        _ if trouble.is_some() => Outcome::Failed,
        Written::Later(wait) => Outcome::Again(wait),
        Written::Yes | Written::No => Outcome::Done,
    }
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

/// Writes what has to be written. The client Service goes first and beside the rest, since the API server allocates
/// addresses one at a time; the StatefulSet waits for the ConfigMap, or a new pod would start with the old files.
async fn apply(context: &Context, children: Children) -> (Vec<Deed>, Option<Trouble>) {
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
    let results = [
        ("Service", stateful_set.name_any(), client_service.map(Some)),
        ("Service", headless_service.name_any(), headless.map(Some)),
        ("ConfigMap", config_map.name_any(), files.map(Some)),
        ("StatefulSet", stateful_set.name_any(), pods.transpose()),
        ("PodDisruptionBudget", names::disruption_budget(&stateful_set.name_any()), budget.transpose()),
    ];
    let (mut deeds, mut troubles) = (Vec::new(), Vec::new());
    for (kind, name, result) in results {
        match result {
            Ok(done) => deeds.extend(done.map(|done| (kind, name, done))),
            Err(error) => troubles.push(Trouble::from(error)),
        }
    }
    (deeds, Trouble::first(troubles))
}

/// A partition that has shrunk to one pod has no budget any more.
async fn remove_budget(context: &Context, pods: &StatefulSet) -> Option<Result<Done, Error>> {
    let key = ObjectKey::new(pods.namespace().unwrap_or_default(), names::disruption_budget(&pods.name_any()));
    let owner = controller_of(&pods.metadata)?;
    let budgets = &context.caches.disruption_budgets;
    let removed = context.writer.remove::<PodDisruptionBudget>(&key, &owner.uid, budgets).await;
    removed.map(|removed| removed.then_some(Done::Nothing)).transpose()
}

/// Tells people that a new partition starts with the data of a former one.
fn tell_of_claims(context: &Context, partition: &Partition, retained: &[String]) {
    if !retained.is_empty() {
        let note = format!("claims that an earlier partition has left are used again: {}", retained.join(", "));
        context.events.publish(partition, Severity::Warning, "RetainedClaims", note);
    }
}

/// Tells people of what was put right. Making the children of a new partition is no news.
fn tell(context: &Context, partition: &Partition, deeds: &[Deed]) {
    let known_before =
        partition.status.as_ref().is_some_and(|status| status.observed_generation == partition.metadata.generation);
    for (kind, name, done) in deeds.iter().filter(|_| known_before) {
        let (reason, verb) = match done {
            Done::Nothing => continue,
            Done::Created => ("Recreated", "was missing and has been created again"),
            Done::Replaced => ("Restored", "differed from what the Partition says and has been put right"),
        };
        tracing::info!(partition = %key_of(partition), kind, name, reason, "child put right");
        context.events.publish(partition, Severity::Normal, reason, format!("{kind} {name} {verb}"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    No,
    Yes,
    Later(Duration),
    Failed,
}

async fn write_status(context: &Context, key: &ObjectKey, partition: &Partition, trouble: Option<&Trouble>) -> Written {
    let counts = context.caches.stateful_sets.get(key).map(|known| known.facts);
    let image = Protocol::parse(&partition.spec.template.protocol)
        .map(|protocol| context.settings.image(&partition.spec.template, protocol).to_owned());
    let before = partition.status.clone().unwrap_or_default();
    let now = Time(Timestamp::now());
    let status = status::status(partition, counts.unwrap_or_default(), image, trouble, &now);
    if status == before {
        return Written::No;
    }
    if let Err(wait) = context.pacing.admit(key, status::is_urgent(&before, &status), Instant::now()) {
        return Written::Later(wait);
    }
    announce(context, partition, &before, &status);
    match context.patch_status(partition, &status).await {
        Ok(Some(written)) => {
            context.caches.partitions.observe(key_of(&written), version_of(&written), written.known());
            Written::Yes
        }
        Ok(None) => Written::No,
        Err(error) => {
            tracing::warn!(partition = %key, %error, "status not written, trying again");
            Written::Failed
        }
    }
}

fn announce(context: &Context, partition: &Partition, before: &PartitionStatus, status: &PartitionStatus) {
    let stalled = conditions::find(&status.conditions, STALLED);
    let was = conditions::find(&before.conditions, STALLED);
    if let Some(stalled) = stalled
        && was.is_none_or(|was| was.message != stalled.message)
    {
        context.events.publish(partition, Severity::Warning, &stalled.reason, stalled.message.clone());
    }
}

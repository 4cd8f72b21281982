//! The webhooks' certificates as the controller makes them itself: what its tasks are, and how they hear of each other.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::watch;

use super::authority::Authority;
use super::bundle::{self, Known};
use super::live::{self, Configuration};
use super::news::News;
use super::resolver::Renewal;
use super::secret;
use super::{Lead, Options, Parts};
use crate::runtime::readiness::Counts;

/// Starts to keep an authority and certificates of it. Tells `serving` of which generation's authority the one is that
/// is served.
pub(super) fn start(
    options: Options,
    parts: &Parts<'_>,
    lead: watch::Receiver<Option<Lead>>,
    serving: watch::Sender<Option<u64>>,
) {
    let Options { client, names, periods, canaries_in, peers, events, metrics, .. } = options;
    let news = News::new(events, &names);
    let (authority, known) = watch::channel(None);
    let renewal = Renewal {
        resolver: Arc::clone(parts.resolver),
        authority: known.clone(),
        names: names.clone(),
        periods,
        serving,
        metrics: Arc::clone(&metrics),
        told: None,
    };
    let mut keeper = secret::Keeper {
        client,
        names,
        periods,
        canaries_in,
        authority,
        lead,
        bundles: Default::default(),
        peers,
        news,
        metrics,
    };
    keeper.bundles = [
        keep_bundles::<MutatingWebhookConfiguration>(&keeper, &known, parts),
        keep_bundles::<ValidatingWebhookConfiguration>(&keeper, &known, parts),
    ];
    parts.tasks.spawn("webhook certificate", renewal.run(parts.tasks.stopping().clone()));
    parts.tasks.spawn("certificate authority", keeper.run(parts.tasks.stopping().clone()));
}

/// Starts to keep the bundles of one webhook configuration.
fn keep_bundles<K: Configuration>(
    with: &secret::Keeper,
    authority: &watch::Receiver<Option<Arc<Authority>>>,
    parts: &Parts<'_>,
) -> Arc<Known> {
    let known = Arc::new(Known::default());
    let keeper = bundle::Keeper::<K> {
        configurations: Api::all_with(with.client.clone(), &()),
        secrets: Api::<Secret>::namespaced(with.client.clone(), with.names.namespace()),
        names: with.names.clone(),
        authority: authority.clone(),
        known: Arc::clone(&known),
        news: with.news.clone(),
        metrics: Arc::clone(&with.metrics),
    };
    parts.tasks.spawn(K::TASK, keeper.run(parts.tasks.stopping().clone()));
    let (resolver, name, seen) = (Arc::clone(parts.resolver), with.names.server_name(), Arc::clone(&known));
    parts.readiness.check(live::check_name::<K>(), Counts::UntilReady, move || {
        live::trusted(&seen.live.load(), &resolver.chain(), &name, SystemTime::now())
    });
    known
}

//! The webhooks' certificates as the controller makes them itself: its tasks, and the channels between them.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Api;
use tokio::sync::watch;

use super::authority::Authority;
use super::bundle::{self, Known};
use super::live::{self, Configuration};
use super::news::News;
use super::resolver::Renewal;
use super::secret;
use super::{Lead, Parts};
use crate::replicas::Presence;
use crate::runtime::readiness::Counts;

/// Starts to keep a CA, serving certificates of it, and the API server's trust in it.
pub(super) fn start(parts: &Parts<'_>, presence: &Arc<Presence>, lead: watch::Receiver<Option<Lead>>) {
    let news = News::new(parts.events.clone(), parts.names);
    let (authority, known) = watch::channel(None);
    let bundles = [
        keep_bundles::<MutatingWebhookConfiguration>(parts, &news, &known),
        keep_bundles::<ValidatingWebhookConfiguration>(parts, &news, &known),
    ];
    let renewal = Renewal {
        resolver: Arc::clone(parts.resolver),
        authority: known,
        names: parts.names.clone(),
        periods: parts.periods,
        metrics: Arc::clone(parts.metrics),
        last_failure: None,
    };
    let keeper = secret::Keeper {
        client: parts.client.clone(),
        names: parts.names.clone(),
        periods: parts.periods,
        authority,
        lead,
        bundles,
        presence: Arc::clone(presence),
        news,
        metrics: Arc::clone(parts.metrics),
    };
    parts.tasks.spawn("webhook certificate", renewal.run(parts.tasks.stopping().clone()));
    parts.tasks.spawn("certificate authority", keeper.run(parts.tasks.stopping().clone()));
}

/// Starts to keep the bundles of one webhook configuration.
fn keep_bundles<K: Configuration>(
    parts: &Parts<'_>,
    news: &News,
    authority: &watch::Receiver<Option<Arc<Authority>>>,
) -> Arc<Known> {
    let known = Arc::new(Known::default());
    let keeper = bundle::Keeper::<K> {
        configurations: Api::all_with(parts.client.clone(), &()),
        secrets: Api::namespaced(parts.client.clone(), parts.names.namespace()),
        names: parts.names.clone(),
        authority: authority.clone(),
        known: Arc::clone(&known),
        news: news.clone(),
        metrics: Arc::clone(parts.metrics),
    };
    parts.tasks.spawn(K::TASK, keeper.run(parts.tasks.stopping().clone()));
    let (resolver, name, seen) = (Arc::clone(parts.resolver), parts.names.server_name(), Arc::clone(&known));
    parts.readiness.check(live::check_name::<K>(), Counts::UntilReady, move || {
        live::trusted(&seen.live.load(), &resolver.chain(), &name, SystemTime::now())
    });
    known
}

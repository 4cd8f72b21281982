//! The webhooks' certificates as the controller makes them itself.
//!
//! Three kinds of task share the CA through one channel: `keeper` keeps the CA in memory and in its Secret the same,
//! `leaf_renewal` makes this process's serving certificate with it, and `bundle`, once for each webhook configuration, keeps
//! what the API server trusts to it. What to do about the Secret is decided in `rotation`, the states of a rotation are
//! in `authority`, their form in the Secret in `stored`, and certificates are made in `issue`: all functions of values.

pub mod authority;
mod bundle;
mod issue;
mod keeper;
pub(super) mod leaf_renewal;
mod managers;
mod periods;
mod reports;
mod rotation;
mod secret_events;
pub mod stored;

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use tokio::sync::watch;
use tokio::time::Instant;

use self::authority::Authority;
use self::keeper::Keeper;
use self::leaf_renewal::Renewal;
use self::secret_events::SecretEvents;
use super::context::Context;
use super::trust::{self, Configuration, Trust};
use crate::leader::Fence;
use crate::replicas::Presence;
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;

pub use periods::Periods;

/// That this replica leads.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub(super) fence: Fence,
    pub(super) since: Instant,
}

/// Starts to keep a CA, serving certificates of it, and the API server's trust in it.
pub(super) fn start(
    context: &Arc<Context>,
    runtime: &Runtime,
    presence: &Arc<Presence>,
    lead: watch::Receiver<Option<Lead>>,
) {
    let events = SecretEvents::new(context.events.clone(), &context.names);
    let (authority, known) = watch::channel(None);
    let bundles = [
        keep_bundles::<MutatingWebhookConfiguration>(context, runtime, &events, &known),
        keep_bundles::<ValidatingWebhookConfiguration>(context, runtime, &events, &known),
    ];
    let renewal = Renewal::new(Arc::clone(context), known);
    let keeper = Keeper::new(Arc::clone(context), authority, lead, bundles, Arc::clone(presence), events);
    let tasks = runtime.tasks(Stage::Serve);
    tasks.spawn_endless("webhook certificate", renewal.run());
    tasks.spawn_endless("certificate authority", keeper.run());
}

/// Starts to keep the bundles of one webhook configuration.
fn keep_bundles<K: Configuration>(
    context: &Arc<Context>,
    runtime: &Runtime,
    events: &SecretEvents,
    authority: &watch::Receiver<Option<Arc<Authority>>>,
) -> watch::Receiver<Trust> {
    trust::start::<K, _>(context, runtime, |trust| {
        bundle::Keeper::<K>::new(Arc::clone(context), authority.clone(), trust, events.clone()).run()
    })
}

#[cfg(test)]
mod model_tests;

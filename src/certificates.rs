//! The webhooks' certificates of this replica among those of the others.

use std::sync::Arc;

use crate::cli::Run;
use crate::controller::FIELD_MANAGER;
use crate::events::Events;
use crate::replicas::Presence;
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::tls::{self, Names, Peers, SERVED_CA, Tls, TlsMetrics};

/// Starts to keep the certificates until `tasks` are to stop.
///
/// # Errors
/// [`tls::Error`] if TLS cannot be configured.
pub fn start(
    options: &Run,
    runtime: &Runtime,
    presence: &Arc<Presence>,
    metrics: &Arc<TlsMetrics>,
) -> Result<Tls, tls::Error> {
    let (client, tasks) = (&runtime.client, runtime.tasks(Stage::Serve));
    let recorder = (tasks.supervisor(), "event recorder of certificates");
    let certificates = tls::Options {
        mode: options.webhook.certificate.clone(),
        clients: options.webhook.clients(),
        client: client.clone(),
        names: Names::new(&options.controller_name, &options.controller_namespace, &options.cluster_domain),
        periods: options.certificates.periods(),
        canaries_in: options.canary_namespaces(),
        peers: Arc::clone(presence) as Arc<dyn Peers>,
        events: Events::start(client.clone(), FIELD_MANAGER, options.pod_name.clone(), recorder),
        metrics: Arc::clone(metrics),
    };
    let tls = tls::start(certificates, &runtime.readiness, tasks)?;
    // It ends where certificates are given: then there is nothing to announce.
    tasks.spawn_finite("announcement of the CA", announce(tls.clone(), Arc::clone(presence)));
    Ok(tls)
}

impl Peers for Presence {
    fn all_serve(&self, generation: u64) -> bool {
        self.all_say(SERVED_CA, |said| said.as_u64().is_some_and(|served| served >= generation))
    }
}

/// Tells the other replicas which CA has signed what this one serves.
async fn announce(tls: Tls, presence: Arc<Presence>) {
    let mut serving = tls.serving();
    loop {
        let generation = *serving.borrow_and_update();
        if let Some(generation) = generation {
            presence.say(SERVED_CA, generation.into());
        }
        if serving.changed().await.is_err() {
            return;
        }
    }
}

//! What the API server trusts: the CA bundles of the webhook configurations.

use std::fmt::Debug;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::BoxStream;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::ListParams;
use kube::{Api, Resource};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::context::Context;
use super::verify;
use crate::runtime::Runtime;
use crate::runtime::readiness::Counts;
use crate::runtime::shutdown::Stage;
use crate::watch_object::watch_object;

/// A webhook configuration of either kind.
pub(super) trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// `mutating` or `validating`, for logs and metrics.
    const ROLE: &'static str;
    /// Name of the task that keeps or watches its bundles.
    const TASK: &'static str;

    /// Names and client configurations of its webhooks.
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for MutatingWebhookConfiguration {
    const ROLE: &'static str = "mutating";
    const TASK: &'static str = "mutating webhook bundles";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    const ROLE: &'static str = "validating";
    const TASK: &'static str = "validating webhook bundles";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

/// The CA bundles of a webhook configuration, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Bundles {
    /// The configuration was not seen yet.
    #[default]
    Unknown,
    /// There is no such configuration.
    Missing,
    /// Name and CA bundle of each webhook.
    Found(Vec<(String, Vec<u8>)>),
}

impl Bundles {
    pub(super) fn of<K: Configuration>(configuration: Option<&K>) -> Self {
        let Some(configuration) = configuration else { return Self::Missing };
        let bundle = |config: &WebhookClientConfig| config.ca_bundle.clone().map(|bundle| bundle.0).unwrap_or_default();
        let webhooks = configuration.webhooks().into_iter();
        Self::Found(webhooks.map(|(name, config)| (name.to_owned(), bundle(config))).collect())
    }

    /// Whether API servers may trust anything by them.
    pub(super) fn may_trust(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Missing => false,
            Self::Found(bundles) => bundles.iter().any(|(_, bundle)| !bundle.is_empty()),
        }
    }

    /// Whether every bundle that is not empty has `authority`.
    pub(super) fn have(&self, authority: &CertificateDer<'_>) -> bool {
        let has_it = |bundle: &[u8]| {
            CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).any(|certificate| certificate == *authority)
        };
        match self {
            Self::Unknown => false,
            Self::Missing => true,
            Self::Found(bundles) => bundles.iter().all(|(_, bundle)| bundle.is_empty() || has_it(bundle)),
        }
    }

    /// Whether all of them are `desired`.
    pub(super) fn are(&self, desired: &str) -> bool {
        matches!(self, Self::Found(bundles) if bundles.iter().all(|(_, bundle)| bundle == desired.as_bytes()))
    }

    /// Whether an API server that goes by them accepts `chain` for `name`.
    ///
    /// # Errors
    /// The reason, for people.
    pub(super) fn accept(&self, chain: &[CertificateDer<'_>], name: &str, now: SystemTime) -> Result<(), String> {
        let bundles = match self {
            Self::Unknown => return Err("the webhook configuration was not seen yet".to_owned()),
            Self::Missing => return Err("there is no such webhook configuration".to_owned()),
            Self::Found(bundles) if bundles.is_empty() => return Err("the configuration has no webhooks".to_owned()),
            Self::Found(bundles) => bundles,
        };
        for (webhook, bundle) in bundles {
            verify::verify(chain, bundle, name, now).map_err(|error| format!("{webhook}: {error}"))?;
        }
        Ok(())
    }
}

/// What API servers trust by one webhook configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    live: Bundles,
    /// Earlier bundles, and when each was seen to be replaced: API servers may still go by them.
    before: Vec<(Bundles, Instant)>,
}

impl Trust {
    /// Takes in what was seen. Earlier bundles are remembered for `hold_down`.
    pub(super) fn see(&mut self, live: Bundles, now: Instant, hold_down: Duration) {
        if live != self.live {
            let last = mem::replace(&mut self.live, live);
            // Bundles that two programs set in turns are remembered once.
            self.before.retain(|(before, at)| now.duration_since(*at) < hold_down && *before != last);
            self.before.push((last, now));
        }
    }

    pub(super) fn live(&self) -> &Bundles {
        &self.live
    }

    /// For how long all bundles have been `desired`, if they are.
    pub(super) fn are_for(&self, desired: &str, now: Instant) -> Option<Duration> {
        let (_, since) = self.before.last()?;
        self.live.are(desired).then(|| now.saturating_duration_since(*since))
    }

    /// What API servers may go by, if they take up to `hold_down` to see a change.
    pub(super) fn possible(&self, now: Instant, hold_down: Duration) -> impl Iterator<Item = &Bundles> {
        let before = self.before.iter().filter(move |(_, changed)| now.duration_since(*changed) < hold_down);
        [&self.live].into_iter().chain(before.map(|(live, _)| live))
    }
}

/// Starts the task that keeps or watches the bundles of a configuration, and adds its readiness check: the first readiness
/// waits until the bundles trust what is served. Returns what the task finds, and every change of it.
pub(super) fn start<K: Configuration, F: Future<Output = ()> + Send + 'static>(
    context: &Context,
    runtime: &Runtime,
    task: impl FnOnce(watch::Sender<Trust>) -> F,
) -> watch::Receiver<Trust> {
    let (sender, trust) = watch::channel(Trust::default());
    let (known, resolver, name) = (trust.clone(), Arc::clone(&context.resolver), context.names.server_name());
    runtime.readiness.check(format!("webhook CA bundle: {}", K::ROLE), Counts::UntilReady, move || {
        known.borrow().live().accept(&resolver.chain(), &name, SystemTime::now())
    });
    runtime.tasks(Stage::Serve).spawn_endless(K::TASK, task(sender));
    trust
}

/// The states of the configuration, none while it is missing, for ever.
pub(super) fn watch<K: Configuration>(context: &Context) -> BoxStream<'static, Option<K>> {
    let configurations = Api::all_with(context.client.clone(), &());
    let doing = format!("watching the {} webhook configuration", K::ROLE);
    watch_object(configurations, context.names.configuration(), &doing)
}

/// Reads the configuration from the API server, with a field selector: a right to one name is none to list all.
///
/// # Errors
/// Those of the API server.
pub(super) async fn read<K: Configuration>(configurations: &Api<K>, name: &str) -> kube::Result<Option<K>> {
    let this = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(configurations.list(&this).await?.items.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::super::Names;
    use super::super::ca::Periods;
    use super::super::ca::authority::{Authority, pem_of};
    use super::*;

    #[test]
    fn bundles_have_an_authority_if_every_one_that_trusts_anything_has_it() {
        let ca = |generation| {
            let names = Names::new("keeper", "home", "x");
            let authority = Authority::mint(&names, generation, &Periods::default(), SystemTime::now()).unwrap();
            authority.current.certificate.clone()
        };
        let (one, other) = (ca(1), ca(2));
        let [has, both, not] = [pem_of(&one), pem_of(&other) + &pem_of(&one), pem_of(&other)];
        let have = |bundles: &[&str]| {
            let bundles = bundles.iter().map(|bundle| ("a".to_owned(), bundle.as_bytes().to_vec())).collect();
            Bundles::Found(bundles).have(&one)
        };
        assert!(have(&[&has, &both, ""]));
        assert!(!have(&[&has, &not]));
        assert!(!have(&["garbage"]));
        assert!(Bundles::Missing.have(&one) && !Bundles::Unknown.have(&one));
    }
}

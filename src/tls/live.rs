//! What the API server trusts, as the webhook configurations say.

use std::fmt::Debug;
use std::time::SystemTime;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::ListParams;
use kube::{Api, Resource};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;

use super::verify;

/// A webhook configuration of either kind.
pub(super) trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// `mutating` or `validating`, for logs and metrics.
    const ROLE: &'static str;
    /// Name of the task that looks after its bundles.
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

/// What the API server trusts, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Live {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    /// There is no such configuration.
    Missing,
    /// Names and CA bundles of its webhooks.
    Bundles(Vec<(String, Vec<u8>)>),
}

impl Live {
    pub(super) fn of<K: Configuration>(configuration: Option<&K>) -> Self {
        configuration.map_or(Self::Missing, |configuration| {
            let bundle = |config: &WebhookClientConfig| config.ca_bundle.clone().map(|bundle| bundle.0);
            let webhooks = configuration.webhooks().into_iter();
            Self::Bundles(
                webhooks.map(|(name, config)| (name.to_owned(), bundle(config).unwrap_or_default())).collect(),
            )
        })
    }

    /// Whether API servers may trust anything by it.
    pub(super) fn may_trust(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Missing => false,
            Self::Bundles(bundles) => bundles.iter().any(|(_, bundle)| !bundle.is_empty()),
        }
    }

    /// Whether `authority` is in every bundle that trusts anything.
    pub(super) fn agrees_to(&self, authority: &CertificateDer<'_>) -> bool {
        let has_it = |bundle: &[u8]| {
            CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).any(|certificate| certificate == *authority)
        };
        match self {
            Self::Unknown => false,
            Self::Missing => true,
            Self::Bundles(bundles) => bundles.iter().all(|(_, bundle)| bundle.is_empty() || has_it(bundle)),
        }
    }

    /// Whether all bundles are `desired`.
    pub(super) fn is(&self, desired: &str) -> bool {
        matches!(self, Self::Bundles(bundles) if bundles.iter().all(|(_, bundle)| bundle == desired.as_bytes()))
    }
}

/// The configuration as the API server itself has it, of which the watch may still be about to tell. Asked for with the
/// field selector without which a right to one name is none to list it.
///
/// # Errors
/// Those of the API server.
pub(super) async fn read<K: Configuration>(configurations: &Api<K>, name: &str) -> kube::Result<Option<K>> {
    let this = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(configurations.list(&this).await?.items.into_iter().next())
}

/// How readiness calls the check of a configuration.
pub(super) fn check_name<K: Configuration>() -> String {
    format!("webhook CA bundle: {}", K::ROLE)
}

/// Whether an API server that knows `live` accepts `chain` for `name`.
///
/// # Errors
/// Why not, for people.
pub(super) fn trusted(live: &Live, chain: &[CertificateDer<'_>], name: &str, now: SystemTime) -> Result<(), String> {
    let bundles = match live {
        Live::Unknown => return Err("the webhook configuration was not seen yet".to_owned()),
        Live::Missing => return Err("there is no such webhook configuration".to_owned()),
        Live::Bundles(bundles) if bundles.is_empty() => return Err("the configuration has no webhooks".to_owned()),
        Live::Bundles(bundles) => bundles,
    };
    for (webhook, bundle) in bundles {
        verify::verify(chain, bundle, name, now).map_err(|error| format!("{webhook}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::authority::{Authority, pem_of};
    use super::super::names::Names;
    use super::super::periods::Periods;
    use super::*;

    #[test]
    fn an_authority_is_agreed_to_if_every_bundle_that_trusts_anything_has_it() {
        let ca = |generation| {
            let names = Names::new("keeper", "home", "x");
            let authority = Authority::mint(&names, generation, &Periods::default(), SystemTime::now()).unwrap();
            authority.current.certificate().clone()
        };
        let (one, other) = (ca(1), ca(2));
        let [has, both, not] = [pem_of(&one), pem_of(&other) + &pem_of(&one), pem_of(&other)];
        let agrees = |bundles: &[&str]| {
            let bundles = bundles.iter().map(|bundle| ("a".to_owned(), bundle.as_bytes().to_vec())).collect();
            Live::Bundles(bundles).agrees_to(&one)
        };
        assert!(agrees(&[&has, &both, ""]));
        assert!(!agrees(&[&has, &not]));
        assert!(!agrees(&["garbage"]));
        assert!(Live::Missing.agrees_to(&one) && !Live::Unknown.agrees_to(&one));
    }
}

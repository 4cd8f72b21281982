//! What the API server trusts: the CA bundles of the webhook configurations.

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

use super::serving::verify;

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

/// Reads the configuration from the API server, with a field selector: a right to one name is none to list all.
///
/// # Errors
/// Those of the API server.
pub(super) async fn read<K: Configuration>(configurations: &Api<K>, name: &str) -> kube::Result<Option<K>> {
    let this = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(configurations.list(&this).await?.items.into_iter().next())
}

/// Name of the readiness check of a configuration.
pub(super) fn check_name<K: Configuration>() -> String {
    format!("webhook CA bundle: {}", K::ROLE)
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
            authority.current.certificate().clone()
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

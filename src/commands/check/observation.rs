//! The observed state that is diagnosed, as values.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rustls::pki_types::CertificateDer;

use super::report::Problem;
use crate::api_error::{Class, classify, message};
use crate::commands::check::canary::Canary;
use crate::tls::Mode;

/// Timeout of each request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Result of reading an object.
#[derive(Clone, Debug)]
pub(super) enum Lookup<T> {
    Found(T),
    Missing,
    /// The user has no right to read it.
    Forbidden(String),
    /// The API server did not answer.
    Failed(String),
}

impl<T> Lookup<T> {
    pub(super) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found) => Lookup::Found(change(found)),
            Self::Missing => Lookup::Missing,
            Self::Forbidden(why) => Lookup::Forbidden(why),
            Self::Failed(why) => Lookup::Failed(why),
        }
    }

    /// What was found, or the problem that it was not; `missing` is the one of an object that does not exist.
    pub(super) fn or_problem(&self, missing: impl FnOnce() -> Problem) -> Result<&T, Problem> {
        match self {
            Self::Found(found) => Ok(found),
            Self::Missing => Err(missing()),
            Self::Forbidden(why) => Err(Problem::forbidden(why)),
            Self::Failed(why) => Err(Problem::unanswered(why)),
        }
    }
}

impl<T> From<kube::Result<Option<T>>> for Lookup<T> {
    fn from(result: kube::Result<Option<T>>) -> Self {
        match result {
            Ok(Some(found)) => Self::Found(found),
            Ok(None) => Self::Missing,
            Err(error) if classify(&error) == Class::Forbidden => Self::Forbidden(message(&error).into_owned()),
            Err(error) => Self::Failed(message(&error).into_owned()),
        }
    }
}

/// A webhook of a webhook configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Webhook {
    pub(super) name: String,
    /// `caBundle`: trusted certificates, PEM.
    pub(super) bundle: Vec<u8>,
    /// Namespace, name and port of the Service that is called; none if a URL is.
    pub(super) service: Option<(String, String, i32)>,
    /// A namespace of its namespaceSelector, if it does not select all.
    pub(super) namespace: Option<String>,
}

/// The certificate that is served.
#[derive(Clone, Debug)]
pub(super) enum Served {
    /// The address and its chain, leaf first.
    Chain(String, Vec<CertificateDer<'static>>),
    Unreachable {
        address: String,
        why: String,
        /// Whether the address is that of the option.
        is_given: bool,
    },
    /// The address is not known.
    NoAddress,
}

/// The rights of the controller's own account.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights {
    /// User name of the account.
    pub(super) user: String,
    /// Rights that it needs and lacks, such as `watch pods`.
    pub(super) missing: Vec<String>,
}

/// The state of an installation.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) rights: Lookup<Rights>,
    pub(super) mode: Mode,
    /// The Secret with the CA, or with the provided certificate.
    pub(super) secret: Lookup<Secret>,
    pub(super) service: Lookup<Service>,
    pub(super) slices: Lookup<Vec<EndpointSlice>>,
    /// Webhooks of both configurations, the mutating first.
    pub(super) configurations: [Lookup<Vec<Webhook>>; 2],
    pub(super) served: Served,
    /// Result of the canaries, and the API server's message if they prove nothing.
    pub(super) canary: (Canary, Option<String>),
    /// A namespace for which the API server does not call the webhooks, while it does for others.
    pub(super) exempt: Option<String>,
}

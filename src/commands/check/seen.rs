//! What the checks are judged by, as values.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rustls::pki_types::CertificateDer;

use super::canary::Canary;
use crate::api_error::{Class, classify, message};
use crate::tls::Mode;

/// The option of the controller that says where its certificates come from, and its variable.
const OPTION: (&str, &str) = ("--webhook-certificate", "WEBHOOK_CERTIFICATE");

/// What came of looking at something.
#[derive(Clone, Debug)]
pub enum Look<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    Missing,
    /// The API server does not let this user look.
    Forbidden(String),
    /// The API server did not answer.
    Failed(String),
}

impl<T> Look<T> {
    /// What was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }

    /// The same of something that was made of what was found.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Self::Found(found) => Look::Found(change(found)),
            Self::Missing => Look::Missing,
            Self::Forbidden(why) => Look::Forbidden(why),
            Self::Failed(why) => Look::Failed(why),
        }
    }
}

impl<T> From<kube::Result<Option<T>>> for Look<T> {
    fn from(result: kube::Result<Option<T>>) -> Self {
        match result {
            Ok(Some(found)) => Self::Found(found),
            Ok(None) => Self::Missing,
            Err(error) if classify(&error) == Class::Forbidden => Self::Forbidden(message(&error).into_owned()),
            Err(error) => Self::Failed(message(&error).into_owned()),
        }
    }
}

/// A webhook as the API server has it.
#[derive(Clone, Debug, Default)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// The certificates that are trusted, PEM.
    pub bundle: Vec<u8>,
    /// Namespace, name and port of the Service that is called; none if a URL is.
    pub service: Option<(String, String, i32)>,
    /// A namespace whose objects it judges, if it does not judge all.
    pub namespace: Option<String>,
}

/// What was seen of the certificate that is served.
#[derive(Clone, Debug)]
pub enum Served {
    /// The chain, leaf first, and where.
    Chain(String, Vec<CertificateDer<'static>>),
    /// Nothing answers there.
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
        /// Whether somebody said that it is there.
        told: bool,
    },
    /// It is not known where to look.
    NoAddress,
}

/// What the API server says of the rights of the controller's own account.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// How the API server calls the account.
    pub user: String,
    /// What it may not do and has to, such as `watch pods`.
    pub missing: Vec<String>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the controller may do.
    pub rights: Look<Rights>,
    /// Where certificates come from.
    pub mode: Mode,
    /// Where the CA, or the certificate, is kept.
    pub secret: Look<Secret>,
    /// What is called.
    pub service: Look<Service>,
    /// What stands behind it.
    pub slices: Look<Vec<EndpointSlice>>,
    /// Both webhook configurations, the mutating first.
    pub configurations: [Look<Vec<Webhook>>; 2],
    /// What is served.
    pub served: Served,
    /// What the API server says to objects that only the webhooks refuse.
    pub canary: (Canary, Option<String>),
    /// A namespace about which the API server does not ask the webhooks, while it does about others.
    pub exempt: Option<String>,
}

/// Where certificates come from, as the Deployment says. What it does not say, or says in a way that is not understood,
/// is the default.
#[must_use]
pub fn mode_of(deployment: Option<&Deployment>) -> Mode {
    let pod = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let said = containers.iter().find_map(|container| {
        let mut environment = container.env.iter().flatten().filter(|variable| variable.name == OPTION.1);
        // The last argument of a kind wins, and any over the variable.
        argument(container.args.as_deref().unwrap_or_default())
            .or_else(|| environment.next_back().and_then(|variable| variable.value.clone()))
    });
    said.and_then(|said| said.parse().ok()).unwrap_or_default()
}

fn argument(arguments: &[String]) -> Option<String> {
    let mut found = None;
    for (index, argument) in arguments.iter().enumerate() {
        match argument.strip_prefix(OPTION.0).map(|rest| rest.strip_prefix('=')) {
            Some(Some(value)) => found = Some(value.to_owned()),
            Some(None) if argument == OPTION.0 => found = arguments.get(index + 1).cloned(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tls::source::Source;

    #[test]
    fn the_mode_is_the_deployments() {
        let of = |container: serde_json::Value| {
            let deployment = json!({"spec": {"selector": {}, "template": {"spec": {"containers": [container]}}}});
            mode_of(Some(&serde_json::from_value(deployment).unwrap()))
        };
        let secret = |name: &str| Mode::Provided(Source::Secret(name.to_owned()));
        assert_eq!(mode_of(None), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run"]})), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate=self-signed"]})), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate=secret:a"]})), secret("a"));
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate", "secret:b"]})), secret("b"));
        let variable = json!([{"name": "WEBHOOK_CERTIFICATE", "value": "files:/c"}]);
        assert_eq!(of(json!({"name": "c", "env": variable})), Mode::Provided(Source::Files("/c".into())));
        assert_eq!(of(json!({"name": "c", "env": variable, "args": ["--webhook-certificate=secret:a"]})), secret("a"));
    }
}

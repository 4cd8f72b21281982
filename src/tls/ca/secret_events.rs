//! Events about the Secret of the CA.

use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use crate::events::{Events, Severity};
use crate::tls::names::Names;

/// Records events about the certificates. They are about the Secret, since it is in the controller's own namespace, where
/// it may write events; the webhook configurations are in none. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct SecretEvents {
    events: Events,
    secret: Arc<ArcSwap<Secret>>,
}

impl SecretEvents {
    pub(super) fn new(events: Events, names: &Names) -> Self {
        let metadata = ObjectMeta {
            name: Some(names.secret()),
            namespace: Some(names.namespace().to_owned()),
            ..ObjectMeta::default()
        };
        Self { events, secret: Arc::new(ArcSwap::from_pointee(Secret { metadata, ..Secret::default() })) }
    }

    /// Events are about this very object from now on.
    pub(super) fn about(&self, secret: &Secret) {
        if self.secret.load().metadata.uid == secret.metadata.uid {
            return;
        }
        let ObjectMeta { name, namespace, uid, .. } = secret.metadata.clone();
        let metadata = ObjectMeta { name, namespace, uid, ..ObjectMeta::default() };
        self.secret.store(Arc::new(Secret { metadata, ..Secret::default() }));
    }

    pub(super) fn publish(&self, severity: Severity, reason: &str, note: impl Into<String>) {
        self.events.publish(&**self.secret.load(), severity, reason, note);
    }
}

//! A Secret, by watch.

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{CA, CERTIFICATE, Found, KEY, Seen};
use crate::watch_object::watch_object;

/// What the Secret `name` holds.
pub(super) fn follow(client: Client, namespace: &str, name: &str) -> BoxStream<'static, Seen> {
    let missing = format!("there is no Secret {name:?} in namespace {namespace:?}");
    watch_object(Api::namespaced(client, namespace), name, "watching a Secret with certificates")
        .map(move |secret| secret.map(found).ok_or_else(|| missing.clone()))
        .boxed()
}

fn found(secret: Secret) -> Found {
    let mut data = secret.data.unwrap_or_default();
    let mut take = |name| data.remove(name).map(|bytes| bytes.0);
    Found { certificate: take(CERTIFICATE), key: take(KEY), ca: take(CA) }
}

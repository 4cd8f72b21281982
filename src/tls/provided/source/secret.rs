//! A Secret, by watch.

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::{CA, CERTIFICATE, Found, KEY, Seen};

/// What the Secret `name` holds.
pub(super) fn follow(client: Client, namespace: &str, name: &str) -> BoxStream<'static, Seen> {
    let (secrets, name) = (Api::namespaced(client, namespace), name.to_owned());
    let missing = format!("there is no Secret {name:?} in namespace {namespace:?}");
    // A watch with a field selector: a right to one name is none to watch all.
    watcher::watch_object(secrets, &name)
        .default_backoff()
        .filter_map(move |event| {
            let seen = match event {
                Ok(Some(secret)) => Some(Ok(found(secret))),
                Ok(None) => Some(Err(missing.clone())),
                Err(error) => {
                    tracing::warn!(%error, secret = name, "watching a Secret with certificates");
                    None
                }
            };
            std::future::ready(seen)
        })
        .boxed()
}

fn found(secret: Secret) -> Found {
    let mut data = secret.data.unwrap_or_default();
    let mut take = |name| data.remove(name).map(|bytes| bytes.0);
    Found { certificate: take(CERTIFICATE), key: take(KEY), ca: take(CA) }
}

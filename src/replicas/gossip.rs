//! Values that replicas announce beside their liveness, for the certificates.

use futures::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Presence;

#[derive(Deserialize)]
pub(super) struct Announced {
    #[serde(flatten)]
    pub(super) more: Map<String, Value>,
}

/// Reads what other replicas announce.
pub trait Others: Send + Sync {
    /// As [`Presence::others_say`].
    fn others_say<'a>(&'a self, key: &'a str) -> BoxFuture<'a, kube::Result<bool>>;
}

impl Others for Presence {
    fn others_say<'a>(&'a self, key: &'a str) -> BoxFuture<'a, kube::Result<bool>> {
        self.others_say(key).boxed()
    }
}

impl Presence {
    /// Announces a value soon, and with every announcement from now on.
    pub(crate) fn say(&self, key: &str, value: Value) {
        self.more.send_if_modified(|more| more.insert(key.to_owned(), value.clone()) != Some(value));
    }

    /// Whether every replica that lives, this one included, has announced a value of `key` that is as wanted.
    pub(crate) fn all_say(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> bool {
        let said = self.liveness().said(key, Instant::now());
        said.contains_key(&self.id()) && said.values().all(|said| said.as_ref().is_some_and(&wanted))
    }

    /// Whether another replica that lives announces a value of `key`.
    ///
    /// # Errors
    /// Those of the API server.
    pub(crate) async fn others_say(&self, key: &str) -> kube::Result<bool> {
        self.refresh().await?;
        let said = self.liveness().said(key, Instant::now());
        Ok(said.into_iter().any(|(id, said)| id != self.id() && said.is_some()))
    }
}

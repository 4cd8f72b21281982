//! The watch of a single object.

use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// The states of the object `name`, none while it is missing, for ever. An error is logged, with `doing` as its message,
/// and the watch is tried again.
pub(crate) fn watch_object<K>(objects: Api<K>, name: &str, doing: &str) -> BoxStream<'static, Option<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (name, doing) = (name.to_owned(), doing.to_owned());
    // The watch has a field selector: a right to one name is none to watch all.
    let states = watcher::watch_object(objects, &name).default_backoff();
    let states = states.filter_map(move |state| {
        let state = state.inspect_err(|error| tracing::warn!(%error, name, "{doing}"));
        std::future::ready(state.ok())
    });
    states.chain(stream::pending()).boxed()
}

//! Whether the cache of one kind shows everything that its watches should have shown by now.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// The state of the watches of one kind. A watch of all namespaces has `None` for its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Whether the first list of every namespace is in.
    pub(crate) synced: bool,
    /// Namespaces whose watch has failed, and of which no complete list has been taken in since.
    pub(super) interrupted: BTreeSet<Option<String>>,
}

impl Freshness {
    /// Whether the cache is no older than the ordinary delay of a watch.
    pub(crate) fn is_fresh(&self) -> bool {
        self.synced && self.interrupted.is_empty()
    }
}

/// Publishes the [`Freshness`] of one kind.
#[derive(Debug, Default)]
pub(crate) struct FreshnessReporter(watch::Sender<Freshness>);

impl FreshnessReporter {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Freshness> {
        self.0.subscribe()
    }

    /// Records that the first list of every namespace is in.
    pub(crate) fn synced(&self) {
        self.0.send_modify(|freshness| freshness.synced = true);
    }

    /// Records that the watch of a namespace has failed.
    pub(crate) fn interrupted(&self, namespace: Option<&str>) {
        self.0.send_if_modified(|freshness| freshness.interrupted.insert(namespace.map(str::to_owned)));
    }

    /// Records that a complete list of a namespace has been taken in.
    pub(crate) fn confirm_complete(&self, namespace: Option<&str>) {
        self.0.send_if_modified(|freshness| freshness.interrupted.remove(&namespace.map(str::to_owned)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_fresh_from_the_first_lists_until_an_interruption_and_after_a_list_of_the_same_namespace() {
        let reporter = FreshnessReporter::default();
        let is_fresh = || reporter.subscribe().borrow().is_fresh();
        assert!(!is_fresh());
        reporter.confirm_complete(Some("a"));
        assert!(!is_fresh(), "another namespace has no list yet");
        reporter.synced();
        assert!(is_fresh());
        reporter.interrupted(Some("a"));
        assert!(!is_fresh());
        reporter.confirm_complete(Some("b"));
        assert!(!is_fresh(), "the list is of another namespace");
        reporter.confirm_complete(Some("a"));
        assert!(is_fresh());
    }
}

//! Whether the cache of one kind shows everything that its watches should have shown by now.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The state of the watches of one kind. A watch of all namespaces has `None` for its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Whether the first list of every namespace is in.
    pub(crate) synced: bool,
    /// Namespaces whose watch has failed, and of which no complete list has been taken in since, each with how often.
    pub(super) interrupted: BTreeMap<Option<String>, u64>,
}

impl Freshness {
    /// Whether the cache is no older than the ordinary delay of a watch.
    pub(crate) fn is_fresh(&self) -> bool {
        self.synced && self.interrupted.is_empty()
    }
}

/// Publishes the [`Freshness`] of one kind. Clones are one reporter.
#[derive(Clone, Debug, Default)]
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
        self.0.send_modify(|freshness| *freshness.interrupted.entry(namespace.map(str::to_owned)).or_default() += 1);
    }

    /// Records that a complete list of a namespace has been taken in.
    pub(crate) fn confirm_complete(&self, namespace: Option<&str>) {
        self.0.send_if_modified(|freshness| freshness.interrupted.remove(&namespace.map(str::to_owned)).is_some());
    }

    /// The same for a list that began after so many interruptions: it shows nothing about a later one.
    pub(super) fn confirm_after(&self, namespace: Option<&str>, interruptions: u64) {
        self.0.send_if_modified(|freshness| {
            let namespace = namespace.map(str::to_owned);
            let is_last = freshness.interrupted.get(&namespace) == Some(&interruptions);
            is_last && freshness.interrupted.remove(&namespace).is_some()
        });
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

    #[test]
    fn a_list_shows_nothing_about_an_interruption_that_came_while_it_was_made() {
        let reporter = FreshnessReporter::default();
        reporter.synced();
        reporter.interrupted(None);
        let before = reporter.subscribe().borrow().interrupted[&None];
        reporter.interrupted(None);
        reporter.confirm_after(None, before);
        assert!(!reporter.subscribe().borrow().is_fresh());
        reporter.confirm_after(None, before + 1);
        assert!(reporter.subscribe().borrow().is_fresh());
    }
}

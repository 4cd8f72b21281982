//! Whether what the watch of one kind has shown is all that there is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long after it has failed a watch is back, if the API server is: what is read before shows nothing of what happens
/// between the read and then.
const WATCH_RETURNS: Duration = Duration::from_secs(4);

/// That a watch has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    number: u64,
    at: Instant,
}

/// What is known of a watch. Where all namespaces are watched at once, their only name is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the first list of every namespace is in.
    pub synced: bool,
    /// Namespaces whose watch was interrupted and of which nothing has proved since that nothing was missed, each with
    /// the last interruption.
    pub interrupted: BTreeMap<Option<String>, Interruption>,
    interruptions: u64,
}

impl Standing {
    /// Whether reads of the cache are current: no older than the watch's ordinary delay.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.synced && self.interrupted.is_empty()
    }
}

/// The [`Standing`] of a watch, for those who wait for it.
#[derive(Debug, Default)]
pub struct Currency(watch::Sender<Standing>);

impl Currency {
    /// Follows every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// The first list of every namespace is in.
    pub fn synced(&self) {
        self.0.send_modify(|standing| standing.synced = true);
    }

    /// The watch of a namespace has failed: something may be missed from now on.
    pub fn interrupted(&self, namespace: Option<&str>) {
        self.0.send_modify(|standing| {
            standing.interruptions += 1;
            let interruption = Interruption { number: standing.interruptions, at: Instant::now() };
            standing.interrupted.insert(namespace.map(str::to_owned), interruption);
        });
    }

    /// The watch of a namespace has begun anew, with a full list.
    pub fn listed(&self, namespace: Option<&str>) {
        self.0.send_modify(|standing| {
            standing.interrupted.remove(&namespace.map(str::to_owned));
        });
    }

    /// A read that began at `begun`, after `interruption`, has shown all that there is in a namespace. It says nothing of
    /// what a later interruption may have hidden, nor of what the watch misses that is not back yet.
    pub fn proved(&self, namespace: Option<&str>, interruption: Interruption, begun: Instant) {
        self.0.send_if_modified(|standing| {
            let namespace = namespace.map(str::to_owned);
            let last = standing.interrupted.get(&namespace).filter(|last| last.number <= interruption.number);
            let proves = last.is_some_and(|last| begun.saturating_duration_since(last.at) >= WATCH_RETURNS);
            proves && standing.interrupted.remove(&namespace).is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(currency: &Currency) -> bool {
        currency.subscribe().borrow().is_current()
    }

    #[test]
    fn reads_are_current_from_the_first_lists_until_an_interruption() {
        let currency = Currency::default();
        assert!(!current(&currency));
        currency.listed(Some("a"));
        assert!(!current(&currency), "another namespace has no list yet");
        currency.synced();
        assert!(current(&currency));
        currency.interrupted(Some("a"));
        assert!(!current(&currency));
        currency.listed(Some("b"));
        assert!(!current(&currency), "the list of another namespace proves nothing");
        currency.listed(Some("a"));
        assert!(current(&currency));
    }

    #[test]
    fn a_read_proves_nothing_of_an_interruption_that_came_after_it_began() {
        let currency = Currency::default();
        let late = Instant::now() + WATCH_RETURNS * 2;
        currency.synced();
        currency.interrupted(None);
        let first = currency.subscribe().borrow().interrupted[&None];
        currency.interrupted(None);
        currency.proved(None, first, late);
        assert!(!current(&currency));
        let second = currency.subscribe().borrow().interrupted[&None];
        currency.proved(None, second, late);
        assert!(current(&currency));
    }

    #[test]
    fn a_read_proves_nothing_while_the_watch_may_still_be_away() {
        let currency = Currency::default();
        currency.synced();
        currency.interrupted(None);
        let interruption = currency.subscribe().borrow().interrupted[&None];
        currency.proved(None, interruption, interruption.at + WATCH_RETURNS / 2);
        assert!(!current(&currency));
        currency.proved(None, interruption, interruption.at + WATCH_RETURNS);
        assert!(current(&currency));
    }
}

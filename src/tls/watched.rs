//! Watches what the API server trusts where others say so, and reports it if that is not what is served. It writes
//! nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::live::{self, Configuration, Live};
use super::names::Names;
use super::resolver::Resolver;
use super::turn::Trust;
use crate::events::{Events, Severity};
use crate::runtime::readiness::Counts;
use crate::tls::metrics::{ConfigurationLabel, TlsMetrics};

/// How often the clock is looked at: certificates come of age and expire by themselves.
const LOOK: Duration = Duration::from_secs(5);
/// How long a mismatch may last before it is worth a word: certificate and bundle are changed one after the other.
const GRACE: Duration = Duration::from_secs(10);

/// The task that looks after one webhook configuration.
pub(super) struct Watcher<K: Configuration> {
    configurations: Api<K>,
    names: Names,
    trust: watch::Sender<Trust>,
    /// How long every API server may take to learn of a changed CA bundle.
    hold_down: Duration,
    resolver: Arc<Resolver>,
    /// Changes when what is served does.
    served: watch::Receiver<()>,
    events: Events,
    metrics: Arc<TlsMetrics>,
}

/// What was found wrong and is not right yet.
#[derive(Default)]
struct Wrong(Option<(Instant, Option<String>)>);

/// What is worth a word.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// It has not fitted for a while, or not for another reason than was told.
    Mismatch(String),
    /// It fits, after the opposite was told.
    Fits,
}

impl Wrong {
    fn hear(&mut self, found: Result<(), String>, now: Instant) -> Option<Word> {
        let Err(why) = found else {
            let (_, told) = self.0.take()?;
            return told.map(|_| Word::Fits);
        };
        let (since, told) = self.0.get_or_insert((now, None));
        if now.duration_since(*since) < GRACE || told.as_ref() == Some(&why) {
            return None;
        }
        *told = Some(why.clone());
        Some(Word::Mismatch(why))
    }
}

impl<K: Configuration> Watcher<K> {
    pub(super) fn new(parts: &Parts<'_>, served: watch::Receiver<()>) -> Self {
        Self {
            configurations: Api::all_with(parts.client.clone(), &()),
            names: parts.names.clone(),
            trust: watch::Sender::default(),
            hold_down: parts.periods.hold_down,
            resolver: Arc::clone(parts.resolver),
            served,
            events: parts.events.clone(),
            metrics: Arc::clone(parts.metrics),
        }
    }

    /// Whom the API server trusts, and every change of it.
    pub(super) fn trust(&self) -> watch::Receiver<Trust> {
        self.trust.subscribe()
    }

    /// Starts to watch; the first readiness waits until everything fits.
    pub(super) fn start(self, parts: &Parts<'_>) {
        let (trust, resolver, name) = (self.trust.subscribe(), Arc::clone(&self.resolver), self.names.server_name());
        parts.readiness.check(live::check_name::<K>(), Counts::UntilReady, move || {
            live::trusted(trust.borrow().live(), &resolver.chain(), &name, SystemTime::now())
        });
        parts.tasks.spawn(K::TASK, self.run(parts.tasks.stopping().clone()));
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let name = self.names.configuration().to_owned();
        let mut events = pin!(watcher::watch_object(self.configurations.clone(), &name).default_backoff());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wrong = Wrong::default();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(configuration)) => {
                        let live = Live::of(configuration.as_ref());
                        self.trust.send_modify(|trust| trust.change(live, Instant::now(), self.hold_down));
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, name, configuration = K::ROLE, "watching the webhook configuration");
                        continue;
                    }
                    None => return,
                },
                changed = self.served.changed() => if changed.is_err() {
                    return;
                },
                _ = look.tick() => {}
            }
            let server_name = self.names.server_name();
            let chain = self.resolver.chain();
            let found = live::trusted(self.trust.borrow().live(), &chain, &server_name, SystemTime::now());
            let label = ConfigurationLabel { configuration: K::ROLE };
            self.metrics.bundle_in_sync.get_or_create_owned(&label).set(i64::from(found.is_ok()));
            if let Some(word) = wrong.hear(found, Instant::now()) {
                self.tell(word);
            }
        }
    }

    fn tell(&self, word: Word) {
        let name = self.names.configuration();
        let why = match word {
            Word::Mismatch(why) => why,
            Word::Fits => {
                tracing::info!(
                    name,
                    configuration = K::ROLE,
                    "the CA bundle fits the certificate that is served again"
                );
                return;
            }
        };
        tracing::warn!(name, configuration = K::ROLE, why, "the CA bundle does not fit the certificate that is served");
        let note = format!(
            "the {} webhook configuration does not trust the certificate that is served: {why}; its caBundle is not written by this controller",
            K::ROLE
        );
        self.events.publish(&self.service(), Severity::Warning, "CABundleMismatch", note);
    }

    /// What events are about: it is in the controller's own namespace, where it may write events.
    fn service(&self) -> Service {
        let metadata = ObjectMeta {
            name: Some(self.names.controller().to_owned()),
            namespace: Some(self.names.namespace().to_owned()),
            ..ObjectMeta::default()
        };
        Service { metadata, ..Service::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::super::periods::Periods;
    use super::*;

    #[test]
    fn a_mismatch_is_told_once_when_it_has_lasted_and_so_is_its_end() {
        let (mut wrong, start) = (Wrong::default(), Instant::now());
        let mismatch = |why: &str| Err(why.to_owned());
        // Certificate and bundle are renewed one after the other.
        assert_eq!(wrong.hear(mismatch("a"), start), None);
        assert_eq!(wrong.hear(Ok(()), start + GRACE * 2), None);
        assert_eq!(wrong.hear(mismatch("a"), start + GRACE * 2), None);
        assert_eq!(wrong.hear(mismatch("a"), start + GRACE * 3 - LOOK), None);
        assert_eq!(wrong.hear(mismatch("a"), start + GRACE * 3), Some(Word::Mismatch("a".to_owned())));
        assert_eq!(wrong.hear(mismatch("a"), start + GRACE * 9), None);
        assert_eq!(wrong.hear(mismatch("b"), start + GRACE * 9), Some(Word::Mismatch("b".to_owned())));
        assert_eq!(wrong.hear(Ok(()), start + GRACE * 9), Some(Word::Fits));
        assert_eq!(wrong.hear(Ok(()), start + GRACE * 9), None);
    }

    #[test]
    fn an_expired_certificate_is_told_once_and_not_at_every_look() {
        let (names, periods, now) = (Names::new("keeper", "home", "x"), Periods::default(), SystemTime::now());
        let authority = Authority::mint(&names, 1, &periods, now).unwrap();
        let chain = authority.leaf(&names, &periods, now).unwrap().chain;
        let live = Live::Bundles(vec![("a".to_owned(), authority.bundle().into_bytes())]);
        for begin in [now + periods.leaf * 2, now - periods.leaf * 2] {
            let (mut wrong, start) = (Wrong::default(), Instant::now());
            let mut look = |passed: Duration| {
                let found = live::trusted(&live, &chain, &names.server_name(), begin + passed);
                wrong.hear(found, start + passed)
            };
            assert_eq!(look(Duration::ZERO), None);
            assert!(matches!(look(GRACE), Some(Word::Mismatch(_))));
            assert_eq!(look(GRACE + LOOK), None);
        }
    }
}

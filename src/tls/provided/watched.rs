//! Watches the CA bundles that other programs set, and reports if they do not trust what is served. It writes nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::ObjectMeta;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::events::Severity;
use crate::tls::context::Context;
use crate::tls::trust::{self, Bundles, Configuration, Trust};

/// Pause between two checks of the clock: certificates become valid and expire without an event.
const CLOCK_CHECK: Duration = Duration::from_secs(5);
/// How long a mismatch lasts before it is reported: certificate and bundle are changed one after the other.
const GRACE: Duration = Duration::from_secs(10);

/// A mismatch that lasts: since when, and the reason that was reported last.
#[derive(Default)]
struct Mismatch(Option<(Instant, Option<String>)>);

/// What is reported.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    /// A mismatch has lasted for a while, or its reason has changed.
    Mismatch(String),
    /// A mismatch that was reported is over.
    Resolved,
}

impl Mismatch {
    fn observe(&mut self, found: Result<(), String>, now: Instant) -> Option<Notice> {
        let Err(why) = found else {
            let (_, reported) = self.0.take()?;
            return reported.map(|_| Notice::Resolved);
        };
        let (since, reported) = self.0.get_or_insert((now, None));
        if now.duration_since(*since) < GRACE || reported.as_ref() == Some(&why) {
            return None;
        }
        *reported = Some(why.clone());
        Some(Notice::Mismatch(why))
    }
}

/// Follows one webhook configuration. `served` changes when what is served does.
pub(super) async fn watch<K: Configuration>(
    context: Arc<Context>,
    trust: watch::Sender<Trust>,
    mut served: watch::Receiver<()>,
) {
    let Context { names, periods, resolver, metrics, .. } = &*context;
    let mut states = trust::watch::<K>(&context);
    let mut check = interval(CLOCK_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut mismatch = Mismatch::default();
    loop {
        tokio::select! {
            Some(configuration) = states.next() => {
                let live = Bundles::of::<K>(configuration.as_ref());
                trust.send_modify(|trust| trust.see(live, Instant::now(), periods.hold_down));
            }
            changed = served.changed() => if changed.is_err() {
                return;
            },
            _ = check.tick() => {}
        }
        let (chain, server_name) = (resolver.chain(), names.server_name());
        let found = trust.borrow().live().accept(&chain, &server_name, SystemTime::now());
        metrics.set_in_sync(K::ROLE, found.is_ok());
        if let Some(notice) = mismatch.observe(found, Instant::now()) {
            report(&context, K::ROLE, notice);
        }
    }
}

fn report(context: &Context, configuration: &'static str, notice: Notice) {
    let name = context.names.configuration();
    let Notice::Mismatch(why) = notice else {
        tracing::info!(name, configuration, "the CA bundle trusts the certificate that is served again");
        return;
    };
    tracing::warn!(name, configuration, why, "the CA bundle does not trust the certificate that is served");
    let note = format!(
        "the {configuration} webhook configuration does not trust the certificate that is served: {why}; its caBundle is not written by this controller"
    );
    // The event is about an object of the controller's own namespace, where it may write events.
    let metadata = ObjectMeta {
        name: Some(context.names.controller().to_owned()),
        namespace: Some(context.names.namespace().to_owned()),
        ..ObjectMeta::default()
    };
    let service = Service { metadata, ..Service::default() };
    context.events.publish(&service, Severity::Warning, "CABundleMismatch", note);
}

#[cfg(test)]
mod tests {
    use super::super::super::ca::authority::Authority;
    use super::super::super::{Names, Periods};
    use super::*;

    #[test]
    fn a_mismatch_is_reported_once_when_it_has_lasted_and_so_is_its_end() {
        let (mut mismatches, start) = (Mismatch::default(), Instant::now());
        let mismatch = |why: &str| Err(why.to_owned());
        // Certificate and bundle are renewed one after the other.
        assert_eq!(mismatches.observe(mismatch("a"), start), None);
        assert_eq!(mismatches.observe(Ok(()), start + GRACE * 2), None);
        assert_eq!(mismatches.observe(mismatch("a"), start + GRACE * 2), None);
        assert_eq!(mismatches.observe(mismatch("a"), start + GRACE * 3 - CLOCK_CHECK), None);
        assert_eq!(mismatches.observe(mismatch("a"), start + GRACE * 3), Some(Notice::Mismatch("a".to_owned())));
        assert_eq!(mismatches.observe(mismatch("a"), start + GRACE * 9), None);
        assert_eq!(mismatches.observe(mismatch("b"), start + GRACE * 9), Some(Notice::Mismatch("b".to_owned())));
        assert_eq!(mismatches.observe(Ok(()), start + GRACE * 9), Some(Notice::Resolved));
        assert_eq!(mismatches.observe(Ok(()), start + GRACE * 9), None);
    }

    #[test]
    fn an_expired_certificate_is_reported_once_and_not_at_every_check() {
        let (names, periods, now) = (Names::new("keeper", "home", "x"), Periods::default(), SystemTime::now());
        let authority = Authority::mint(&names, 1, &periods, now).unwrap();
        let chain = authority.leaf(&names, &periods, now).unwrap().chain;
        let live = Bundles::Found(vec![("a".to_owned(), authority.bundle().into_bytes())]);
        for begin in [now + periods.leaf * 2, now - periods.leaf * 2] {
            let (mut mismatches, start) = (Mismatch::default(), Instant::now());
            let mut look = |passed: Duration| {
                let found = live.accept(&chain, &names.server_name(), begin + passed);
                mismatches.observe(found, start + passed)
            };
            assert_eq!(look(Duration::ZERO), None);
            assert!(matches!(look(GRACE), Some(Notice::Mismatch(_))));
            assert_eq!(look(GRACE + CLOCK_CHECK), None);
        }
    }
}

//! Keeps the last good certificates of a source in use.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, Found, Material, Seen};
use crate::tls::metrics::TlsMetrics;

/// Pause between two checks of certificates that were refused: they may not have been valid yet.
const CHECK: Duration = Duration::from_secs(30);

/// Puts into `used` what `make` makes of what is `seen`, unless that fails. `role` names it in metrics and in the log, which
/// has each change, and the reason if it is not used.
pub(in crate::tls) async fn keep<M: Material>(
    mut seen: BoxStream<'static, Seen>,
    role: &'static str,
    make: impl Fn(&Found, SystemTime) -> Result<M, Error>,
    used: watch::Sender<Option<Arc<M>>>,
    metrics: Arc<TlsMetrics>,
) {
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = None;
    loop {
        let now = tokio::select! {
            next = seen.next() => {
                let Some(next) = next else { return };
                refused = Some((next, None));
                SystemTime::now()
            }
            _ = check.tick(), if refused.is_some() => SystemTime::now(),
        };
        let Some((next, logged)) = &mut refused else { continue };
        let found = next.as_ref().map_err(Clone::clone);
        match found.and_then(|found| make(found, now).map_err(|error| error.to_string())) {
            Ok(material) => {
                let not_after = metrics.set_not_after(role, material.not_after());
                metrics.count_load(role, "used");
                tracing::info!(role, not_after, "using new certificates");
                used.send_replace(Some(Arc::new(material)));
                refused = None;
            }
            Err(why) => {
                if logged.as_ref() != Some(&why) {
                    metrics.count_load(role, "refused");
                    let last =
                        if used.borrow().is_some() { "the last good ones stay in use" } else { "there are none" };
                    tracing::error!(role, why, last, "new certificates are not used");
                }
                *logged = Some(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::runtime::metrics::Registry;
    use crate::tls::metrics::{CertificateLoadLabels, RoleLabel};

    /// Good if its certificate is `good`, as long as it is not called early.
    #[derive(Debug, PartialEq, Eq)]
    struct Text(String);

    impl Text {
        fn of(found: &Found) -> Result<Self, Error> {
            let text = String::from_utf8(found.certificate.clone().unwrap_or_default()).unwrap_or_default();
            if text.starts_with("good") { Ok(Self(text)) } else { Err(Error::Expired) }
        }
    }

    impl Material for Text {
        fn not_after(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(7)
        }
    }

    fn found(word: &str) -> Found {
        Found { certificate: Some(word.as_bytes().to_vec()), ..Found::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_stays_in_use_and_each_change_is_counted_once() {
        let (sender, seen) = mpsc::unbounded();
        let (used, mut using) = watch::channel(None);
        let metrics: Arc<TlsMetrics> = Registry::default().register();
        let make = |found: &Found, _| Text::of(found);
        let task = tokio::spawn(keep(seen.boxed(), "test", make, used, Arc::clone(&metrics)));
        let count =
            |outcome| metrics.certificate_loads.get_or_create(&CertificateLoadLabels { role: "test", outcome }).get();
        sender.unbounded_send(Err("no such thing".to_owned())).unwrap();
        assert!(timeout(CHECK * 3, using.changed()).await.is_err());
        assert_eq!((count("used"), count("refused")), (0, 1));
        for word in ["good 1", "good 2"] {
            sender.unbounded_send(Ok(found(word))).unwrap();
            using.changed().await.unwrap();
            assert_eq!(using.borrow_and_update().as_deref(), Some(&Text(word.to_owned())));
        }
        for bad in [Ok(found("bad")), Err("gone".to_owned())] {
            sender.unbounded_send(bad).unwrap();
            assert!(timeout(CHECK * 3, using.changed()).await.is_err());
        }
        assert_eq!((count("used"), count("refused")), (2, 3));
        assert_eq!(metrics.certificate_not_after.get_or_create(&RoleLabel { role: "test" }).get(), 7);
        drop(sender);
        task.await.unwrap();
    }
}

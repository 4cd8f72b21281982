//! How often an object is put right that another program changes again and again.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use moka::sync::Cache;
use tokio::time::Instant;

use super::settings::FIELD_MANAGER;
use crate::api::names::ObjectKey;
use crate::throttle::Throttle;

/// Repairs of one object that may follow each other at once.
const BURST: u32 = 5;
/// After which time one more is allowed: four a minute.
const INTERVAL: Duration = Duration::from_secs(15);
/// Objects of which repairs are counted at most.
const MOST: u64 = 20_000;

/// Repairs that have succeeded lately, by kind and key, each with a hash of what was wanted of the object. One that the API
/// server refused does not count, and neither does a write because something else is wanted of the object.
#[derive(Debug)]
pub(super) struct Repairs(Cache<(&'static str, ObjectKey), (u64, Throttle)>);

impl Default for Repairs {
    fn default() -> Self {
        // After this time, as many are allowed as if there had been none.
        Self(Cache::builder().max_capacity(MOST).time_to_idle(INTERVAL * BURST).build())
    }
}

impl Repairs {
    /// Whether an object may be put right once more, or how long to wait. `desired_hash` is a hash of what is wanted of
    /// it.
    pub(super) fn allow(
        &self,
        kind: &'static str,
        key: &ObjectKey,
        desired_hash: u64,
        now: Instant,
    ) -> Result<(), Duration> {
        let recent = self.0.get(&(kind, key.clone())).filter(|(hash, _)| *hash == desired_hash);
        recent.and_then(|(_, throttle)| throttle.wait(now)).map_or(Ok(()), Err)
    }

    /// Counts that an object was put right, or brought to what is wanted of it by now. No object is written twice at a
    /// time.
    pub(super) fn record(&self, kind: &'static str, key: &ObjectKey, desired_hash: u64, now: Instant) {
        let unused = || Throttle::new(BURST, INTERVAL, now);
        let throttle = match self.0.get(&(kind, key.clone())) {
            Some((hash, _)) if hash != desired_hash => unused(),
            recent => {
                let mut throttle = recent.map_or_else(unused, |(_, throttle)| throttle);
                throttle.record(now);
                throttle
            }
        };
        self.0.insert((kind, key.clone()), (desired_hash, throttle));
    }
}

/// The program that changed an object last, other than this controller, and other than its status.
pub(super) fn last_foreign_manager(meta: &ObjectMeta) -> Option<&str> {
    let entries = meta.managed_fields.iter().flatten();
    let others = entries.filter(|entry| {
        entry.manager.as_deref() != Some(FIELD_MANAGER) && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0)).and_then(|entry| entry.manager.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_put_right_five_times_and_then_every_fifteen_seconds() {
        let (repairs, key, start) = (Repairs::default(), ObjectKey::new("n", "c"), Instant::now());
        let repaired = |seconds| {
            let now = start + Duration::from_secs(seconds);
            repairs.allow("ConfigMap", &key, 1, now).map(|()| repairs.record("ConfigMap", &key, 1, now))
        };
        for _ in 0..5 {
            assert_eq!(repaired(0), Ok(()));
        }
        assert_eq!(repaired(5), Err(Duration::from_secs(10)));
        assert_eq!(repairs.allow("Service", &key, 1, start), Ok(()));
        assert_eq!(repaired(15), Ok(()));
        assert_eq!(repaired(16), Err(Duration::from_secs(14)));
        assert_eq!((repaired(120), repaired(120)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_repair_that_was_allowed_and_not_made_does_not_count() {
        let (repairs, key, start) = (Repairs::default(), ObjectKey::new("n", "c"), Instant::now());
        assert!((0..20).all(|_| repairs.allow("ConfigMap", &key, 1, start).is_ok()));
    }

    #[test]
    fn a_write_of_something_else_that_is_wanted_is_no_repair() {
        let (repairs, key, start) = (Repairs::default(), ObjectKey::new("n", "c"), Instant::now());
        let written = |desired_hash| {
            repairs
                .allow("ConfigMap", &key, desired_hash, start)
                .map(|()| repairs.record("ConfigMap", &key, desired_hash, start))
        };
        assert!((0..20).all(|desired_hash| written(desired_hash).is_ok()));
        assert!((0..5).all(|_| written(19).is_ok()));
        assert!(written(19).is_err());
        assert!(written(20).is_ok());
    }

    #[test]
    fn the_last_foreign_manager_is_who_wrote_last() {
        let meta = |entries: serde_json::Value| -> ObjectMeta {
            serde_json::from_value(json!({ "managedFields": entries })).unwrap()
        };
        let found = meta(json!([
            {"manager": "older", "time": "2026-01-01T00:00:00Z"},
            {"manager": "kubectl-edit", "time": "2026-01-01T00:01:00Z"},
            {"manager": FIELD_MANAGER, "time": "2026-01-01T00:02:00Z"},
            {"manager": "kube-controller-manager", "time": "2026-01-01T00:03:00Z", "subresource": "status"},
        ]));
        assert_eq!(last_foreign_manager(&found), Some("kubectl-edit"));
        assert_eq!(last_foreign_manager(&ObjectMeta::default()), None);
    }
}

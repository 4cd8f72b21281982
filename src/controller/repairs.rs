//! How often an object is put right that another program changes again and again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::settings::FIELD_MANAGER;
use crate::api::names::ObjectKey;
use crate::throttle::Throttle;

/// Repairs of one object that may follow each other at once.
const BURST: u32 = 5;
/// After which time one more is allowed: four a minute.
const INTERVAL: Duration = Duration::from_secs(15);
/// Objects of which repairs are counted; of those over that, what was counted is forgotten.
const MOST: usize = 20_000;

/// Repairs that have succeeded lately, by kind and key. One that the API server refused does not count, and neither does
/// a write because something else is wanted of the object.
#[derive(Debug, Default)]
pub(super) struct Repairs(Mutex<HashMap<(&'static str, ObjectKey), Recent>>);

/// Repairs of one object.
#[derive(Debug)]
struct Recent {
    /// Hash of what was wanted of the object.
    desired_hash: u64,
    throttle: Throttle,
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
        let repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = repairs.get(&(kind, key.clone())).filter(|recent| recent.desired_hash == desired_hash);
        recent.and_then(|recent| recent.throttle.wait(now)).map_or(Ok(()), Err)
    }

    /// Counts that an object was put right, or brought to what is wanted of it by now.
    pub(super) fn record(&self, kind: &'static str, key: &ObjectKey, desired_hash: u64, now: Instant) {
        let mut repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if repairs.len() >= MOST {
            repairs.retain(|_, recent| !recent.throttle.is_idle(now));
        }
        if repairs.len() >= MOST {
            repairs.clear();
        }
        let unused = || Recent { desired_hash, throttle: Throttle::new(BURST, INTERVAL, now) };
        let recent = repairs.entry((kind, key.clone())).or_insert_with(unused);
        if recent.desired_hash == desired_hash {
            recent.throttle.record(now);
        } else {
            *recent = unused();
        }
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

//! Not to fight over an object with another program that changes it again and again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::digest::FIELD_MANAGER;
use crate::api::names::ObjectKey;

/// Times that one object is put right in [`FIGHT`] before whoever changes it is taken for a program that does not stop.
const BLOWS: u32 = 5;
/// After how long that is forgotten.
const FIGHT: Duration = Duration::from_secs(60);
/// Objects of which it is remembered; those over that are forgotten early.
const MOST: usize = 20_000;

/// Objects that were put right lately, by kind and key.
#[derive(Debug, Default)]
pub struct Fights(Mutex<HashMap<(&'static str, ObjectKey), Fight>>);

/// How often an object was put right, to what, and since when.
#[derive(Clone, Copy, Debug)]
struct Fight {
    since: Instant,
    target: u64,
    blows: u32,
}

impl Fights {
    /// Whether an object may be put right once more, to what has the digest `target`. To bring it to something else than
    /// before is no fight.
    pub fn may_strike(&self, kind: &'static str, key: &ObjectKey, target: u64, now: Instant) -> bool {
        let mut fights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |fight: &Fight| now.saturating_duration_since(fight.since) >= FIGHT;
        if fights.len() >= MOST {
            fights.retain(|_, fight| !is_over(fight));
        }
        if fights.len() >= MOST {
            fights.clear();
        }
        let fight = fights.entry((kind, key.clone())).or_insert(Fight { since: now, target, blows: 0 });
        if fight.target != target || is_over(fight) {
            *fight = Fight { since: now, target, blows: 0 };
        }
        fight.blows = fight.blows.saturating_add(1);
        fight.blows <= BLOWS
    }
}

/// Who changed an object last, other than this controller and than its status.
#[must_use]
pub fn opponent(meta: &ObjectMeta) -> Option<&str> {
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
    fn who_changes_an_object_again_and_again_is_not_answered_each_time() {
        let (fights, key, start) = (Fights::default(), ObjectKey::new("n", "c"), Instant::now());
        let strikes = |target, at| (0..7).filter(|_| fights.may_strike("ConfigMap", &key, target, at)).count();
        assert_eq!(strikes(1, start), 5);
        assert_eq!(strikes(2, start), 5, "the set was edited");
        assert_eq!(strikes(2, start + FIGHT / 2), 0);
        assert_eq!(strikes(2, start + FIGHT), 5);
        assert!(fights.may_strike("Service", &key, 2, start));
    }

    #[test]
    fn the_opponent_is_who_wrote_last() {
        let meta = |entries: serde_json::Value| -> ObjectMeta {
            serde_json::from_value(json!({ "managedFields": entries })).unwrap()
        };
        let found = meta(json!([
            {"manager": "older", "time": "2026-01-01T00:00:00Z"},
            {"manager": "kubectl-edit", "time": "2026-01-01T00:01:00Z"},
            {"manager": FIELD_MANAGER, "time": "2026-01-01T00:02:00Z"},
            {"manager": "kube-controller-manager", "time": "2026-01-01T00:03:00Z", "subresource": "status"},
        ]));
        assert_eq!(opponent(&found), Some("kubectl-edit"));
        assert_eq!(opponent(&ObjectMeta::default()), None);
    }
}

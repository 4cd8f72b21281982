//! What sets say, so that it is not worked out anew for every request.
//!
//! What is remembered belongs to one state of a set, as the cache has it, and to no other: a set that has changed is
//! another object in memory. So nothing has to be invalidated, and no answer is older than the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Group;
use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::rules::Violation;

/// So many groups are remembered before it is looked which of their sets are gone.
const FEW: usize = 64;

/// What sets say.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    groups: HashMap<ObjectKey, (Weak<PartitionSet>, Arc<Group>)>,
    /// How many there were when it was last looked which sets are gone.
    lasting: usize,
}

impl Memo {
    /// What a set says that is found under `key`.
    ///
    /// # Errors
    /// As [`Group::of`].
    pub(super) fn group(&self, key: &ObjectKey, set: &Arc<PartitionSet>) -> Result<Arc<Group>, Vec<Violation>> {
        // While this side refers to its place in memory, even if weakly, nothing else takes it.
        if let Some((of, group)) = self.known().groups.get(key)
            && of.as_ptr() == Arc::as_ptr(set)
        {
            return Ok(Arc::clone(group));
        }
        let group = Arc::new(Group::of(set)?);
        let mut known = self.known();
        if known.groups.len() >= (2 * known.lasting).max(FEW) {
            known.groups.retain(|_, (set, _)| set.strong_count() > 0);
            known.lasting = known.groups.len();
        }
        known.groups.insert(key.clone(), (Arc::downgrade(set), Arc::clone(&group)));
        Ok(group)
    }

    // Nothing panics while it holds the lock.
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PartitionSetSpec;

    fn set(partitions: i64) -> Arc<PartitionSet> {
        let mut spec = PartitionSetSpec { partitions: Some(partitions), ..PartitionSetSpec::default() };
        "raft".clone_into(&mut spec.template.spec.protocol);
        Arc::new(PartitionSet::new("atx", spec))
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn what_a_set_says_is_worked_out_once_and_anew_when_the_set_changes() {
        let (memo, key) = (Memo::default(), key("atx"));
        let first = set(3);
        let group = memo.group(&key, &first).unwrap();
        assert_eq!(group.partitions, 3);
        assert!(Arc::ptr_eq(&group, &memo.group(&key, &first).unwrap()));
        let changed = set(4);
        assert_eq!(memo.group(&key, &changed).unwrap().partitions, 4);
        assert_eq!(memo.group(&key, &changed).unwrap().partitions, 4);
        // Whoever has still found the former one is told what that one says.
        assert_eq!(memo.group(&key, &first).unwrap().partitions, 3);
        drop((first, changed));
        for partitions in 1..100 {
            assert_eq!(memo.group(&key, &set(partitions)).unwrap().partitions, u32::try_from(partitions).unwrap());
        }
        memo.group(&key, &set(0)).unwrap_err();
        memo.group(&key, &set(0)).unwrap_err();
    }

    #[test]
    fn sets_that_are_gone_are_not_remembered_for_ever() {
        let memo = Memo::default();
        let lasting: Vec<_> = (0..1000).map(|_| set(1)).collect();
        for (number, set) in lasting.iter().enumerate() {
            memo.group(&key(&format!("lasting-{number}")), set).unwrap();
        }
        assert_eq!(memo.known().groups.len(), 1000);
        for number in 0..10_000 {
            memo.group(&key(&format!("gone-{number}")), &set(1)).unwrap();
        }
        assert!(memo.known().groups.len() <= 2000 + FEW);
        drop(lasting);
        for number in 0..10_000 {
            memo.group(&key(&format!("gone-{number}")), &set(1)).unwrap();
        }
        assert!(memo.known().groups.len() <= 2 * FEW);
    }
}

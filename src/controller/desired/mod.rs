//! What the controller wants of an object, and whether a stored one is so.
//!
//! The controller owns the fields that it sets and no others: what it wants is put back when it is changed, and what
//! others add stays. See docs/operations.md, "Healing".

mod hash;
mod merge;
mod replacement;
mod wanted;

pub(super) use self::hash::{hash_of_entries, hash_of_value};
pub(super) use self::replacement::replacement;
pub(super) use self::wanted::{
    Desired, creation, fields_of, forget_former_owner, is_bookkeeping, missing, record_copied_labels,
};

#[cfg(test)]
mod tests;

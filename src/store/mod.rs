//! What this replica knows of the cluster: a cache of each kind, the watches that fill them, and how current they are.

pub mod cache;
pub mod sets;
pub mod watch;

/// Why the process ends when it finds that the versions of the store count anew.
pub(crate) const OLDER_STORE: &str =
    "found a store that is older than before, as after a backup was restored: everything has to be read anew";

//! What this replica knows of the cluster: what is kept of each kind, the caches, the watches that fill them, and how
//! current they are. Nothing here writes to the cluster.

pub(crate) mod cache;
pub(crate) mod cached;
pub(crate) mod caches;
pub(crate) mod fields;
pub(crate) mod freshness;
pub(crate) mod kind;
mod kinds;
mod metrics;
pub(crate) mod pods;
pub(crate) mod sets;
mod sinks;
pub(crate) mod triggers;
pub(crate) mod watch;
mod watches;

pub(crate) use self::cached::{Cached, Owner, Rollout, controller_of};
pub use self::caches::Caches;
pub(crate) use self::kind::Kind;
pub(crate) use self::kinds::GroupService;
pub use self::triggers::Triggers;
pub(crate) use self::watches::{WATCHED, start};

/// Why the process ends when it finds that the versions of the store count anew.
pub(crate) const OLDER_STORE: &str =
    "found a store that is older than before, as after a backup was restored: everything has to be read anew";

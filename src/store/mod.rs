//! What this replica knows of the cluster: a cache of each kind, the watches that fill them, and how current they are.

pub mod cache;
pub mod sets;
pub mod watch;

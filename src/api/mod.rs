//! The custom resources of group `k8s.atomix.io`, and the names, labels and annotations that go with them.

pub(crate) mod canary;
pub(crate) mod conditions;
pub mod crds;
mod election;
pub(crate) mod labels;
pub(crate) mod names;
mod partition;
mod partition_set;
pub(crate) mod protocol;
mod schema;

pub use election::ElectionStatus;
pub use partition::{Partition, PartitionSpec, PartitionStatus};
pub use partition_set::{
    ClaimRetentionPolicy, PartitionSet, PartitionSetSpec, PartitionSetStatus, PartitionTemplate, RetentionAction,
    TemplateMetadata, TemplateSpec,
};
pub use protocol::Protocol;

/// API group of both custom resources.
pub const GROUP: &str = "k8s.atomix.io";
/// The one served and stored version, which the derives of both types repeat. Another one is a type of its own, a second
/// version in [`crds`], and its place in `webhook-tests`' reference of the fields.
pub const VERSION: &str = "v1alpha1";
/// Most partitions that one set may have.
pub const MAX_PARTITIONS: i64 = 1000;
/// Most pods that one partition may have.
pub const MAX_SIZE: i64 = 21;
/// Partitions, pods per partition and concurrently rolling partitions by default.
pub const DEFAULT_COUNT: i64 = 1;
/// Longest `spec.config`, in bytes.
pub const MAX_CONFIG_BYTES: usize = 16 * 1024;
/// Most environment variables that a user may add to the nodes.
pub const MAX_ENV: usize = 256;

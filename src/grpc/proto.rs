//! The code that is generated from `proto/`.
#![allow(
    missing_docs,
    clippy::pedantic,
    reason = "generated; the comments of the definitions become the documentation where they have any"
)]

/// `atomix.controller`: the service and its messages.
pub mod controller {
    tonic::include_proto!("atomix.controller");
}

/// `atomix.protocols`: the options of each protocol.
pub mod protocols {
    /// Of the `backup` protocol.
    pub mod backup {
        tonic::include_proto!("atomix.protocols.backup");
    }
    /// Of the `log` protocol.
    pub mod log {
        tonic::include_proto!("atomix.protocols.log");
    }
    /// Of the `raft` protocol.
    pub mod raft {
        tonic::include_proto!("atomix.protocols.raft");
    }
}

/// All of it as a `FileDescriptorSet`, for reflection.
pub use crate::api::protocol::DESCRIPTORS;

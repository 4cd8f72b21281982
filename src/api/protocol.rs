//! The replication protocols and all facts in which they differ. A new protocol is
//!
//! - a variant with its facts here, also in [`Protocol::ALL`];
//! - a file in `proto/atomix/protocols` with the message of its options, listed in `build.rs` and in `grpc/proto.rs`;
//! - its options and message in `docs/partition-sets.md` and `docs/compatibility.md`, and its tests.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `proto/` as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// Replication protocol of a partition.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Strongly consistent, persistent consensus.
    Raft,
    /// In-memory primary-backup replication.
    Backup,
    /// Primary-backup persistent distributed log.
    Log,
}

/// The facts of a protocol.
#[derive(Debug)]
pub struct Facts {
    /// The name as `spec.protocol` has it.
    pub name: &'static str,
    /// The name in a sentence.
    pub title: &'static str,
    /// Full name of the protobuf message with the options.
    pub options: &'static str,
    /// Image of the nodes where neither the set nor the controller names one.
    pub default_image: &'static str,
    /// Whether that image is known to have been published.
    pub is_published: bool,
    /// Whether the number of pods of a partition can change.
    pub is_resizable: bool,
    /// Whether a partition works only with a majority of its pods. One of the others tolerates the loss of one pod.
    pub needs_majority: bool,
    /// Seconds that a pod has to be ready before it counts: a new member first catches up.
    pub min_ready_seconds: i32,
}

const RAFT: Facts = Facts {
    name: "raft",
    title: "Raft",
    options: "atomix.protocols.raft.RaftProtocol",
    default_image: "atomix/atomix-raft-node:latest",
    is_published: true,
    is_resizable: false,
    needs_majority: true,
    min_ready_seconds: 10,
};
const BACKUP: Facts = Facts {
    name: "backup",
    title: "primary-backup",
    options: "atomix.protocols.backup.BackupProtocol",
    default_image: "atomix/atomix-backup-node:latest",
    is_published: false,
    is_resizable: true,
    needs_majority: false,
    min_ready_seconds: 0,
};
const LOG: Facts = Facts {
    name: "log",
    title: "distributed log",
    options: "atomix.protocols.log.LogProtocol",
    default_image: "atomix/atomix-log-node:latest",
    ..BACKUP
};

impl Protocol {
    /// All protocols, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Raft, Self::Backup, Self::Log];

    /// What is particular to the protocol.
    #[must_use]
    pub const fn facts(self) -> &'static Facts {
        match self {
            Self::Raft => &RAFT,
            Self::Backup => &BACKUP,
            Self::Log => &LOG,
        }
    }

    /// The protocol of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }

    /// The name as `spec.protocol` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// Descriptor of the options. The descriptors of all protocols are part of the program.
    pub(crate) fn options(self) -> Option<MessageDescriptor> {
        POOL.as_ref()?.get_message_by_name(self.facts().options)
    }

    /// How many of `size` pods a partition can lose and still work. A majority of 2f + 1 pods remains without f of them.
    pub(crate) fn tolerated_failures(self, size: i64) -> i64 {
        if self.facts().needs_majority { (size - 1) / 2 } else { 1.min(size - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_has_its_name_and_options() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::parse(protocol.as_str()), Some(protocol));
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
            assert!(protocol.options().is_some(), "{protocol:?}");
        }
        assert_eq!(Protocol::parse("paxos"), None);
    }

    #[test]
    fn a_majority_remains_after_the_tolerated_failures() {
        let tolerated = |protocol: Protocol| [1, 2, 3, 4, 5].map(|size| protocol.tolerated_failures(size));
        assert_eq!(tolerated(Protocol::Raft), [0, 0, 1, 1, 2]);
        assert_eq!(tolerated(Protocol::Log), [0, 1, 1, 1, 1]);
    }
}

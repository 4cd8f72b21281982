//! The options that each protocol has (contract, section 4).

use crate::api::Protocol;

/// One option of a protocol, named in camelCase; nodes also read it in `snake_case`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigOption {
    pub name: &'static str,
    pub kind: Kind,
}

/// What an option holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Duration,
    Boolean,
    /// A path on a node's volume.
    Path,
    /// A share: a number that is greater than 0 and less than 1.
    Ratio,
    Uint32,
    Uint64,
    Choice(&'static [&'static str]),
    Group(&'static [ConfigOption]),
}

const fn option(name: &'static str, kind: Kind) -> ConfigOption {
    ConfigOption { name, kind }
}

const STORAGE: ConfigOption = option(
    "storage",
    Kind::Group(&[
        option("directory", Kind::Path),
        option("level", Kind::Choice(&["DISK", "MAPPED"])),
        option("maxEntrySize", Kind::Uint32),
        option("segmentSize", Kind::Uint32),
        option("flushOnCommit", Kind::Boolean),
    ]),
);
const ELECTION_TIMEOUT: ConfigOption = option("electionTimeout", Kind::Duration);
const HEARTBEAT_INTERVAL: ConfigOption = option("heartbeatInterval", Kind::Duration);
const MEMBER_GROUP_STRATEGY: ConfigOption =
    option("memberGroupStrategy", Kind::Choice(&["HOST_AWARE", "RACK_AWARE", "ZONE_AWARE"]));
const DYNAMIC: ConfigOption = option("dynamic", Kind::Boolean);
const FREE_DISK: ConfigOption = option("freeDiskBuffer", Kind::Ratio);
const FREE_MEMORY: ConfigOption = option("freeMemoryBuffer", Kind::Ratio);
const SIZE: ConfigOption = option("size", Kind::Uint64);
const AGE: ConfigOption = option("age", Kind::Duration);

const RAFT: &[ConfigOption] = &[
    ELECTION_TIMEOUT,
    HEARTBEAT_INTERVAL,
    STORAGE,
    option("compaction", Kind::Group(&[DYNAMIC, FREE_DISK, FREE_MEMORY])),
];
const LOG: &[ConfigOption] =
    &[MEMBER_GROUP_STRATEGY, STORAGE, option("compaction", Kind::Group(&[DYNAMIC, FREE_DISK, SIZE, AGE]))];
const BACKUP: &[ConfigOption] = &[MEMBER_GROUP_STRATEGY];
const ANY: &[ConfigOption] = &[
    ELECTION_TIMEOUT,
    HEARTBEAT_INTERVAL,
    MEMBER_GROUP_STRATEGY,
    STORAGE,
    option("compaction", Kind::Group(&[DYNAMIC, FREE_DISK, FREE_MEMORY, SIZE, AGE])),
];

/// The options of `protocol`; those of all protocols together if it is not known which one is meant, so that a wrong
/// protocol does not hide a wrong option.
pub(super) const fn of(protocol: Option<Protocol>) -> &'static [ConfigOption] {
    match protocol {
        Some(Protocol::Raft) => RAFT,
        Some(Protocol::Log) => LOG,
        Some(Protocol::Backup) => BACKUP,
        None => ANY,
    }
}

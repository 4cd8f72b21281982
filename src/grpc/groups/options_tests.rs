use proptest::option;
use proptest::prelude::*;
use prost_types::Duration;

use super::*;
use crate::grpc::proto::protocols::{backup, log, raft};

const PATH: &str = "config";

fn packed(protocol: Protocol, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", protocol.facts().options), value: message.encode_to_vec() }
}

fn rejected(any: &Any) -> Vec<String> {
    Options::of_any(any).expect_err("rejected").iter().map(ToString::to_string).collect()
}

/// YAML as it would be stored, and back.
fn through_yaml(options: &Options) -> Options {
    let text = options.to_config().unwrap().unwrap_or_default();
    Options::of_config(options.protocol, &text, PATH).unwrap_or_else(|violations| panic!("{text}\n{violations:?}"))
}

#[test]
fn the_yaml_is_what_a_person_would_write() {
    let message = raft::RaftProtocol {
        election_timeout: Some(Duration { seconds: 5, nanos: 0 }),
        heartbeat_interval: Some(Duration { seconds: 0, nanos: 500_000_000 }),
        storage: Some(raft::StorageSpec { level: 1, segment_size: 1024, ..Default::default() }),
        compaction: Some(raft::CompactionSpec { dynamic: true, free_disk_buffer: 0.2, ..Default::default() }),
    };
    let options = Options::of_any(&packed(Protocol::Raft, &message)).unwrap();
    assert_eq!(
        options.to_config().unwrap().unwrap(),
        "compaction:\n  dynamic: true\n  freeDiskBuffer: 0.2\nelectionTimeout: 5s\nheartbeatInterval: 500ms\n\
         storage:\n  level: MAPPED\n  segmentSize: 1024\n"
    );
}

#[test]
fn zeros_are_nothing_to_say() {
    let zeros = raft::RaftProtocol {
        election_timeout: Some(Duration::default()),
        heartbeat_interval: None,
        storage: Some(raft::StorageSpec::default()),
        compaction: Some(raft::CompactionSpec { free_disk_buffer: -0.0, ..Default::default() }),
    };
    let options = Options::of_any(&packed(Protocol::Raft, &zeros)).unwrap();
    assert_eq!(options.to_config().unwrap(), None);
    let text = "storage: {level: DISK, maxEntrySize: 0, flushOnCommit: false}\ncompaction: {dynamic: false}";
    assert_eq!(Options::of_config(Protocol::Raft, text, PATH), Ok(options.clone()));
    assert_eq!(options.to_any(), packed(Protocol::Raft, &raft::RaftProtocol::default()));
}

#[test]
fn the_type_is_what_follows_the_last_slash() {
    for url in ["", "type.googleapis.com/", "https://example.org/a/"] {
        let any = Any { type_url: format!("{url}atomix.protocols.log.LogProtocol"), value: Vec::new() };
        assert_eq!(Options::of_any(&any).unwrap().protocol, Protocol::Log);
    }
    for name in ["", "atomix.protocols.raft", "type.googleapis.com/google.protobuf.Duration", "x/"] {
        let [message] = &rejected(&Any { type_url: name.to_owned(), value: Vec::new() })[..] else { panic!() };
        let known = "supported values: \"atomix.protocols.raft.RaftProtocol\", \"atomix.protocols.backup.BackupProtocol\", \"atomix.protocols.log.LogProtocol\"";
        assert!(
            message.starts_with("spec.protocol.type_url: Unsupported value: ") && message.ends_with(known),
            "{message}"
        );
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_field() {
    let raft = |election: (i64, i32)| raft::RaftProtocol {
        election_timeout: Some(Duration { seconds: election.0, nanos: election.1 }),
        ..Default::default()
    };
    let negative = "must be a duration of 0 or more";
    let too_long = "must be at most 87660000h, the longest duration in the configuration of a node";
    for (wrong, words) in [
        ((-1, 0), negative),
        ((0, -1), negative),
        ((1, -1), negative),
        ((0, 1_000_000_000), negative),
        ((i64::MIN, i32::MIN), negative),
        ((315_576_000_001, 0), too_long),
    ] {
        assert_eq!(
            rejected(&packed(Protocol::Raft, &raft(wrong))),
            [format!("spec.protocol.election_timeout: Invalid value: {wrong:?}: {words}")]
        );
    }
    for wrong in [f64::NAN, f64::INFINITY, -0.5, 1.0] {
        let log = log::LogProtocol {
            member_group_strategy: 7,
            storage: Some(log::StorageSpec { level: -1, ..Default::default() }),
            compaction: Some(log::CompactionSpec { free_disk_buffer: wrong, ..Default::default() }),
        };
        assert_eq!(
            rejected(&packed(Protocol::Log, &log)),
            [
                "spec.protocol.member_group_strategy: Unsupported value: \"7\": supported values: \"HOST_AWARE\", \"RACK_AWARE\", \"ZONE_AWARE\"".to_owned(),
                "spec.protocol.storage.level: Unsupported value: \"-1\": supported values: \"DISK\", \"MAPPED\"".to_owned(),
                format!("spec.protocol.compaction.free_disk_buffer: Invalid value: {wrong:?}: must be greater than 0 and less than 1"),
            ]
        );
    }
}

#[test]
fn a_field_of_a_newer_client_is_not_lost_without_a_word() {
    // Field 99 of the message, and field 30 of its storage: both varints.
    let unknown: [(&[u8], &str); 2] = [
        (&[0x98, 0x06, 1], "spec.protocol: Invalid value: field 99"),
        (&[0x1a, 3, 0xf0, 0x01, 1], "spec.protocol.storage: Invalid value: field 30"),
    ];
    for (value, start) in unknown {
        let any = Any { value: value.to_vec(), ..packed(Protocol::Raft, &raft::RaftProtocol::default()) };
        let [message] = &rejected(&any)[..] else { panic!() };
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    for value in [&[0xff][..], &[0x0a, 5, 1], &[0x0a, 2, 0xff, 0xff], &[0x1a, 4, 0x82, 0x01, 1, 0xff]] {
        let any = Any { value: value.to_vec(), ..packed(Protocol::Raft, &raft::RaftProtocol::default()) };
        let [message] = &rejected(&any)[..] else { panic!() };
        assert!(message.starts_with("spec.protocol: Invalid value: "), "{message}");
    }
}

#[test]
fn any_bytes_at_all_are_read_or_refused() {
    proptest!(|(value in proptest::collection::vec(any::<u8>(), 0..64), index in 0..3_usize)| {
        let any = Any { type_url: Protocol::ALL[index].facts().options.to_owned(), value };
        if let Ok(options) = Options::of_any(&any) {
            // Timings that only admission judges are the one thing that YAML may refuse.
            let text = options.to_config().unwrap().unwrap_or_default();
            if let Ok(back) = Options::of_config(options.protocol, &text, PATH) {
                prop_assert_eq!(back, options);
            }
        }
    });
}

prop_compose! {
    fn time(longest: i64)(seconds in 0..longest, nanos in 0..1_000_000_000_i32) -> Duration {
        Duration { seconds, nanos }
    }
}

fn fraction() -> impl Strategy<Value = f64> {
    // Zero says nothing.
    prop_oneof![Just(0.0), 0.0..1.0]
}

prop_compose! {
    fn raft_options()(
        election in option::of(time(1000)),
        heartbeat in option::of(time(1)),
        storage in option::of((any::<u32>(), any::<u32>(), 0..2_i32, any::<bool>(), any::<String>())),
        compaction in option::of((any::<bool>(), fraction(), fraction())),
    ) -> raft::RaftProtocol {
        raft::RaftProtocol {
            // Longer than any heartbeat that is drawn, since admission asks for it.
            election_timeout: election.map(|time| Duration { seconds: time.seconds + 1, ..time }),
            heartbeat_interval: heartbeat,
            storage: storage.map(|(max_entry_size, segment_size, level, flush_on_commit, directory)| raft::StorageSpec {
                max_entry_size, segment_size, level, flush_on_commit, directory,
            }),
            compaction: compaction.map(|(dynamic, free_disk_buffer, free_memory_buffer)| raft::CompactionSpec {
                dynamic, free_disk_buffer, free_memory_buffer,
            }),
        }
    }
}

prop_compose! {
    fn log_options()(
        member_group_strategy in 0..3_i32,
        storage in option::of((any::<u32>(), any::<u32>(), 0..2_i32, any::<bool>(), any::<String>())),
        compaction in option::of((any::<bool>(), fraction(), any::<u64>(), option::of(time(315_576_000_000)))),
    ) -> log::LogProtocol {
        log::LogProtocol {
            member_group_strategy,
            storage: storage.map(|(max_entry_size, segment_size, level, flush_on_commit, directory)| log::StorageSpec {
                max_entry_size, segment_size, level, flush_on_commit, directory,
            }),
            compaction: compaction.map(|(dynamic, free_disk_buffer, size, age)| log::CompactionSpec {
                dynamic, free_disk_buffer, size, age,
            }),
        }
    }
}

/// The same with nothing that is zero.
fn tidied_raft(mut message: raft::RaftProtocol) -> raft::RaftProtocol {
    message.election_timeout = message.election_timeout.filter(|time| *time != Duration::default());
    message.heartbeat_interval = message.heartbeat_interval.filter(|time| *time != Duration::default());
    message.storage = message.storage.filter(|storage| *storage != raft::StorageSpec::default());
    message.compaction = message.compaction.filter(|compaction| *compaction != raft::CompactionSpec::default());
    message
}

fn tidied_log(mut message: log::LogProtocol) -> log::LogProtocol {
    if let Some(compaction) = &mut message.compaction {
        compaction.age = compaction.age.filter(|time| *time != Duration::default());
    }
    message.storage = message.storage.filter(|storage| *storage != log::StorageSpec::default());
    message.compaction = message.compaction.filter(|compaction| *compaction != log::CompactionSpec::default());
    message
}

#[test]
fn no_option_is_lost_from_any_to_yaml_and_back() {
    proptest!(|(raft in raft_options(), log in log_options(), strategy in 0..3_i32)| {
        let options = Options::of_any(&packed(Protocol::Raft, &raft)).unwrap();
        prop_assert_eq!(through_yaml(&options).to_any(), packed(Protocol::Raft, &tidied_raft(raft)));
        let options = Options::of_any(&packed(Protocol::Log, &log)).unwrap();
        prop_assert_eq!(through_yaml(&options).to_any(), packed(Protocol::Log, &tidied_log(log)));
        let backup = packed(Protocol::Backup, &backup::BackupProtocol { member_group_strategy: strategy });
        prop_assert_eq!(through_yaml(&Options::of_any(&backup).unwrap()).to_any(), backup);
    });
}

/// Options as a user may write them, by protocol.
fn written() -> impl Strategy<Value = (Protocol, String)> {
    let number = || any::<u32>().prop_map(|number| number.to_string());
    let flag = || any::<bool>().prop_map(|flag| flag.to_string());
    let part = || prop_oneof![Just("0.25".to_owned()), Just("1e-7".to_owned()), Just(".5".to_owned())];
    let choice = |names: &'static [&'static str]| proptest::sample::select(names).prop_map(str::to_owned);
    let value = move |name: &str| match name {
        "directory" => any::<String>().prop_map(|text| Json::from(text).to_string().replace('\u{7f}', "")).boxed(),
        "level" => choice(&["DISK", "MAPPED"]).boxed(),
        "maxEntrySize" | "segment_size" => number().boxed(),
        "flushOnCommit" | "dynamic" => flag().boxed(),
        "freeDiskBuffer" | "free_memory_buffer" => part().boxed(),
        "size" => any::<u64>().prop_map(|size| size.to_string()).boxed(),
        "memberGroupStrategy" => choice(&["HOST_AWARE", "RACK_AWARE", "ZONE_AWARE"]).boxed(),
        "heartbeat_interval" => choice(&["1ms", "0.5s", "250us"]).boxed(),
        _ => choice(&["5s", "1m30s", "2.5s", "1h"]).boxed(),
    };
    let group = move |names: &'static [&'static str]| {
        let fields: Vec<_> =
            names.iter().map(|name| option::of(value(name)).prop_map(move |value| (*name, value))).collect();
        fields.prop_map(|fields| {
            let fields: Vec<String> =
                fields.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect();
            format!("{{{}}}", fields.join(", "))
        })
    };
    let storage = move || group(&["directory", "level", "maxEntrySize", "segment_size", "flushOnCommit"]);
    prop_oneof![
        (
            group(&["electionTimeout", "heartbeat_interval"]),
            storage(),
            group(&["dynamic", "freeDiskBuffer", "free_memory_buffer"])
        )
            .prop_map(|(timings, storage, compaction)| (Protocol::Raft, timings, storage, compaction)),
        (group(&["memberGroupStrategy"]), storage(), group(&["dynamic", "freeDiskBuffer", "size", "age"]))
            .prop_map(|(strategy, storage, compaction)| (Protocol::Log, strategy, storage, compaction)),
    ]
    .prop_map(|(protocol, own, storage, compaction)| {
        let own = own.trim_end_matches('}');
        let comma = if own == "{" { "" } else { ", " };
        (protocol, format!("{own}{comma}storage: {storage}, compaction: {compaction}}}"))
    })
}

#[test]
fn no_option_is_lost_from_yaml_to_any_and_back() {
    proptest!(|((protocol, text) in written())| {
        let options = Options::of_config(protocol, &text, PATH).unwrap_or_else(|violations| panic!("{text}\n{violations:?}"));
        prop_assert_eq!(&Options::of_any(&options.to_any()).unwrap(), &options);
        // The nodes' configuration is the same, but for zeros.
        let nodes = |text: &str| without_zeros(Json::Object(config::check(text, Some(protocol), PATH).unwrap()));
        let back = through_yaml(&options);
        prop_assert_eq!(nodes(&back.to_config().unwrap().unwrap_or_default()), nodes(&text));
    });
}

fn without_zeros(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, without_zeros(value)));
            let zero = |value: &Json| {
                matches!(value.as_f64(), Some(0.0))
                    || value == &Json::from(false)
                    || value == &Json::from("")
                    || ["0", "DISK", "HOST_AWARE"].iter().any(|zero| value == zero)
                    || value.as_object().is_some_and(Map::is_empty)
            };
            Json::Object(fields.filter(|(_, value)| !zero(value)).collect())
        }
        Json::Number(number) => Json::from(number.as_f64()),
        other => other,
    }
}

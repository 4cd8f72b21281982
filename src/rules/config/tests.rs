use super::*;

const PATH: &str = "config";

fn accepted(text: &str, protocol: Protocol) -> String {
    match check(text, Some(protocol), PATH) {
        Ok(options) => protobuf_json(&options),
        Err(violations) => panic!("{text}: {violations:?}"),
    }
}

fn rejected(text: &str, protocol: Option<Protocol>) -> Vec<String> {
    check(text, protocol, PATH).expect_err(text).iter().map(ToString::to_string).collect()
}

#[test]
fn the_seed_documents_options_become_protobuf_json() {
    let text = "electionTimeout: 5s\nheartbeatInterval: 1s\n";
    assert_eq!(accepted(text, Protocol::Raft), r#"{"electionTimeout":"5s","heartbeatInterval":"1s"}"#);
}

#[test]
fn durations_are_never_numbers_for_the_nodes() {
    // The original wrote nanosecond integers, which the nodes refuse.
    assert_eq!(accepted("heartbeat_interval: 500ms", Protocol::Raft), r#"{"heartbeatInterval":"0.5s"}"#);
}

#[test]
fn nothing_given_is_an_empty_object() {
    for text in ["", " \n", "{}", "# only a comment", "null", "electionTimeout:"] {
        assert_eq!(accepted(text, Protocol::Raft), "{}", "{text:?}");
    }
}

#[test]
fn every_option_of_every_protocol_is_read() {
    let raft = "{electionTimeout: 2s, heartbeatInterval: 10ms, storage: {directory: /d, level: MAPPED, maxEntrySize: 1024, \
                segmentSize: 33554432, flushOnCommit: true}, compaction: {dynamic: false, freeDiskBuffer: 0.2, freeMemoryBuffer: 0.1}}";
    assert_eq!(
        serde_json::from_str::<Value>(&accepted(raft, Protocol::Raft)).unwrap(),
        serde_json::json!({
            "electionTimeout": "2s", "heartbeatInterval": "0.01s",
            "storage": {"directory": "/d", "level": "MAPPED", "maxEntrySize": 1024, "segmentSize": 33_554_432, "flushOnCommit": true},
            "compaction": {"dynamic": false, "freeDiskBuffer": 0.2, "freeMemoryBuffer": 0.1},
        })
    );
    let log = "memberGroupStrategy: ZONE_AWARE\ncompaction: {size: 1000000000000, age: 24h, free_disk_buffer: 0.5}";
    assert_eq!(
        serde_json::from_str::<Value>(&accepted(log, Protocol::Log)).unwrap(),
        serde_json::json!({
            "memberGroupStrategy": "ZONE_AWARE",
            "compaction": {"size": "1000000000000", "age": "86400s", "freeDiskBuffer": 0.5},
        })
    );
    assert_eq!(
        accepted("member_group_strategy: HOST_AWARE", Protocol::Backup),
        r#"{"memberGroupStrategy":"HOST_AWARE"}"#
    );
}

#[test]
fn an_unknown_option_is_named_with_its_path() {
    assert_eq!(
        rejected("electionTimout: 5s", Some(Protocol::Raft)),
        [
            r#"config.electionTimout: Unsupported value: "electionTimout": supported values: "electionTimeout", "heartbeatInterval", "storage", "compaction""#
        ]
    );
    assert_eq!(
        rejected("storage: {levle: DISK}", Some(Protocol::Log)),
        [
            r#"config.storage.levle: Unsupported value: "levle": supported values: "maxEntrySize", "segmentSize", "level", "flushOnCommit", "directory""#
        ]
    );
    assert_eq!(rejected("electionTimeout: 5s", Some(Protocol::Backup)).len(), 1);
}

#[test]
fn an_unknown_protocol_is_judged_by_the_options_of_all() {
    assert!(check("{electionTimeout: 9s, memberGroupStrategy: HOST_AWARE, compaction: {age: 1h}}", None, PATH).is_ok());
    assert_eq!(rejected("electionTimout: 5s", None).len(), 1);
}

#[test]
fn mistyped_options_are_all_reported() {
    let text = "electionTimeout: 5\nheartbeatInterval: 5 s\nstorage: {level: disk, maxEntrySize: -1, segmentSize: 4294967296, flushOnCommit: yes}\ncompaction: []";
    let mut messages = rejected(text, Some(Protocol::Raft));
    messages.sort();
    assert_eq!(
        messages,
        [
            r#"config.compaction: Invalid value: "array": must be a mapping of options"#,
            r#"config.electionTimeout: Invalid value: "integer": must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m"#,
            r#"config.heartbeatInterval: Invalid value: "5 s": must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m"#,
            r#"config.storage.flushOnCommit: Invalid value: "string": must be true or false"#,
            r#"config.storage.level: Unsupported value: "disk": supported values: "DISK", "MAPPED""#,
            "config.storage.maxEntrySize: Invalid value: -1: must be an integer from 0 to 4294967295",
            "config.storage.segmentSize: Invalid value: 4294967296: must be an integer from 0 to 4294967295",
        ]
    );
}

#[test]
fn one_option_under_both_spellings_is_a_duplicate() {
    assert_eq!(
        rejected("{electionTimeout: 5s, election_timeout: 6s}", Some(Protocol::Raft)),
        [r#"config.election_timeout: Duplicate value: "electionTimeout""#]
    );
}

#[test]
fn a_heartbeat_must_be_shorter_than_the_election_timeout() {
    assert_eq!(
        rejected("{electionTimeout: 5s, heartbeatInterval: 5s}", Some(Protocol::Raft)),
        [r#"config.heartbeatInterval: Invalid value: "5s": must be less than electionTimeout (5s)"#]
    );
    assert_eq!(
        rejected("electionTimeout: 100ms", Some(Protocol::Raft)),
        [
            r#"config.electionTimeout: Invalid value: "100ms": must be greater than heartbeatInterval (500ms by default)"#
        ]
    );
}

#[test]
fn the_message_about_a_long_duration_has_the_bound_and_that_about_a_short_one_shows_it_as_it_is_written() {
    let too_long = "Invalid value: \"9999999999999h\": must be at most 87660000h, the longest duration in the configuration of a node";
    for (option, protocol) in
        [("electionTimeout", Protocol::Raft), ("heartbeatInterval", Protocol::Raft), ("compaction.age", Protocol::Log)]
    {
        let text = match option.split_once('.') {
            Some((group, option)) => format!("{group}: {{{option}: 9999999999999h}}"),
            None => format!("{option}: 9999999999999h"),
        };
        assert_eq!(rejected(&text, Some(protocol)), [format!("config.{option}: {too_long}")]);
    }
    assert_eq!(
        rejected("electionTimeout: 1ns", Some(Protocol::Raft)),
        [r#"config.electionTimeout: Invalid value: "1ns": must be greater than heartbeatInterval (500ms by default)"#]
    );
}

#[test]
fn paths_have_no_control_characters() {
    for (written, shown) in [("\\0", "\\0"), ("/a\\nb", "/a\\nb"), ("\\x7f", "\\u{7f}"), ("\\x01", "\\u{1}")] {
        let wanted =
            format!("config.storage.directory: Invalid value: \"{shown}\": must not contain control characters");
        assert_eq!(rejected(&format!("storage: {{directory: \"{written}\"}}"), Some(Protocol::Raft)), [wanted]);
    }
    assert!(check("storage: {directory: /é ü}", Some(Protocol::Raft), PATH).is_ok());
}

#[test]
fn shares_are_between_nothing_and_all() {
    const RATIO: &str = "must be greater than 0 and less than 1";
    for (written, shown) in [
        ("0", "0"),
        ("1", "1"),
        ("-0.5", "-0.5"),
        (".inf", ".inf"),
        ("-.inf", "-.inf"),
        (".nan", ".nan"),
        ("1e400", ".inf"),
    ] {
        for option in ["freeDiskBuffer", "freeMemoryBuffer"] {
            let wanted = format!("config.compaction.{option}: Invalid value: {shown}: {RATIO}");
            assert_eq!(rejected(&format!("compaction: {{{option}: {written}}}"), Some(Protocol::Raft)), [wanted]);
        }
    }
    assert_eq!(
        accepted("compaction: {freeDiskBuffer: 1e-1}", Protocol::Raft),
        r#"{"compaction":{"freeDiskBuffer":0.1}}"#
    );
}

#[test]
fn numbers_are_those_of_yaml_1_2() {
    assert_eq!(
        accepted("storage: {segmentSize: 017, maxEntrySize: 1e3}", Protocol::Raft),
        r#"{"storage":{"maxEntrySize":1000,"segmentSize":17}}"#
    );
    for (written, kind) in [("1_000", "string"), ("0b11", "string"), (".nan", "number"), ("1.5", "number")] {
        let wanted = format!("config.storage.segmentSize: Invalid value: {kind:?}: must be an integer");
        assert_eq!(rejected(&format!("storage: {{segmentSize: {written}}}"), Some(Protocol::Raft)), [wanted]);
    }
    let unit = "must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m";
    for (written, kind) in [("5", "integer"), ("017", "integer"), ("5.0", "integer"), ("5.5", "number")] {
        let wanted = format!("config.electionTimeout: Invalid value: {kind:?}: {unit}");
        assert_eq!(rejected(&format!("electionTimeout: {written}"), Some(Protocol::Raft)), [wanted]);
    }
    // What is a text stays as it is written.
    assert_eq!(accepted("storage: {directory: 1_000}", Protocol::Raft), r#"{"storage":{"directory":"1_000"}}"#);
}

#[test]
fn a_key_that_stands_twice_is_named() {
    assert_eq!(
        rejected("storage: {level: DISK, level: DISK}", Some(Protocol::Raft)),
        [r#"config.storage.level: Duplicate value: "level""#]
    );
    assert_eq!(
        rejected("electionTimeout: 5s\nelectionTimeout: 6s\n", Some(Protocol::Raft)),
        [r#"config.electionTimeout: Duplicate value: "electionTimeout""#]
    );
}

#[test]
fn hostile_text_is_refused_without_harm() {
    let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1)
    });
    for text in [
        "a: [",
        "a: 1\na: 2",
        "- a",
        "just text",
        "a: 1\n---\nb: 2",
        "? {x: y}\n: z",
        bomb.as_str(),
        &"[".repeat(10_000),
        "a: !!binary x",
        "\u{0}",
        "1: 2",
    ] {
        assert!(check(text, Some(Protocol::Raft), PATH).is_err(), "{text:.80}");
    }
    assert_eq!(
        rejected(&"#".repeat(MAX_CONFIG_BYTES + 1), None),
        ["config: Too long: may not be more than 16384 bytes"]
    );
}

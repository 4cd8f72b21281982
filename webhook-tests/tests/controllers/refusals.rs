//! What the API server or a policy refuses is reported in its own words, however often it is tried. A contest is something
//! else, and is over soon after the last foreign write.

use std::collections::HashSet;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use webhook_tests::{Kubectl, harness};

use crate::pods::{await_told, limit};
use crate::rolling::patch_template;
use crate::support::policy::{Kinds, Policy};
use crate::support::{SOON, await_ready, condition, create_ready, is_ready, items, sandbox, set, text};

/// More tries than the repairs of an object that may follow each other.
const TRIES: usize = 7;
/// How long a set may be unready after the last write of another client that contested one of its objects.
const CONTEST_OVER: Duration = Duration::from_secs(30);

/// How long a refusal may be reported after its cause is gone: far less than a minute, the longest back-off.
const CAUSE_GONE: Duration = Duration::from_secs(20);

/// How often the controller was refused a request for a kind in the namespace with that code.
fn refused(kubectl: &Kubectl, resource: &str, code: u16) -> usize {
    let audit = harness().control_plane().audit();
    let refused = audit.iter().filter(|entry| {
        entry.namespace == kubectl.namespace() && entry.resource == resource && entry.code == code && entry.is_write()
    });
    refused.count()
}

/// Changes the set again and again while what the controller writes is refused. Each time, the reason stays the same and
/// has all of these words.
#[track_caller]
fn assert_quoted(kubectl: &Kubectl, reason: &str, words: &[&str], change: impl Fn(usize)) {
    let generation = |partition: &Value| partition["metadata"]["generation"].as_u64().expect("a generation");
    for number in 0..TRIES {
        let before = generation(&kubectl.get_json(&["partition", "w-1"]));
        change(number);
        let found = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
            let current = generation(&found[0]);
            let stalled = condition(&found[0], "Stalled");
            current > before && stalled.is_some_and(|stalled| stalled["observedGeneration"] == current)
        });
        let stalled = condition(&found[0], "Stalled").expect("a condition");
        assert_eq!(stalled["reason"], reason, "try {number}: {stalled}");
        for word in words {
            assert!(text(stalled, "/message").contains(word), "try {number}: {stalled}");
        }
    }
}

/// Waits until the set is Ready, and checks that nothing speaks of a contest.
#[track_caller]
fn assert_recovered(kubectl: &Kubectl) {
    let set = await_ready(kubectl, "w");
    assert!(condition(&set, "Stalled").is_none(), "{set:#}");
    let events = items(kubectl, &["events.events.k8s.io"]);
    let contested: Vec<_> = events.iter().filter(|event| event["reason"] == "Contested").collect();
    assert!(contested.is_empty(), "{contested:#?}");
}

fn label(kubectl: &Kubectl, number: usize) {
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"try": format!("n{number}")}}}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
}

fn refuse_updates(prefix: &str, kinds: &[(&str, &str)], reason: &str, code: u16) {
    let (_namespace, kubectl) = sandbox(prefix);
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let policy = Policy::refusing(&kubectl, kinds, &["UPDATE"], reason, "frozen until Monday");
    assert_quoted(&kubectl, "Refused", &["frozen until Monday"], |number| label(&kubectl, number));
    let resource = kinds[0].1;
    assert!(refused(&kubectl, resource, code) >= TRIES, "{} tries", refused(&kubectl, resource, code));
    policy.remove();
    kubectl.wait_until(&["partitionset", "w"], CAUSE_GONE, |found| is_ready(&found[0]));
    assert_recovered(&kubectl);
}

#[test]
fn updates_of_stateful_sets_that_a_policy_forbids_are_no_contest() {
    refuse_updates("forbidden-pods", &[("apps", "statefulsets")], "Forbidden", 403);
}

#[test]
fn updates_of_stateful_sets_that_a_policy_finds_invalid_are_no_contest_and_not_the_template_s_fault() {
    refuse_updates("invalid-pods", &[("apps", "statefulsets")], "Invalid", 422);
}

#[test]
fn updates_of_config_maps_that_a_policy_forbids_are_no_contest() {
    refuse_updates("forbidden-files", &[("", "configmaps")], "Forbidden", 403);
}

#[test]
fn updates_of_services_that_a_policy_finds_invalid_are_no_contest() {
    refuse_updates("invalid-services", &[("", "services")], "Invalid", 422);
}

#[test]
fn updates_of_budgets_that_a_policy_forbids_are_no_contest() {
    refuse_updates("forbidden-budgets", &[("policy", "poddisruptionbudgets")], "Forbidden", 403);
}

#[test]
fn updates_on_which_a_mutating_policy_fails_are_told_with_its_name() {
    let (_namespace, kubectl) = sandbox("failing-policy");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let patch = r#"[JSONPatch{op: "remove", path: "/nowhere"}]"#;
    let policy = Policy::mutating(&kubectl, &[("", "configmaps")], &["UPDATE"], patch);
    label(&kubectl, 0);
    await_stalled(&kubectl, "Refused", &[r#"ConfigMap "w-1-config" is refused: policy '"#, "denied request"]);
    policy.remove();
    kubectl.wait_until(&["partitionset", "w"], CAUSE_GONE, |found| is_ready(&found[0]));
}

#[test]
fn an_eviction_that_will_not_pass_is_told_with_its_cause_and_goes_on_when_that_is_gone() {
    let (_namespace, kubectl) = sandbox("eviction-refused");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let policy = Policy::refusing(&kubectl, &[("", "pods/eviction")], &["CREATE"], "Invalid", "not on Fridays");
    patch_template(&kubectl, &json!({"image": "node:2"}));
    await_stalled(&kubectl, "EvictionRefused", &["outdated pod w-1-", "is not replaced", "not on Fridays"]);
    let second = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "theirs"},
        "spec": {"selector": {}, "maxUnavailable": 1}});
    kubectl.create_stdin(&second.to_string());
    policy.remove();
    await_stalled(&kubectl, "EvictionRefused", &["more than one PodDisruptionBudget", r#""theirs", "w-1-pdb""#]);
    kubectl.ok(&["delete", "poddisruptionbudget", "theirs"]);
    kubectl.wait_until(&["partition", "w-1"], CAUSE_GONE, |found| condition(&found[0], "Stalled").is_none());
    assert!(evictions(&kubectl) > 0);
}

/// Waits until the partition is stalled for that reason, in a message with all of these words.
#[track_caller]
fn await_stalled(kubectl: &Kubectl, reason: &str, words: &[&str]) {
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| {
            stalled["reason"] == reason && words.iter().all(|word| text(stalled, "/message").contains(word))
        })
    });
}

#[test]
fn a_pod_template_that_the_api_server_finds_invalid_is_no_contest() {
    let (_namespace, kubectl) = sandbox("bad-template");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    // Which policies there are depends on how the API server is configured: admission cannot know.
    let context = json!({"seLinuxChangePolicy": "MountOption"});
    assert_quoted(&kubectl, "InvalidPodTemplate", &["seLinuxChangePolicy: Unsupported value"], |number| {
        let env = json!([{"name": "TRY", "value": number.to_string()}]);
        patch_template(&kubectl, &json!({"podSecurityContext": context, "env": env}));
    });
    assert!(refused(&kubectl, "statefulsets", 422) >= TRIES);
    patch_template(&kubectl, &json!({"podSecurityContext": null}));
    assert_recovered(&kubectl);
}

#[test]
fn an_edit_reaches_a_config_map_that_was_made_immutable_and_costs_no_more_pods_than_any() {
    let (_namespace, kubectl) = sandbox("immutable");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    let before = kubectl.get_json(&["configmap", "w-1-config"]);
    kubectl.ok(&["patch", "configmap", "w-1-config", "--type=merge", "-p", r#"{"immutable": true}"#]);

    // Labels of an immutable one can be edited.
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"tier": "gold"}}}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &labels]);
    await_ready(&kubectl, "w");
    let labelled = kubectl.get_json(&["configmap", "w-1-config"]);
    assert_eq!(labelled["metadata"]["labels"]["tier"], "gold");
    assert_eq!(labelled["metadata"]["uid"], before["metadata"]["uid"]);

    let evicted = evictions(&kubectl);
    patch_template(&kubectl, &json!({"config": "memberGroupStrategy: RACK_AWARE"}));
    await_ready(&kubectl, "w");
    let after = kubectl.get_json(&["configmap", "w-1-config"]);
    assert!(text(&after, "/data/protocol.json").contains("RACK_AWARE"), "{after:#}");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(evictions(&kubectl) - evicted, 3, "each pod once");
}

#[test]
fn a_config_map_that_was_made_immutable_with_other_content_is_made_anew_and_costs_no_pod() {
    let (_namespace, kubectl) = sandbox("immutable-edited");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    let before = kubectl.get_json(&["configmap", "w-1-config"]);
    let pods = |kubectl: &Kubectl| -> Vec<Value> {
        items(kubectl, &["pods"]).iter().map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    let running = pods(&kubectl);
    let edit = json!({"immutable": true, "data": {"protocol.json": "theirs"}}).to_string();
    kubectl.ok(&["patch", "configmap", "w-1-config", "--type=merge", "-p", &edit]);
    kubectl.wait_until(&["configmap", "w-1-config"], SOON, |found| {
        found.first().is_some_and(|found| found["data"] == before["data"])
    });
    await_ready(&kubectl, "w");
    assert_eq!(pods(&kubectl), running);
    assert_eq!(evictions(&kubectl), 0);
}

/// Evictions in the namespace that were granted.
pub fn evictions(kubectl: &Kubectl) -> usize {
    let audit = harness().control_plane().audit();
    let granted = audit
        .iter()
        .filter(|entry| entry.subresource == "eviction" && entry.namespace == kubectl.namespace() && entry.code < 400);
    granted.count()
}

#[test]
fn one_edit_after_the_other_is_no_contest() {
    let (_namespace, kubectl) = sandbox("edits");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let last = 2 * TRIES;
    for number in 0..=last {
        label(&kubectl, number);
        let tried = format!("n{number}");
        for object in [
            "partition/w-1",
            "configmap/w-1-config",
            "service/w-1",
            "service/w-1-hs",
            "statefulset/w-1",
            "poddisruptionbudget/w-1-pdb",
        ] {
            kubectl.wait_until(&[object], SOON, |found| found[0]["metadata"]["labels"]["try"] == *tried);
        }
    }
    assert_recovered(&kubectl);
}

#[test]
fn a_set_is_ready_soon_after_a_contest_has_ended() {
    let (_namespace, kubectl) = sandbox("contest-over");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let edit = json!({"spec": {"selector": {"partition": "theirs"}}}).to_string();
    let is_edited = |found: &[Value]| found[0]["spec"]["selector"]["partition"] == "theirs";
    // Until it stays as it was edited for far longer than a repair takes.
    let mut last = Instant::now();
    let contested = (0..12).any(|_| {
        kubectl.ok(&["patch", "service", "w-1", "--type=merge", "-p", &edit]);
        last = Instant::now();
        let repaired = |found: &[Value]| !is_edited(found);
        kubectl.try_wait_until(&["service", "w-1"], Duration::from_secs(3), repaired).is_err()
    });
    assert!(contested);
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "Contested")
    });
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| condition(&found[0], "Stalled").is_none());
    let set = await_ready(&kubectl, "w");
    println!("ready {:?} after the last foreign write", last.elapsed());
    assert!(last.elapsed() < CONTEST_OVER, "{:?}", last.elapsed());
    assert!(condition(&set, "Stalled").is_none());
    assert!(!is_edited(&[kubectl.get_json(&["service", "w-1"])]));
}

#[test]
fn a_status_of_a_partition_that_is_refused_stalls_its_set_and_one_of_a_set_is_told_in_an_event() {
    let (_namespace, kubectl) = sandbox("status-refused");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let await_event = |object: &str| {
        let of_object = format!("regarding.name={object}");
        kubectl.wait_until(&["events.events.k8s.io", "--field-selector", &of_object], SOON, |events| {
            events.iter().any(|event| {
                (text(event, "/type"), text(event, "/reason")) == ("Warning", "StatusNotWritten")
                    && text(event, "/note").contains("statuses are frozen")
            })
        });
    };
    let kinds: [Kinds; 2] = [&[("k8s.atomix.io", "partitions/status")], &[("k8s.atomix.io", "partitionsets/status")]];
    let refuse = |kind: usize| Policy::refusing(&kubectl, kinds[kind], &["UPDATE"], "Invalid", "statuses are frozen");
    let policy = refuse(0);
    label(&kubectl, 0);
    await_event("w-1");
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| {
            let message = text(stalled, "/message");
            stalled["reason"] == "PartitionStalled"
                && message.starts_with("1 of 1 partitions are ready; w-1: its status is not up to date")
                && message.contains("statuses are frozen")
        })
    });
    policy.remove();
    kubectl.wait_until(&["partitionset", "w"], CAUSE_GONE, |found| is_ready(&found[0]));

    let policy = refuse(1);
    label(&kubectl, 1);
    await_event("w");
    policy.remove();
    kubectl.wait_until(&["partitionset", "w"], CAUSE_GONE, |found| is_ready(&found[0]));
}

#[test]
fn what_lasts_is_logged_once_and_each_line_has_each_key_once() {
    let (_namespace, kubectl) = sandbox("logged");
    limit(&kubectl, "count/configmaps", "0");
    kubectl.create_stdin(&set("w", 1, "log", 1));
    await_told(&kubectl, ["partition", "w-1"], "QuotaExceeded", "exceeded quota: q");
    let tried = refused(&kubectl, "configmaps", 403);
    let deadline = Instant::now() + SOON;
    while refused(&kubectl, "configmaps", 403) < tried + 3 {
        assert!(Instant::now() < deadline, "it is not tried again");
        thread::sleep(Duration::from_millis(200));
    }
    let log = harness().controller().log();
    let partition = format!("{}/w-1", kubectl.namespace());
    let reported = log.lines().filter(|line| line.contains(&partition) && line.contains("cannot be completed yet"));
    let reported: Vec<_> = reported.collect();
    assert_eq!(reported.len(), 1, "{reported:#?}");
    for line in log.lines().filter(|line| line.starts_with('{')) {
        if let Err(error) = serde_json::from_str::<UniqueKeys>(line) {
            panic!("{error}: {line}");
        }
    }
}

/// A JSON object that has each key once.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
                let mut keys = HashSet::new();
                while let Some((key, _)) = map.next_entry::<String, Value>()? {
                    if !keys.insert(key.clone()) {
                        return Err(serde::de::Error::custom(format!("the key {key:?} stands twice")));
                    }
                }
                Ok(UniqueKeys)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

//! Partitions go only with the user's consent, which works for the one change that it was given for.

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::documents::document;
use webhook_tests::{Kubectl, Output, commands_of, removal_consent};

use crate::SOON;
use crate::manifests::{raft, with};
use crate::verdicts::{accepts, annotations, namespace, patches, spec};

const ALLOW: &str = "k8s.atomix.io/allow-partition-removal";
const REMOVAL: &str =
    "Warning: spec.partitions: 2 of 6 partitions are removed with their data: raft-5 and raft-6 (6 pods)\n";

/// What is said of a consent as it was before it named a generation.
const OLD_FORM: &str =
    " (instead of \"4\": a consent is for one change only, so it names the generation of the set as well)";

fn of(partitions: u32) -> Value {
    with(raft("raft"), "/spec/partitions", json!(partitions))
}

fn consenting(set: Value, consent: &str) -> Value {
    with(set, "/metadata/annotations/k8s.atomix.io~1allow-partition-removal", json!(consent))
}

fn annotate(kubectl: &Kubectl, consent: &str) {
    kubectl.ok(&["annotate", "--overwrite", "pset", "raft", &format!("{ALLOW}={consent}")]);
}

fn scale(kubectl: &Kubectl, partitions: u32) -> Output {
    kubectl.run(&["scale", "pset", "raft", &format!("--replicas={partitions}")])
}

fn generation(kubectl: &Kubectl) -> i64 {
    kubectl.get_json(&["pset", "raft"])["metadata"]["generation"].as_i64().expect("a generation")
}

/// What is said of the number of partitions, whichever object and field kubectl names.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}{}", output.stdout, output.stderr);
    let (_, detail) = output.stderr.split_once(": Forbidden: ").unwrap_or_else(|| panic!("{}", output.stderr));
    detail.trim_end().to_owned()
}

/// The refusal to go from `from` partitions to 4 at a generation, without what is said of another value.
fn refused(from: u32, generation: i64) -> String {
    format!(
        "reducing the number of partitions from {from} to 4 destroys the data of the removed ones; to agree, set the \
         annotation {ALLOW}: \"4@{generation}\""
    )
}

fn used_up(consent: &str) -> String {
    let (_, generation) = consent.split_once('@').expect("a generation");
    format!(
        " (instead of \"{consent}\": a consent is for one change only, and the set has changed since generation \
         {generation})"
    )
}

/// The value that a refusal tells the user to set.
fn printed(refusal: &str) -> String {
    refusal.split('"').nth(1).expect("a value").to_owned()
}

#[test]
fn the_printed_consent_works_once() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &of(6));
    let first = generation(&kubectl);
    let said = refusal(&scale(&kubectl, 4));
    assert_eq!(said, refused(6, first));

    annotate(&kubectl, &printed(&said));
    assert_eq!(generation(&kubectl), first, "a consent does not change the generation");
    let shrink = scale(&kubectl, 4);
    assert!(shrink.status.success(), "{}", shrink.stderr);
    assert_eq!(shrink.stderr, REMOVAL);
    assert_eq!(spec(&kubectl, "raft")["partitions"], 4);

    // By mistake, later.
    for (grown, generation) in [(6, first + 2), (20, first + 3)] {
        assert!(scale(&kubectl, grown).status.success());
        let said = refusal(&scale(&kubectl, 4));
        assert_eq!(said, refused(grown, generation) + &used_up(&format!("4@{first}")));
        let edit = kubectl.run(&["patch", "pset", "raft", "--type=merge", "-p", r#"{"spec":{"partitions":4}}"#]);
        assert_eq!(refusal(&edit), said);
        assert_eq!(spec(&kubectl, "raft")["partitions"], grown);
    }
}

#[test]
fn an_old_file_with_a_consent_in_it_removes_nothing() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    kubectl.apply_stdin(&of(6).to_string());
    let consent = format!("4@{}", generation(&kubectl));
    let file = consenting(of(4), &consent).to_string();
    let applied = kubectl.feed(&["apply", "-f", "-"], &file);
    assert!(applied.status.success(), "{}", applied.stderr);
    assert_eq!(applied.stderr, REMOVAL);
    assert_eq!(kubectl.apply_stdin(&file), "partitionset.k8s.atomix.io/raft unchanged\n");

    assert!(scale(&kubectl, 20).status.success());
    let grown = generation(&kubectl);
    for arguments in [
        &["apply", "-f", "-"][..],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &["replace", "-f", "-"],
    ] {
        let said = refusal(&writes(&kubectl, arguments, &file));
        assert_eq!(said, refused(20, grown) + &used_up(&consent), "by {arguments:?}");
    }
    assert_eq!((&spec(&kubectl, "raft")["partitions"], generation(&kubectl)), (&json!(20), grown));
}

/// Runs kubectl until the controller has not written the set's status meanwhile.
fn writes(kubectl: &Kubectl, arguments: &[&str], object: &str) -> Output {
    let deadline = Instant::now() + SOON;
    loop {
        let output = kubectl.feed(arguments, object);
        if !output.stderr.starts_with("Error from server (Conflict)") || Instant::now() > deadline {
            return output;
        }
    }
}

#[test]
fn the_verdict_is_the_same_however_a_set_is_shrunk() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    kubectl.apply_stdin(&of(5).to_string());
    let json = r#"[{"op": "replace", "path": "/spec/partitions", "value": 4}]"#;
    let ways = [
        &["scale", "pset", "raft", "--replicas=4"][..],
        &["patch", "pset", "raft", "--type=merge", "-p", r#"{"spec": {"partitions": 4}}"#],
        &["patch", "pset", "raft", "--type=json", "-p", json],
        &["apply", "-f", "-"],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &["replace", "-f", "-"],
    ];
    for way in ways {
        assert!(scale(&kubectl, 6).status.success());
        let now = generation(&kubectl);
        let (right, passed) = (format!("4@{now}"), format!("4@{}", now - 1));
        for (consent, given) in [
            ("4", OLD_FORM),
            (&*format!("3@{now}"), &*format!(" (instead of \"3@{now}\": it agrees to another number of partitions)")),
            (&*passed, &*used_up(&passed)),
        ] {
            annotate(&kubectl, consent);
            for dry in [&["--dry-run=server"][..], &[]] {
                let way = [way, dry].concat();
                let said = refusal(&writes(&kubectl, &way, &consenting(of(4), consent).to_string()));
                assert_eq!(said, refused(6, now) + given, "by {way:?}");
            }
        }
        annotate(&kubectl, &right);
        for (dry, partitions) in [(&["--dry-run=server"][..], 6), (&[], 4)] {
            let way = [way, dry].concat();
            let output = writes(&kubectl, &way, &consenting(of(4), &right).to_string());
            assert!(output.status.success(), "by {way:?}: {}", output.stderr);
            assert!(output.stderr.contains(REMOVAL), "by {way:?}: {}", output.stderr);
            assert_eq!(spec(&kubectl, "raft")["partitions"], partitions, "by {way:?}");
        }
    }
}

#[test]
fn an_editor_needs_the_same_consent() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &of(6));
    let edit = || {
        let mut command = kubectl.command();
        command.args(["edit", "pset", "raft"]).env("KUBE_EDITOR", "sed -i 's/^  partitions: 6$/  partitions: 4/'");
        command.stdin(Stdio::null()).output().expect("kubectl")
    };
    assert!(!edit().status.success());
    assert_eq!(spec(&kubectl, "raft")["partitions"], 6);
    patches(&kubectl, "raft", &annotations(&removal_consent(&kubectl, "raft", 4)));
    let edited = edit();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    assert_eq!(spec(&kubectl, "raft")["partitions"], 4);
}

#[test]
fn a_consent_may_come_with_the_change_and_not_after_another_one() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &of(6));
    let consent = removal_consent(&kubectl, "raft", 4);
    patches(&kubectl, "raft", &annotations(&consent));
    patches(&kubectl, "raft", &json!({"spec": {"template": {"spec": {"image": "raft:2"}}}}));
    let said = refusal(&scale(&kubectl, 4));
    assert_eq!(said, refused(6, generation(&kubectl)) + &used_up(consent[ALLOW].as_str().expect("a consent")));

    let consent = removal_consent(&kubectl, "raft", 4);
    patches(&kubectl, "raft", &json!({"metadata": {"annotations": consent}, "spec": {"partitions": 4}}));
    assert_eq!(spec(&kubectl, "raft")["partitions"], 4);
}

#[test]
fn a_removal_says_what_becomes_of_the_claims() {
    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(of(6), "/spec/template/spec/storageSize", json!("1Gi")));
    for (policy, warning) in [
        (
            "Retain",
            "spec.partitions: 5 of 6 partitions are removed: raft-2 to raft-6 (15 pods); their PersistentVolumeClaims \
             are retained with the data (whenDeleted: Retain)",
        ),
        (
            "Delete",
            "spec.partitions: 5 of 6 partitions are removed with their data: raft-2 to raft-6 (15 pods); their \
             PersistentVolumeClaims are deleted (whenDeleted: Delete)",
        ),
    ] {
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy}});
        patches(&kubectl, "raft", &json!({"spec": policy}));
        patches(&kubectl, "raft", &annotations(&removal_consent(&kubectl, "raft", 1)));
        let shrink = r#"{"spec":{"partitions":1}}"#;
        let output = kubectl.run(&["patch", "pset", "raft", "--dry-run=server", "--type=merge", "-p", shrink]);
        assert!(output.status.success(), "{}", output.stderr);
        assert_eq!(output.stderr, format!("Warning: {warning}\n"));
    }
}

#[test]
fn the_documents_have_the_messages_and_their_commands_shrink_a_set() {
    let page = document("docs/rejections.md");
    let warning = REMOVAL.trim_start_matches("Warning: ").trim_end();
    for text in [&*refused(6, 17), &*used_up("4@12"), OLD_FORM, warning] {
        assert!(page.contains(&format!("{text}`")), "docs/rejections.md lacks: {text}");
    }
    let commands = commands_of("docs/operations.md", "Changing a set").swap_remove(0);

    let namespace = namespace("consent");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &of(6));
    let output = kubectl.shell(&commands);
    assert!(output.status.success(), "{commands}\n{}", output.stderr);
    assert_eq!(output.stderr, REMOVAL);
    assert_eq!(spec(&kubectl, "raft")["partitions"], 4);
}

//! Verdicts on manifests.

use super::*;

fn lines(text: &str) -> Vec<String> {
    validate_text("f", text).unwrap().into_iter().map(|verdict| verdict.lines.join("\n")).collect()
}

fn of(spec: &str) -> String {
    format!("apiVersion: k8s.atomix.io/v1alpha1\nkind: PartitionSet\nmetadata: {{name: a}}\nspec: {spec}\n")
}

#[test]
fn numbers_are_read_as_kubectl_reads_them() {
    for size in ["3", "3.0", "3e0", "03", "0x3", "0b11", "0o3"] {
        assert_eq!(
            lines(&of(&format!("{{template: {{spec: {{protocol: raft, size: {size}}}}}}}"))),
            ["f: PartitionSet \"a\" is valid"],
            "{size}"
        );
    }
    let invalid = lines(&of("{template: {spec: {protocol: raft, size: 3.5}}}"));
    assert!(
        invalid[0].contains("* spec.template.spec.size: Invalid value: \"number\": must be an integer"),
        "{invalid:?}"
    );
}

#[test]
fn unknown_fields_are_invalid_and_the_last_of_duplicate_keys_is_used() {
    let set = of("{partitions: 0, partitions: 2, foo: 1, template: {spec: {protocol: raft, size: 3}}}");
    assert_eq!(
        lines(&set),
        ["Warning: f: duplicate key \"partitions\" in line 4: its last value is used\n\
          f: PartitionSet \"a\" is invalid:\n* unknown field \"spec.foo\""]
    );
}

#[test]
fn sets_are_found_in_lists_and_beside_others_and_misspelt_ones_are_not_skipped() {
    let one = "apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {name: a}, \
               spec: {template: {spec: {protocol: raft, size: 3}}}";
    let list = format!("{{apiVersion: v1, kind: List, items: [{{{one}}}, {{apiVersion: v1, kind: Secret}}]}}");
    assert_eq!(lines(&list), ["f: PartitionSet \"a\" is valid"]);
    assert!(lines("apiVersion: v1\nkind: Secret\n---\n").is_empty());
    let unnamed = one.replace("apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, ", "");
    let list = format!("{{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSetList, items: [{{{unnamed}}}]}}");
    assert_eq!(lines(&list), ["f: PartitionSet \"a\" is valid"]);
    assert!(lines("{apiVersion: v1, kind: List, items: [~]}")[0].contains("is no object of Kubernetes"));
    for (text, words) in [
        (one.replace("PartitionSet", "PartitonSet"), "no matches for kind \"PartitonSet\" in version"),
        (one.replace("v1alpha1", "v1"), "no matches for kind \"PartitionSet\" in version \"k8s.atomix.io/v1\""),
        ("kind: PartitionSet".to_owned(), "is no object of Kubernetes"),
    ] {
        let found = lines(&format!("{{{text}}}"));
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
}

#[test]
fn metadata_is_validated_as_well() {
    let set = of("{template: {spec: {protocol: raft, size: 3}}}");
    for (metadata, words) in [
        ("{}", "* metadata.name: Required value: name or generateName is required"),
        ("{name: a, labels: {a b: c}}", "* metadata.labels: Invalid value: \"a b\": name part"),
        ("{name: a, labels: {a: 1}}", "* metadata.labels.a: Invalid value: \"integer\": must be a string"),
        ("{name: a, annotations: {/a: b}}", "* metadata.annotations: Invalid value: \"/a\": prefix part"),
        ("{name: a, namespace: A_b}", "* metadata.namespace: Invalid value: \"A_b\": a lowercase RFC 1123 label"),
        ("{name: a, namespace: 1}", "* metadata.namespace: Invalid value: \"integer\": must be a string"),
        ("{name: a, generation: '5'}", "* metadata.generation: Invalid value: \"string\": must be an integer"),
        ("{name: a, uid: 5}", "* metadata.uid: Invalid value: \"integer\": must be a string"),
        ("{name: a, creationTimestamp: 2020-01-02}", "* metadata.creationTimestamp: Invalid value: \"2020-01-02\""),
        ("{name: a, finalizers: [a b]}", "* metadata.finalizers: Invalid value: \"a b\": name part"),
        ("{name: a, finalizers: [~]}", "* metadata.finalizers[0]: Invalid value: \"null\": must be a string"),
        (
            "{name: a, ownerReferences: [{apiVersion: v1, kind: Pod, name: b}]}",
            "* metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ),
        ("{name: a, ownerReferences: [{apiVersion: a/, kind: b, name: c, uid: d}]}", "version must not be empty"),
        (
            "{name: a, ownerReferences: [{apiVersion: v1, kind: b, name: c, uid: d, controller: true}, \
             {apiVersion: v1, kind: b, name: c, uid: e, controller: true}]}",
            "* metadata.ownerReferences: Forbidden: only one may have controller set to true",
        ),
    ] {
        let found = lines(&set.replace("{name: a}", metadata));
        assert!(found[0].contains(words), "{metadata}: {found:?}");
    }
    for metadata in [
        "{name: a, labels: {b: ~}, annotations: {c: ~}}",
        "{name: a, creationTimestamp: ~, namespace: ~, finalizers: [b.c/d]}",
        "{name: a, creationTimestamp: 2020-01-02T03:04:05Z, generation: 3, managedFields: []}",
        "{name: a, ownerReferences: [{apiVersion: b/v1, kind: c, name: d, uid: e, controller: true}]}",
    ] {
        assert_eq!(lines(&set.replace("{name: a}", metadata)), ["f: PartitionSet \"a\" is valid"], "{metadata}");
    }
}

#[test]
fn the_exit_code_tells_what_cannot_be_read_from_what_is_invalid() {
    for (unreadable, invalid, code) in [(0, 0, 0), (0, 3, 1), (1, 0, 2), (2, 1, 2)] {
        assert_eq!(Counts { unreadable, invalid }.exit_code(), code, "{unreadable} {invalid}");
    }
}

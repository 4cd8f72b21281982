//! `atomix-controller validate` says of a manifest what `kubectl create` says, however it is written.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use webhook_tests::{binaries, suffix};

use crate::verdicts::void;

/// Spellings of a number, of which kubectl takes some and the API server others.
const NUMBERS: [&str; 26] = [
    "3",
    "3.0",
    "3.",
    "3e0",
    ".3e1",
    "30e-1",
    "03",
    "08",
    "010",
    "0o3",
    "0x3",
    "0b11",
    "1_0",
    "+3",
    "-0",
    "-0x3",
    "'3'",
    "3.5",
    "1e20",
    "1e400",
    "9223372036854775808",
    "1:30",
    "true",
    "yes",
    "~",
    "2020-01-02",
];
/// Numbers of every other field, and of a text.
const SOME: [&str; 5] = ["2.0", "02", "1e0", "2.5", "'2'"];
const FIELDS: [&str; 12] = [
    "partitionSize: #, template: {spec: {protocol: raft}}",
    "partitions: 5, maxUnavailablePartitions: #, template: {spec: {protocol: raft}}",
    "template: {spec: {protocol: raft, size: #}}",
    "template: {spec: {protocol: raft, terminationGracePeriodSeconds: #}}",
    "template: {spec: {protocol: raft, podSecurityContext: {runAsUser: #, supplementalGroups: [#]}}}",
    "template: {spec: {protocol: raft, tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: #}]}}",
    "template: {spec: {protocol: raft, topologySpreadConstraints: \
        [{maxSkew: #, minDomains: #, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]}}",
    "template: {spec: {protocol: raft, affinity: {nodeAffinity: \
        {preferredDuringSchedulingIgnoredDuringExecution: [{weight: #}]}}}}",
    "template: {spec: {protocol: raft, storageSize: #}}",
    "template: {spec: {protocol: raft, resources: {limits: {cpu: #}}}}",
    "template: {spec: {protocol: raft, nodeSelector: {a: #}}}",
    "template: {spec: {protocol: raft, env: [{name: A, value: #}]}}",
];
/// Other ways to write a set: the rest of a document after its name.
const OTHERS: [&str; 14] = [
    ", labels: {a: ~}, annotations: {b: ~}}\nspec: {template: {spec: {protocol: raft}}}",
    ", finalizers: [a b]}\nspec: {template: {spec: {protocol: raft}}}",
    ", ownerReferences: [{apiVersion: v1, kind: Pod, name: a}]}\nspec: {template: {spec: {protocol: raft}}}",
    "}\nspec: {foo: 1, template: {spec: {protocol: raft}}}",
    "}\nspec: {template: {metadata: {name: a}, spec: {protocol: raft}}}",
    "}\nspec: {template: {spec: {protocol: raft, env: [{name: A, valu: b}]}}}",
    "}\nextra: ~\nspec: {template: {spec: {protocol: raft}}}",
    ", labels: {a b: c}}\nspec: {template: {spec: {protocol: raft}}}",
    ", foo: bar}\nspec: {template: {spec: {protocol: raft}}}",
    "}\nspec: {partitions: 0, partitions: 2, template: {spec: {protocol: raft}}}",
    "}\nspec: {partitions: 2, partitions: 0, template: {spec: {protocol: raft}}}",
    "}\nspec: {template: {spec: &a {protocol: raft, nodeSelector: &b {c: d}}, metadata: {labels: *b}}}",
    "}\nspec: {template: {spec: {protocol: paxos, <<: {protocol: raft}}}}",
    "}\nspec: {template: {metadata: {labels: {1: on, y: 'on'}}, spec: {protocol: raft}}}",
];

#[test]
fn a_manifest_has_the_same_verdict_without_a_cluster() {
    let spec = |field: &str, number: &str| format!("}}\nspec: {{{}}}", field.replace('#', number));
    let partitions = NUMBERS.map(|number| spec("partitions: #, template: {spec: {protocol: raft}}", number));
    let fields = FIELDS.iter().flat_map(|field| SOME.map(|number| spec(field, number)));
    let bodies: Vec<String> = partitions.into_iter().chain(fields).chain(OTHERS.map(str::to_owned)).collect();
    let documents = bodies.iter().enumerate().map(|(n, body)| {
        format!("---\napiVersion: k8s.atomix.io/v1alpha1\nkind: PartitionSet\nmetadata: {{name: n{n}{body}\n")
    });
    let manifest: String = documents.collect();

    let kubectl = void().kubectl().feed(&["create", "--dry-run=server", "-f", "-"], &manifest);
    let created = kubectl.stdout.lines().filter_map(|line| line.split(['/', ' ']).nth(1));
    let created: BTreeSet<&str> = created.collect();
    let validated = validate(&manifest);
    let named = |end: &str| {
        let lines = validated.lines().filter_map(|line| line.strip_suffix(end)?.split('"').nth(1));
        lines.collect::<BTreeSet<&str>>()
    };
    let (valid, invalid) = (named("is valid"), named("is invalid:"));
    assert_eq!(valid.len() + invalid.len(), bodies.len(), "{validated}");
    let differing = valid.symmetric_difference(&created).map(|name| {
        let body = &bodies[name[1..].parse::<usize>().expect("a number")];
        format!("{name}{body}: valid {}, created {}", valid.contains(name), created.contains(name))
    });
    let differing: Vec<String> = differing.collect();
    assert!(differing.is_empty(), "{}\n{validated}\n{}", differing.join("\n"), kubectl.stderr);
    assert!(!created.is_empty() && !invalid.is_empty(), "{}", kubectl.stderr);
}

#[test]
fn the_files_of_directories_are_validated_and_the_exit_code_says_what_is_wrong() {
    let directory = std::env::temp_dir().join(format!("webhook-tests-offline-{}", suffix()));
    let set = |size: &str| {
        format!(
            "{{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {{name: a}}, \
             spec: {{template: {{spec: {{protocol: raft, size: {size}}}}}}}}}\n"
        )
    };
    fs::create_dir_all(directory.join("valid/deeper/empty")).expect("directories");
    for (file, text) in [
        ("valid/a.yaml", format!("{}---\n{{apiVersion: v1, kind: Secret}}\n---\n{}", set("1"), set("3"))),
        ("valid/b.json", "{\"apiVersion\": \"v1\", \"kind\": \"Secret\"}".to_owned()),
        ("valid/c.yml", format!("{{apiVersion: v1, kind: List, items: [{}]}}", set("3"))),
        ("valid/d.txt", "[".to_owned()),
        ("valid/deeper/e.yaml", set("-1")),
        ("broken.yaml", "a: [\n".to_owned()),
        ("other.yaml", "apiVersion: v1\nkind: Secret\n".to_owned()),
    ] {
        fs::write(directory.join(file), text).expect("a file");
    }
    let valid = "valid/a.yaml: PartitionSet \"a\" is valid\nvalid/a.yaml: PartitionSet \"a\" is valid\n\
                 valid/c.yml: PartitionSet \"a\" is valid\n";
    for (arguments, code, words) in [
        (&["valid"][..], 0, valid),
        (&["valid"], 0, "Warning: "),
        (
            &["-R", "valid"],
            1,
            "valid/deeper/e.yaml: PartitionSet \"a\" is invalid:\n* spec.template.spec.size: Invalid",
        ),
        (&["valid/deeper/e.yaml"], 1, ""),
        (&["other.yaml"], 0, "other.yaml: there is no PartitionSet in it\n"),
        (&["broken.yaml", "valid/deeper/e.yaml"], 2, "e.yaml: PartitionSet \"a\" is invalid:\n"),
        (&["broken.yaml"], 2, "broken.yaml is no YAML that kubectl accepts: "),
        (&["missing.yaml", "valid"], 2, "reading missing.yaml: No such file"),
        (&["valid/deeper/empty"], 2, "valid/deeper/empty has no file whose name ends in .json, .yaml or .yml"),
        (&[], 2, "Usage:"),
    ] {
        let mut command = Command::new(binaries::controller().expect("the controller"));
        let output = command.arg("validate").args(arguments).current_dir(&directory).output().expect("to run");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
    fs::remove_dir_all(directory).expect("to be removed");
}

fn validate(manifest: &str) -> String {
    let mut command = Command::new(binaries::controller().expect("the controller"));
    let command = command.args(["validate", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("to run");
    child.stdin.take().expect("its input").write_all(manifest.as_bytes()).expect("to be read");
    let output = child.wait_with_output().expect("its output");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a text")
}

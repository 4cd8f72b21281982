//! What is legal and unwise is said, as kubectl prints it, and done all the same.

use serde_json::{Value, json};

use crate::manifests::{backup, raft, with, without};
use crate::verdicts::{accepts, namespace, patches, void};

/// Creating the set prints these warnings in this order. Nothing is stored: some of these sets are large.
fn warns(cases: &[(Value, &[&str])]) {
    let kubectl = void().kubectl();
    for (object, warnings) in cases {
        let output = kubectl.feed(&["create", "--dry-run=server", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", output.stderr);
        let expected = warnings.iter().fold(String::new(), |lines, warning| lines + "Warning: " + warning + "\n");
        assert_eq!(output.stderr, expected, "of {object}");
    }
}

#[test]
fn nothing_is_said_of_a_usual_set() {
    warns(&[(raft("raft"), &[]), (backup("backup"), &[])]);
}

#[test]
fn many_partitions_may_not_fit_an_answer_of_the_dns() {
    let many = |count: u32| with(raft("raft"), "/spec/partitions", json!(count));
    warns(&[
        (many(299), &[]),
        (
            many(300),
            &[
                "spec.partitions: the DNS answer of a group of 300 partitions may be truncated; clients should find them \
               over the Atomix API",
            ],
        ),
    ]);
}

#[test]
fn raft_partitions_should_be_of_odd_sizes_from_three_up() {
    let sized = |size: u32| with(raft("raft"), "/spec/template/spec/size", json!(size));
    let quorum = |size: u32| {
        format!(
            "spec.template.spec.size: a Raft partition of {size} cannot lose a pod, nor be rolled, without losing its \
             quorum, and nodes keep their state in memory; use 3 or more"
        )
    };
    warns(&[
        (without(raft("raft"), "/spec/template/spec/size"), &[&quorum(1)]),
        (sized(2), &[&quorum(2)]),
        (sized(4), &["spec.template.spec.size: a Raft partition of 4 tolerates no more failures than one of 3"]),
        (sized(5), &[]),
        (with(backup("backup"), "/spec/template/spec/size", json!(4)), &[]),
    ]);
}

#[test]
fn backup_and_log_need_an_image() {
    let bare = |protocol: &str| {
        let set = with(backup("a"), "/spec/template/spec/protocol", json!(protocol));
        without(set, "/spec/template/spec/image")
    };
    let missing = |protocol: &str| {
        format!(
            "spec.template.spec.image: the default image of the {protocol} protocol is not known to be published; set an \
             image here, or the controller's --{protocol}-image"
        )
    };
    warns(&[(bare("backup"), &[&missing("backup")]), (bare("log"), &[&missing("log")])]);
}

#[test]
fn nothing_is_said_of_claims_that_need_not_exist() {
    warns(&[(with(raft("raft"), "/spec/template/spec/storageSize", json!("1Gi")), &[])]);
}

#[test]
fn structures_that_replace_a_default_lose_all_of_it() {
    let spec = |fields: &[(&str, Value)]| {
        let field =
            |set, (name, value): &(&str, Value)| with(set, &format!("/spec/template/spec/{name}"), value.clone());
        fields.iter().fold(raft("raft"), field)
    };
    let together = "spec.template.spec.affinity: replaces the default, by which pods of a partition prefer different \
        nodes; without podAntiAffinity or topologySpreadConstraints all may run on one";
    let unowned = "spec.template.spec.podSecurityContext: replaces the default, fsGroup 65534 of the volumes; without \
        fsGroup, nodes that do not run as root may be unable to write to them, unless the cluster sets one, as OpenShift \
        does";
    let spread = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {}}]);
    let storage = || ("storageSize", json!("1Gi"));
    warns(&[
        (spec(&[("affinity", json!({}))]), &[together]),
        (spec(&[("affinity", json!({"nodeAffinity": {}}))]), &[together]),
        (spec(&[("affinity", json!({"podAntiAffinity": {}}))]), &[]),
        (spec(&[("affinity", json!({})), ("topologySpreadConstraints", spread)]), &[]),
        (spec(&[("podSecurityContext", json!({"runAsNonRoot": true}))]), &[]),
        (spec(&[("podSecurityContext", json!({})), storage()]), &[unowned]),
        (spec(&[("podSecurityContext", json!({"fsGroup": 1000})), storage()]), &[]),
    ]);
}

/// The controller may not read namespaces: it is asked about those of which the API server knows it.
#[test]
fn pods_that_a_restricted_namespace_will_refuse_are_told_of_there_and_nowhere_else() {
    let namespace = namespace("restricted");
    let kubectl = namespace.kubectl();
    kubectl.ok(&["label", "namespace", namespace.name(), "pod-security.kubernetes.io/enforce=restricted"]);
    let create = |object: &Value| {
        let output = kubectl.feed(&["create", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", output.stderr);
        output.stderr
    };
    let standard = "for the \"restricted\" pod security standard";
    let warned = format!(
        "Warning: spec.template.spec: the namespace enforces the \"restricted\" pod security standard and will refuse the \
         pods; deploy/examples/restricted.yaml passes\n\
         Warning: spec.template.spec.podSecurityContext.runAsNonRoot: must be true {standard}\n\
         Warning: spec.template.spec.podSecurityContext.seccompProfile.type: must be \"RuntimeDefault\" or \"Localhost\" \
         {standard}\n\
         Warning: spec.template.spec.securityContext.allowPrivilegeEscalation: must be false {standard}\n\
         Warning: spec.template.spec.securityContext.capabilities.drop: must have \"ALL\" {standard}\n"
    );
    assert_eq!(create(&raft("set")), warned);
    // Only where the template changes, and until it does as it should.
    let patched = "partitionset.k8s.atomix.io/set patched\n";
    assert_eq!(patches(&kubectl, "set", &json!({"metadata": {"labels": {"a": "b"}}})), patched);
    let changed = |template: &Value| patches(&kubectl, "set", &json!({"spec": {"template": {"spec": template}}}));
    assert_eq!(changed(&json!({"image": "raft:2"})), [&*warned, patched].concat());
    let mended = json!({
        "podSecurityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    assert_eq!(changed(&mended), patched);
    let example = webhook_tests::binaries::workspace().join("deploy/examples/restricted.yaml");
    let output = kubectl.run(&["create", "--dry-run=server", "-f", &example.to_string_lossy()]);
    assert_eq!((output.status.success(), &*output.stderr), (true, ""), "{}", output.stdout);
}

#[test]
fn what_kubernetes_warns_of_in_a_stateful_set_is_said_here() {
    let spec = |field: &str, value: Value| with(raft("raft"), &format!("/spec/template/spec/{field}"), value);
    warns(&[
        (
            spec("terminationGracePeriodSeconds", json!(-1)),
            &[
                "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be \
               treated as 1",
            ],
        ),
        (
            spec("imagePullSecrets", json!([{}])),
            &["spec.template.spec.imagePullSecrets[0].name: invalid empty name \"\""],
        ),
        (spec("podSecurityContext", json!({"sysctls": [{"name": "kernel.shm_rmid_forced"}]})), &[]),
    ]);
}

#[test]
fn labels_and_annotations_of_the_controller_cannot_be_chosen() {
    let labels = json!({"app": "mine", "app.kubernetes.io/name": "mine", "tier": "one"});
    let set = with(raft("raft"), "/spec/template/metadata/labels", labels);
    let set = with(set, "/spec/template/metadata/annotations", json!({"k8s.atomix.io/group": "mine"}));
    warns(&[(
        set,
        &[
            "spec.template.metadata.labels[app]: is set by the controller; the value here is not used",
            "spec.template.metadata.labels[app.kubernetes.io/name]: is set by the controller; the value here is not used",
            "spec.template.metadata.annotations[k8s.atomix.io/group]: is set by the controller; the value here is not used",
        ],
    )]);
}

#[test]
fn paused_is_true_or_false() {
    let paused = |value: &str| with(raft("raft"), "/metadata/annotations/k8s.atomix.io~1paused", json!(value));
    warns(&[
        (paused("true"), &[]),
        (paused("false"), &[]),
        (
            paused("yes"),
            &["metadata.annotations[k8s.atomix.io/paused]: is neither \"true\" nor \"false\": the set is not paused"],
        ),
    ]);
}

#[test]
fn growing_re_homes_keys_and_an_edit_of_something_else_says_nothing() {
    let namespace = namespace("warnings");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(raft("raft"), "/spec/template/spec/storageSize", json!("1Gi")));
    assert_eq!(
        patches(&kubectl, "raft", &json!({"spec": {"partitions": 3}})),
        "Warning: spec.partitions: growing from 2 to 3 re-homes keys (clients pick a partition by hash modulo the \
         number), and no data moves\n\
         partitionset.k8s.atomix.io/raft patched\n"
    );
    assert_eq!(
        patches(&kubectl, "raft", &json!({"metadata": {"labels": {"a": "b"}}})),
        "partitionset.k8s.atomix.io/raft patched\n"
    );
}

#[test]
fn who_applies_the_other_name_of_a_field_is_named() {
    let namespace = namespace("aliases");
    let kubectl = namespace.kubectl();
    let applies = |manager: &str, object: &Value| {
        let manager = format!("--field-manager={manager}");
        let output = kubectl.feed(&["apply", "--server-side", &manager, "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", output.stderr);
        output.stderr
    };
    let first = with(backup("backup"), "/spec/template/spec/imagePullPolicy", json!("Never"));
    assert_eq!(applies("one", &first), "");
    let second = |spec: Value| {
        json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "backup"},
            "spec": spec})
    };
    let size = applies("two", &second(json!({"partitionSize": 5})));
    assert!(size.contains("spec.template.spec.size: is 5 by now, as spec.partitionSize of which"), "{size}");
    assert!(size.contains("field manager \"one\" applies"), "{size}");
    let policy = applies("two", &second(json!({"partitionSize": 5, "template": {"spec": {"pullPolicy": "Always"}}})));
    assert!(policy.contains("spec.template.spec.imagePullPolicy: is \"Always\" by now"), "{policy}");
    assert!(policy.contains("field manager \"one\" applies \"Never\" there"), "{policy}");
}

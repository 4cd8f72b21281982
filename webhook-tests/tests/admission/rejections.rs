//! What is rejected, in the words that kubectl prints.

use serde_json::{Value, json};
use webhook_tests::harness;

use crate::manifests::{backup, raft, set, with, without};
use crate::verdicts::{each_is_rejected, invalid, rejects, void};

#[test]
fn all_violations_are_told_at_once() {
    let template = json!({"spec": {"size": -1, "protocol": "paxos", "config": "electionTimout: 5s"}});
    rejects(
        &void().kubectl(),
        &set("raft", json!({"partitions": 0, "template": template})),
        "The PartitionSet \"raft\" is invalid: \n\
         * spec.partitions: Invalid value: 0: must be greater than or equal to 1\n\
         * spec.template.spec.size: Invalid value: -1: must be greater than or equal to 1\n\
         * spec.template.spec.protocol: Unsupported value: \"paxos\": supported values: \"raft\", \"backup\", \"log\"\n\
         * spec.template.spec.config.electionTimout: Unsupported value: \"electionTimout\": supported values: \
         \"electionTimeout\", \"heartbeatInterval\", \"storage\", \"compaction\", \"memberGroupStrategy\"",
    );
}

#[test]
fn what_must_be_there_is_asked_for() {
    let kubectl = void().kubectl();
    for (pointer, violation) in [
        ("/spec", "spec: Required value"),
        ("/spec/template", "spec.template: Required value"),
        ("/spec/template/spec", "spec.template.spec: Required value"),
        ("/spec/template/spec/protocol", "spec.template.spec.protocol: Required value: one of raft, backup, log"),
    ] {
        rejects(&kubectl, &without(raft("raft"), pointer), &invalid("raft", violation));
    }
}

#[test]
fn counts_have_bounds() {
    const PARTITIONS: &str = "/spec/partitions";
    const UNAVAILABLE: &str = "/spec/maxUnavailablePartitions";
    const SIZE: &str = "/spec/template/spec/size";
    each_is_rejected(
        &raft("raft"),
        &[
            (PARTITIONS, json!(0), "spec.partitions: Invalid value: 0: must be greater than or equal to 1"),
            (PARTITIONS, json!(1001), "spec.partitions: Invalid value: 1001: must be less than or equal to 1000"),
            (PARTITIONS, json!("six"), "spec.partitions: Invalid value: \"string\": must be an integer"),
            (PARTITIONS, json!(1.5), "spec.partitions: Invalid value: \"number\": must be an integer"),
            (SIZE, json!(0), "spec.template.spec.size: Invalid value: 0: must be greater than or equal to 1"),
            (SIZE, json!(22), "spec.template.spec.size: Invalid value: 22: must be less than or equal to 21"),
            (
                UNAVAILABLE,
                json!(0),
                "spec.maxUnavailablePartitions: Invalid value: 0: must be greater than or equal to 1",
            ),
            (
                UNAVAILABLE,
                json!(3),
                "spec.maxUnavailablePartitions: Invalid value: 3: must be less than or equal to spec.partitions (2)",
            ),
            (
                "/spec/template/spec/terminationGracePeriodSeconds",
                json!("30"),
                "spec.template.spec.terminationGracePeriodSeconds: Invalid value: \"string\": must be an integer",
            ),
        ],
    );
    let alone = without(backup("backup"), SIZE);
    each_is_rejected(
        &alone,
        &[(
            "/spec/partitionSize",
            json!(22),
            "spec.template.spec.size: Invalid value: 22: must be less than or equal to 21",
        )],
    );
}

#[test]
fn limits_are_those_of_what_is_made_of_a_set() {
    let annotations = json!({"annotations": {"a": "x".repeat(256 * 1024 - 4096)}});
    let env = json!([{"name": "A", "value": "x".repeat(512 * 1024)}]);
    each_is_rejected(
        &raft("raft"),
        &[
            (
                "/spec/template/metadata",
                annotations,
                "spec.template.metadata.annotations: Too long: may not be more than 258048 bytes",
            ),
            ("/spec/template/spec/env", env, "spec: Too long: may not be more than 524288 bytes"),
        ],
    );
}

#[test]
fn two_names_of_one_field_may_not_contradict_each_other() {
    each_is_rejected(
        &with(raft("raft"), "/spec/template/spec/imagePullPolicy", json!("Always")),
        &[
            (
                "/spec/partitionSize",
                json!(5),
                "spec.partitionSize: Invalid value: 5: must be equal to spec.template.spec.size (3), of which it is \
                 another name: set one of the two",
            ),
            (
                "/spec/template/spec/pullPolicy",
                json!("Never"),
                "spec.template.spec.pullPolicy: Invalid value: \"Never\": must be equal to \
                 spec.template.spec.imagePullPolicy (Always), of which it is another name: set one of the two",
            ),
        ],
    );
}

#[test]
fn choices_are_listed() {
    const POLICIES: &str = r#"supported values: "Always", "IfNotPresent", "Never""#;
    const ACTIONS: &str = r#"supported values: "Retain", "Delete""#;
    each_is_rejected(
        &raft("raft"),
        &[
            (
                "/spec/template/spec/protocol",
                json!("Raft"),
                r#"spec.template.spec.protocol: Unsupported value: "Raft": supported values: "raft", "backup", "log""#,
            ),
            (
                "/spec/template/spec/imagePullPolicy",
                json!("Sometimes"),
                &format!("spec.template.spec.imagePullPolicy: Unsupported value: \"Sometimes\": {POLICIES}"),
            ),
            (
                "/spec/persistentVolumeClaimRetentionPolicy/whenScaled",
                json!("Keep"),
                &format!(
                    "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": {ACTIONS}"
                ),
            ),
            (
                "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
                json!("retain"),
                &format!(
                    "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"retain\": {ACTIONS}"
                ),
            ),
            (
                "/spec/template/metadata/annotations/k8s.atomix.io~1member-ports",
                json!("both"),
                "spec.template.metadata.annotations[k8s.atomix.io/member-ports]: Unsupported value: \"both\": \
                 supported values: \"split\", \"shared\"",
            ),
        ],
    );
}

#[test]
fn environment_variables_have_names_of_their_own() {
    const ENV: &str = "/spec/template/spec/env";
    let many: Vec<Value> = (0..257).map(|number| json!({"name": format!("V{number}")})).collect();
    each_is_rejected(
        &raft("raft"),
        &[
            (
                ENV,
                json!([{"name": "NODE_ID", "value": "me"}]),
                "spec.template.spec.env[0].name: Forbidden: NODE_ID is set by the controller",
            ),
            (ENV, json!([{"name": "A"}, {"name": "A"}]), r#"spec.template.spec.env[1].name: Duplicate value: "A""#),
            (ENV, json!([{"value": "secret"}]), "spec.template.spec.env[0].name: Required value"),
            (
                ENV,
                json!([{"name": "A=B"}]),
                "spec.template.spec.env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist \
                 only of printable ASCII characters other than '='",
            ),
            (
                ENV,
                json!([{"name": "A", "value": 5}]),
                "spec.template.spec.env[0].value: Invalid value: \"integer\": must be a string",
            ),
            (ENV, Value::from(many), "spec.template.spec.env: Too many: 257: must have at most 256 items"),
        ],
    );
}

#[test]
fn storage_and_resources_are_quantities() {
    const CLASS: &str = "/spec/template/spec/storageClass";
    const SIZE: &str = "/spec/template/spec/storageSize";
    const RESOURCES: &str = "/spec/template/spec/resources";
    each_is_rejected(
        &raft("raft"),
        &[
            (CLASS, json!("fast"), "spec.template.spec.storageSize: Required value: storageClass needs a size"),
            (
                SIZE,
                json!("0"),
                "spec.template.spec.storageSize: Invalid value: \"0\": must be a quantity greater than 0, for instance 8Gi",
            ),
            (
                SIZE,
                json!("8GB"),
                "spec.template.spec.storageSize: Invalid value: \"8GB\": must be a quantity greater than 0, for instance 8Gi",
            ),
            (
                SIZE,
                json!("8Ei"),
                "spec.template.spec.storageSize: Invalid value: \"8Ei\": must be less than 2^63: Kubernetes would take \
                 9223372036854775807 in its place without a word",
            ),
            (
                RESOURCES,
                json!({"limits": {"cpu": "much"}}),
                "spec.template.spec.resources.limits[cpu]: Invalid value: \"much\": must be a quantity, for instance \
                 500m or 2Gi",
            ),
            (
                RESOURCES,
                json!({"requests": {"memory": "-1Gi"}}),
                "spec.template.spec.resources.requests[memory]: Invalid value: \"-1Gi\": must be greater than or \
                 equal to 0",
            ),
        ],
    );
}

#[test]
fn texts_have_a_form_and_an_end() {
    const IMAGE: &str = "/spec/template/spec/image";
    const NAME: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                        and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                        validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
                         '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
                       an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                       validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    each_is_rejected(
        &raft("raft"),
        &[
            (IMAGE, json!("x".repeat(1025)), "spec.template.spec.image: Too long: may not be more than 1024 bytes"),
            (IMAGE, json!("a b"), "spec.template.spec.image: Invalid value: \"a b\": must not contain white space"),
            (
                "/spec/template/spec/config",
                json!(format!("#{}", "x".repeat(16 * 1024))),
                "spec.template.spec.config: Too long: may not be more than 16384 bytes",
            ),
            (
                "/spec/template/spec/serviceAccountName",
                json!("Me"),
                &format!("spec.template.spec.serviceAccountName: Invalid value: \"Me\": {NAME}"),
            ),
            (
                "/spec/template/spec/priorityClassName",
                json!("a_b"),
                &format!("spec.template.spec.priorityClassName: Invalid value: \"a_b\": {NAME}"),
            ),
            (
                "/spec/template/metadata/labels",
                json!({"tier": "-"}),
                &format!("spec.template.metadata.labels[tier]: Invalid value: \"-\": {VALUE}"),
            ),
            (
                "/spec/template/metadata/annotations",
                json!({"a b": "c"}),
                &format!("spec.template.metadata.annotations: Invalid value: \"a b\": {KEY}"),
            ),
            (
                "/spec/template/spec/nodeSelector",
                json!({"disk": "s s d"}),
                &format!("spec.template.spec.nodeSelector[disk]: Invalid value: \"s s d\": {VALUE}"),
            ),
        ],
    );
}

#[test]
fn a_field_that_does_not_exist_never_arrives() {
    rejects(
        &void().kubectl(),
        &with(raft("raft"), "/spec/partition", json!(3)),
        "Error from server (BadRequest): error when creating \"STDIN\": PartitionSet in version \"v1alpha1\" cannot be \
         handled as a PartitionSet: strict decoding error: unknown field \"spec.partition\"",
    );
}

#[test]
fn values_of_variables_stay_secret() {
    let env = json!([{"name": "A=", "value": "s3cret"}, {"name": "B", "value": ["s3cret"]}, "s3cret"]);
    let object = with(raft("raft"), "/spec/template/spec/env", env);
    let said = void().kubectl().feed_fails(&["create", "-f", "-"], &object.to_string());
    assert!(said.contains("spec.template.spec.env") && !said.contains("s3cret"), "{said}");
    assert!(!harness().controller().log().contains("s3cret"), "in the log as well");
}

#[test]
fn address_families_are_those_of_a_service() {
    const POLICY: &str = "/spec/template/spec/ipFamilyPolicy";
    const FAMILIES: &str = "/spec/template/spec/ipFamilies";
    each_is_rejected(
        &raft("raft"),
        &[
            (
                POLICY,
                json!("DualStack"),
                "spec.template.spec.ipFamilyPolicy: Unsupported value: \"DualStack\": supported values: \
                 \"SingleStack\", \"PreferDualStack\", \"RequireDualStack\"",
            ),
            (
                FAMILIES,
                json!(["IPv5"]),
                "spec.template.spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"",
            ),
            (
                FAMILIES,
                json!(["IPv4", "IPv6"]),
                "spec.template.spec.ipFamilies: Invalid value: \"IPv4,IPv6\": must have one element unless \
                 ipFamilyPolicy is PreferDualStack or RequireDualStack",
            ),
        ],
    );
    each_is_rejected(
        &with(raft("raft"), POLICY, json!("PreferDualStack")),
        &[(FAMILIES, json!(["IPv6", "IPv6"]), "spec.template.spec.ipFamilies[1]: Duplicate value: \"IPv6\"")],
    );
}

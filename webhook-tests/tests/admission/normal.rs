//! What may be written in another way than the schema has it: `null` and empty texts for what is absent, and numbers for
//! quantities.

use atomix_controller::api::crds;
use serde_json::{Map, Value, json};
use webhook_tests::Kubectl;

use crate::manifests::{set, with};
use crate::verdicts::{accepts, invalid, namespace, patches, refuses, spec};

/// Where the schema of a set's spec stands in its CRD.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
const TEMPLATE: &str = "/properties/template/properties/spec";

/// The ways to write a set that is new.
const CREATING: [&[&str]; 4] =
    [&["create", "-f", "-"], &["apply", "-f", "-"], &["apply", "--server-side", "-f", "-"], &["replace", "-f", "-"]];

/// Every field of a schema that may be absent, as `null`.
fn nulls(schema: &Value) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().expect("properties").keys();
    let absent = properties.filter(|name| !required.contains(&json!(name)));
    Value::Object(absent.map(|name| (name.clone(), Value::Null)).collect::<Map<_, _>>())
}

/// Every field of a set as `null`.
fn shallow(name: &str) -> Value {
    let [definition, _] = crds::definitions().expect("definitions");
    let schema = definition.pointer(SPEC).expect("a schema");
    let template = with(nulls(schema.pointer(TEMPLATE).expect("a schema")), "/protocol", json!("raft"));
    let spec = with(nulls(schema), "/template", json!({"metadata": null, "spec": template}));
    set(name, spec)
}

/// Fields of all depths as `null`: in lists, in maps, in the types of Kubernetes.
fn deep(name: &str) -> Value {
    set(
        name,
        json!({
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": null},
            "template": {
                "metadata": {"labels": {"tier": "one", "none": null}, "annotations": {"a.b/c": null}},
                "spec": {
                    "protocol": "raft",
                    "env": [{"name": "A", "value": null, "valueFrom": null}, {"name": "B", "valueFrom": {
                        "secretKeyRef": {"name": "s", "key": "k", "optional": null}, "fieldRef": null}}],
                    "resources": {"limits": {"cpu": null, "memory": "1Gi"}, "requests": null},
                    "nodeSelector": {"zone": null},
                    "imagePullSecrets": [{"name": "s"}],
                    "tolerations": [{"key": "k", "operator": "Exists", "value": null, "tolerationSeconds": null}],
                    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
                        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": null}}}],
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions":
                            [{"key": "k", "operator": "Exists", "values": null}], "matchFields": null}]}},
                        "podAffinity": null},
                    "securityContext": {"runAsUser": null, "capabilities": {"add": null, "drop": ["ALL"]}},
                    "podSecurityContext": {"sysctls": null, "seccompProfile": {"type": "RuntimeDefault",
                        "localhostProfile": null}},
                },
            },
        }),
    )
}

/// The object without its nulls.
fn stripped(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (name, stripped(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(stripped).collect(),
        other => other,
    }
}

/// Writes one object in every way, each time as a new set and as a change of another; the specs that were stored.
fn written(kubectl: &Kubectl, object: &dyn Fn(&str) -> Value) -> Vec<Value> {
    let mut specs = Vec::new();
    for (index, arguments) in CREATING.iter().enumerate() {
        let name = format!("s{index}");
        if arguments[0] == "replace" {
            accepts(kubectl, &stripped(object(&name)));
        }
        kubectl.feed_ok(arguments, &object(&name).to_string());
        specs.push(kubectl.get_json(&["pset", &name])["spec"].clone());
    }
    let name = "s0";
    let patch = json!([{"op": "replace", "path": "/spec", "value": object(name)["spec"]}]).to_string();
    kubectl.ok(&["patch", "pset", name, "--type=json", "-p", &patch]);
    specs.push(kubectl.get_json(&["pset", name])["spec"].clone());
    let merge = json!({"spec": object(name)["spec"]}).to_string();
    kubectl.ok(&["patch", "pset", name, "--type=merge", "-p", &merge]);
    specs.push(kubectl.get_json(&["pset", name])["spec"].clone());
    kubectl.feed_ok(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &object(name).to_string());
    specs.push(kubectl.get_json(&["pset", name])["spec"].clone());
    kubectl.ok(&["delete", "pset", "--all", "--wait=true"]);
    specs
}

#[test]
fn null_is_absent_in_every_field_however_a_set_is_written() {
    let namespace = namespace("nulls");
    let kubectl = namespace.kubectl();
    for object in [shallow, deep] {
        let plain = accepts(&kubectl, &stripped(object("plain")))["spec"].clone();
        for spec in written(&kubectl, &object) {
            assert_eq!(spec, plain, "of {}", object("x"));
        }
    }
    // What must be there is missed in the same words.
    let missing = with(shallow("s"), "/spec/template/spec/protocol", json!(null));
    for arguments in &CREATING[..3] {
        let said = kubectl.feed_fails(arguments, &missing.to_string());
        let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("Warning: resource ")).collect();
        let wanted = invalid("s", "spec.template.spec.protocol: Required value: one of raft, backup, log");
        assert_eq!(said, [wanted], "by {arguments:?}");
    }
}

#[test]
fn a_number_with_a_fraction_is_a_quantity_however_a_set_is_written() {
    let namespace = namespace("numbers");
    let kubectl = namespace.kubectl();
    let object = |name: &str| {
        let object = set(name, json!({"template": {"spec": {"protocol": "raft"}}}));
        with(object, "/spec/template/spec/resources", json!({"requests": {"cpu": 0.5}, "limits": {"cpu": 1.25}}))
    };
    for spec in written(&kubectl, &object) {
        let template = &spec["template"]["spec"];
        assert_eq!(template["resources"], json!({"requests": {"cpu": "0.5"}, "limits": {"cpu": "1.25"}}));
    }
}

#[test]
fn an_integer_that_is_written_with_a_fraction_of_zero_is_one_in_a_patch_too() {
    let namespace = namespace("integers");
    let kubectl = namespace.kubectl();
    let template = json!({"spec": {"protocol": "backup", "size": 1, "storageSize": "1Gi"}});
    accepts(&kubectl, &set("s", json!({"template": template})));
    let template = json!({"spec": {"size": 2.0, "storageSize": 1_073_741_824.0}});
    patches(&kubectl, "s", &json!({"spec": {"partitions": 3.0, "partitionSize": 2.0, "template": template}}));
    let spec = spec(&kubectl, "s");
    let template = &spec["template"]["spec"];
    assert_eq!((&spec["partitions"], &template["size"]), (&json!(3), &json!(2)));
    assert_eq!(template["storageSize"], 1_073_741_824);
}

#[test]
fn an_empty_text_is_absent_but_for_a_storage_class_however_a_set_is_written() {
    let namespace = namespace("empty");
    let kubectl = namespace.kubectl();
    let object = |name: &str| {
        let texts = json!({"protocol": "raft", "image": "", "imagePullPolicy": "", "pullPolicy": "", "config": "",
            "priorityClassName": "", "serviceAccountName": "", "ipFamilyPolicy": "", "storageClass": "",
            "storageSize": "1Gi"});
        let retention = json!({"whenDeleted": "", "whenScaled": "Delete"});
        set(name, json!({"persistentVolumeClaimRetentionPolicy": retention, "template": {"spec": texts}}))
    };
    for spec in written(&kubectl, &object) {
        let retention = &spec["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(*retention, json!({"whenDeleted": "Retain", "whenScaled": "Delete"}));
        let template = &spec["template"]["spec"];
        for choice in ["imagePullPolicy", "pullPolicy", "ipFamilyPolicy"] {
            assert!(template[choice].is_null(), "{choice}: {template}");
        }
        assert_eq!(template["storageClass"], "");
    }
    // "No class" is not "the default class", as soon as there are claims.
    accepts(&kubectl, &object("s"));
    let class = "spec.template.spec.storageClass: Forbidden: field is immutable: the claim templates of a StatefulSet \
                 cannot change";
    refuses(&kubectl, "s", &json!({"spec": {"template": {"spec": {"storageClass": null}}}}), &invalid("s", class));
    accepts(&kubectl, &set("memory", json!({"template": {"spec": {"protocol": "raft", "storageClass": ""}}})));
    patches(&kubectl, "memory", &json!({"spec": {"template": {"spec": {"storageClass": null}}}}));
}

//! Pieces of the CRD schemas that a Rust type cannot say by itself: CEL rules in the words of Kubernetes' own messages.

use serde_json::{Value, json};

/// CEL rules that a number is within `min..=max`.
pub(super) fn range(min: i64, max: i64) -> Value {
    json!([
        { "rule": format!("self >= {min}"), "message": format!("must be greater than or equal to {min}") },
        { "rule": format!("self <= {max}"), "message": format!("must be less than or equal to {max}") }
    ])
}

/// Size of a partition in CEL, with its alias and its default, where `spec` is a PartitionSet's spec.
fn set_size(spec: &str) -> String {
    format!(
        "(has({spec}.template.spec.size) ? {spec}.template.spec.size : has({spec}.partitionSize) ? {spec}.partitionSize : 1)"
    )
}

/// Rules of a PartitionSet's spec.
pub(super) fn partition_set_spec() -> Value {
    json!([
        ratcheted(
            "!has(self.maxUnavailablePartitions) || self.maxUnavailablePartitions <= (has(self.partitions) ? self.partitions : 1) || (has(self.partitions) && self.partitions < 1)",
            &["maxUnavailablePartitions", "partitions"],
            &json!({ "message": "must be less than or equal to spec.partitions", "fieldPath": ".maxUnavailablePartitions" }),
        ),
        ratcheted(
            "!has(self.partitionSize) || !has(self.template.spec.size) || self.partitionSize == self.template.spec.size",
            &["partitionSize", "template.spec.size"],
            &json!({ "message": "must be equal to spec.template.spec.size", "fieldPath": ".partitionSize" }),
        ),
        {
            "rule": format!("oldSelf.template.spec.protocol != 'raft' || self.template.spec.protocol != 'raft' || {} == {}", set_size("self"), set_size("oldSelf")),
            "message": "field is immutable with the raft protocol",
            "fieldPath": ".template.spec.size"
        }
    ])
}

/// Rules of a Partition's spec.
pub(super) fn partition_spec() -> Value {
    let mut rules = template_spec_rules();
    rules.push(json!({
        "rule": "oldSelf.protocol != 'raft' || self.protocol != 'raft' || (has(self.size) ? self.size : 1) == (has(oldSelf.size) ? oldSelf.size : 1)",
        "message": "field is immutable with the raft protocol",
        "fieldPath": ".size"
    }));
    Value::Array(rules)
}

/// Rules of a Partition's `status.election`: whoever writes it, a term never falls and has one primary.
pub(super) fn election() -> Value {
    json!([
        { "rule": "self.term >= oldSelf.term", "message": "must not be less than it was", "fieldPath": ".term" },
        {
            "rule": "self.term > oldSelf.term || self.primary == oldSelf.primary || self.primary == ''",
            "message": "cannot become another member in the same term",
            "fieldPath": ".primary"
        }
    ])
}

/// Rules at the root of a Partition: with the record of its election, its terms would be lost.
pub(super) fn partition_root() -> Value {
    json!([{
        "rule": "!has(oldSelf.status) || !has(oldSelf.status.election) || (has(self.status) && has(self.status.election))",
        "message": "status.election cannot be removed: terms would begin anew"
    }])
}

/// Rules of a set's `template.spec`.
pub(super) fn template_spec() -> Value {
    Value::Array(template_spec_rules())
}

fn template_spec_rules() -> Vec<Value> {
    let text = |owner: &str, field: &str| format!("(has({owner}.{field}) ? {owner}.{field} : '')");
    // An empty class says something of claims alone.
    let class = |owner: &str| {
        format!(
            "(has({owner}.storageClass) && ({owner}.storageClass != '' || has({owner}.storageSize)) ? 'of ' + {owner}.storageClass : '')"
        )
    };
    let quantity = |owner: &str| format!("(has({owner}.storageSize) ? string({owner}.storageSize) : '')");
    vec![
        json!({
            "rule": "self.protocol == oldSelf.protocol",
            "message": "field is immutable",
            "fieldPath": ".protocol"
        }),
        ratcheted(
            &format!("{} == '' || {} != ''", text("self", "storageClass"), quantity("self")),
            &["storageClass"],
            &json!({
                "message": "storageClass needs a size",
                "reason": "FieldValueRequired",
                "fieldPath": ".storageSize"
            }),
        ),
        json!({
            "rule": format!("{} == {}", class("self"), class("oldSelf")),
            "message": "field is immutable: the claim templates of a StatefulSet cannot change",
            "reason": "FieldValueForbidden",
            "fieldPath": ".storageClass"
        }),
        json!({
            "rule": format!("{0} == {1} || ({0} != '' && {1} != '' && quantity({0}).compareTo(quantity({1})) == 0)", quantity("self"), quantity("oldSelf")),
            "message": "field is immutable: the claim templates of a StatefulSet cannot change",
            "reason": "FieldValueForbidden",
            "fieldPath": ".storageSize"
        }),
        ratcheted(
            "!has(self.pullPolicy) || !has(self.imagePullPolicy) || self.pullPolicy == self.imagePullPolicy",
            &["pullPolicy", "imagePullPolicy"],
            &json!({ "message": "must be equal to imagePullPolicy", "fieldPath": ".pullPolicy" }),
        ),
    ]
}

/// Rules of one field of a template each, which the API server ratchets by itself: pointers below the template, and what
/// holds there.
pub(super) fn template_fields() -> [(&'static str, Value); 2] {
    let size = json!([{
        "rule": "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
        "message": "must be a quantity greater than 0, for instance 8Gi"
    }]);
    let variable = json!([{
        "rule": "self.name != 'NODE_ID'",
        "message": "NODE_ID is set by the controller",
        "reason": "FieldValueForbidden",
        "fieldPath": ".name"
    }]);
    [("/properties/storageSize", size), ("/properties/env/items", variable)]
}

/// Fields of Kubernetes' own types that their schemas ask for and a StatefulSet may lack: pointers of the objects below a
/// template, and the names of the fields.
pub(super) const OPTIONAL: [(&str, &str); 3] = [
    ("/properties/imagePullSecrets/items", "name"),
    ("/properties/podSecurityContext/properties/sysctls/items", "value"),
    (
        "/properties/affinity/properties/nodeAffinity/properties/preferredDuringSchedulingIgnoredDuringExecution/items",
        "preference",
    ),
];

/// A rule about several fields that passes when none of them changed. The API server would ask it again whenever
/// anything changes in the object that holds them, and so hold what is stored against an edit of something else.
fn ratcheted(rule: &str, fields: &[&str], rest: &Value) -> Value {
    let unchanged = fields.iter().map(|field| {
        let (new, old) = (format!("self.{field}"), format!("oldSelf.value().{field}"));
        format!("has({new}) == has({old}) && (!has({new}) || {new} == {old})")
    });
    let unchanged = unchanged.collect::<Vec<_>>().join(" && ");
    let mut whole = rest.clone();
    whole["rule"] = format!("({rule}) || (oldSelf.hasValue() && {unchanged})").into();
    whole["optionalOldSelf"] = true.into();
    whole
}

/// What a quantity looks like: the pattern that Kubernetes' own tools generate for one.
pub(super) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Rules at the root of a PartitionSet, where the name is. The root is not ratcheted by the API server: each rule passes
/// when what it judges did not change, or a stored object that breaks it could never lose a finalizer.
pub(super) fn partition_set_root() -> Value {
    let count = |set: &str| format!("(has({set}.spec.partitions) ? {set}.spec.partitions : 1)");
    let unchanged = format!("oldSelf.hasValue() && {} == {}", count("self"), count("oldSelf.value()"));
    json!([
        {
            "rule": "oldSelf.hasValue() || self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "message": "metadata.name must be a DNS-1035 label: lower case letters, digits and '-', starting with a letter, ending with a letter or digit",
            "optionalOldSelf": true
        },
        {
            "rule": format!("({unchanged}) || size(self.metadata.name) + 1 + size(string({})) <= 52", count("self")),
            "message": "metadata.name and the highest partition number must fit into 52 characters: <name>-<partitions>",
            "optionalOldSelf": true
        }
    ])
}

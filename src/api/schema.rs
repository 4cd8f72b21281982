//! Parts of the CRD schemas that a Rust type does not express: CEL rules, with the messages of Kubernetes' own validation.

use std::iter;

use kube::core::{Reason, Rule};
use schemars::Schema;
use serde_json::{Value, json};

use super::Protocol;

/// Rules that a number is within `min..=max`.
pub(super) fn range(min: i64, max: i64) -> [Rule; 2] {
    [
        Rule::new(format!("self >= {min}")).message(&*format!("must be greater than or equal to {min}")),
        Rule::new(format!("self <= {max}")).message(&*format!("must be less than or equal to {max}")),
    ]
}

/// Rules at the root of a PartitionSet, where the name is. The API server does not ratchet the root: each rule passes if
/// what it checks did not change, or a stored object that breaks it could never lose a finalizer.
pub(super) fn partition_set_root() -> [Rule; 2] {
    let count = |set: &str| format!("(has({set}.spec.partitions) ? {set}.spec.partitions : 1)");
    let unchanged = format!("oldSelf.hasValue() && {} == {}", count("self"), count("oldSelf.value()"));
    let named = "oldSelf.hasValue() || self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')";
    let short = format!("({unchanged}) || size(self.metadata.name) + 1 + size(string({})) <= 52", count("self"));
    [
        Rule::new(named).optional_old_self(true).message(
            "metadata.name must be a DNS-1035 label: lower case letters, digits and '-', starting with a letter, ending with a letter or digit",
        ),
        Rule::new(short).optional_old_self(true).message(
            "metadata.name and the highest partition number must fit into 52 characters: <name>-<partitions>",
        ),
    ]
}

/// Rules of a PartitionSet's spec.
pub(super) fn partition_set_spec() -> Vec<Rule> {
    let size = |spec: &str| {
        format!(
            "(has({spec}.template.spec.size) ? {spec}.template.spec.size : has({spec}.partitionSize) ? {spec}.partitionSize : 1)"
        )
    };
    let rules = [
        ratcheted(
            "!has(self.maxUnavailablePartitions) || self.maxUnavailablePartitions <= (has(self.partitions) ? self.partitions : 1) || (has(self.partitions) && self.partitions < 1)",
            &["maxUnavailablePartitions", "partitions"],
        )
        .message("must be less than or equal to spec.partitions")
        .field_path(".maxUnavailablePartitions"),
        ratcheted(
            "!has(self.partitionSize) || !has(self.template.spec.size) || self.partitionSize == self.template.spec.size",
            &["partitionSize", "template.spec.size"],
        )
        .message("must be equal to spec.template.spec.size")
        .field_path(".partitionSize"),
    ];
    rules.into_iter().chain(fixed_size(".template.spec", size)).collect()
}

/// Rules of a Partition's spec.
pub(super) fn partition_spec() -> Vec<Rule> {
    let size = |spec: &str| format!("(has({spec}.size) ? {spec}.size : 1)");
    template_spec().into_iter().chain(fixed_size("", size)).collect()
}

/// Rules that the size of a partition cannot change with a protocol that does not allow it, where `template` is the path
/// of the protocol and `size` makes the expression of the size.
fn fixed_size(template: &str, size: impl Fn(&str) -> String) -> impl Iterator<Item = Rule> {
    let fixed = Protocol::ALL.into_iter().filter(|protocol| !protocol.facts().is_resizable);
    fixed.map(move |protocol| {
        let protocol = protocol.as_str();
        let changed = |spec| format!("{spec}{template}.protocol != '{protocol}'");
        let same = format!("{} == {}", size("self"), size("oldSelf"));
        Rule::new(format!("{} || {} || {same}", changed("oldSelf"), changed("self")))
            .message(&*format!("field is immutable with the {protocol} protocol"))
            .field_path(format!("{template}.size"))
    })
}

/// Rules of a set's `template.spec`.
pub(super) fn template_spec() -> Vec<Rule> {
    const CLAIMS: &str = "field is immutable: the claim templates of a StatefulSet cannot change";
    // An empty class matters to claims alone.
    let class = |owner: &str| {
        format!(
            "(has({owner}.storageClass) && ({owner}.storageClass != '' || has({owner}.storageSize)) ? 'of ' + {owner}.storageClass : '')"
        )
    };
    let quantity = |owner: &str| format!("(has({owner}.storageSize) ? string({owner}.storageSize) : '')");
    let (new, old) = (quantity("self"), quantity("oldSelf"));
    vec![
        Rule::new("self.protocol == oldSelf.protocol").message("field is immutable").field_path(".protocol"),
        ratcheted(
            &format!("(has(self.storageClass) ? self.storageClass : '') == '' || {new} != ''"),
            &["storageClass"],
        )
        .message("storageClass needs a size")
        .reason(Reason::FieldValueRequired)
        .field_path(".storageSize"),
        Rule::new(format!("{} == {}", class("self"), class("oldSelf")))
            .message(CLAIMS)
            .reason(Reason::FieldValueForbidden)
            .field_path(".storageClass"),
        Rule::new(format!(
            "{new} == {old} || ({new} != '' && {old} != '' && quantity({new}).compareTo(quantity({old})) == 0)"
        ))
        .message(CLAIMS)
        .reason(Reason::FieldValueForbidden)
        .field_path(".storageSize"),
        ratcheted(
            "!has(self.pullPolicy) || !has(self.imagePullPolicy) || self.pullPolicy == self.imagePullPolicy",
            &["pullPolicy", "imagePullPolicy"],
        )
        .message("must be equal to imagePullPolicy")
        .field_path(".pullPolicy"),
    ]
}

/// Rules at the root of a Partition: without the record of its election, its terms would be lost.
pub(super) fn partition_root() -> Rule {
    Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.election) || (has(self.status) && has(self.status.election))",
    )
    .message("status.election cannot be removed: terms would begin anew")
}

/// Rules of a Partition's `status.election`: a term never falls and has one primary.
pub(super) fn election() -> [Rule; 2] {
    [
        Rule::new("self.term >= oldSelf.term").message("must not be less than it was").field_path(".term"),
        Rule::new("self.term > oldSelf.term || self.primary == oldSelf.primary || self.primary == ''")
            .message("cannot become another member in the same term")
            .field_path(".primary"),
    ]
}

/// Rule of `storageSize`.
pub(super) fn storage_size() -> [Rule; 1] {
    [Rule::new("isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))")
        .message("must be a quantity greater than 0, for instance 8Gi")]
}

/// Adds the rule of an environment variable to the items of a list.
pub(super) fn variables(schema: &mut Schema) {
    let rule = Rule::new("self.name != 'NODE_ID'")
        .message("NODE_ID is set by the controller")
        .reason(Reason::FieldValueForbidden)
        .field_path(".name");
    if let Some(items) = schema.pointer_mut("/items") {
        items["x-kubernetes-validations"] = json!([rule]);
    }
}

/// Makes a field optional that the schema of Kubernetes' own type requires and a StatefulSet may lack. `pointer` is the
/// object with the field.
pub(super) fn optional(pointer: &'static str, field: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let Some(object) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
        let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) else { return };
        required.retain(|name| name != field);
        if required.is_empty() {
            object.remove("required");
        }
    }
}

/// A rule about several fields that passes if none of them changed. The API server would check it again whenever anything
/// changes in the object that holds them, and so refuse an edit of something else in what is stored.
fn ratcheted(rule: &str, fields: &[&str]) -> Rule {
    let unchanged = fields.iter().map(|field| {
        let (new, old) = (format!("self.{field}"), format!("oldSelf.value().{field}"));
        format!("has({new}) == has({old}) && (!has({new}) || {new} == {old})")
    });
    let unchanged = iter::once("oldSelf.hasValue()".to_owned()).chain(unchanged).collect::<Vec<_>>().join(" && ");
    Rule::new(format!("({rule}) || ({unchanged})")).optional_old_self(true)
}

/// What a quantity looks like: the pattern that Kubernetes' own tools generate for one.
pub(super) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

//! Changes of what cannot change, which get in only while both the webhook and the rules of the schema are away. They
//! are not acted on: partitions keep what they have, and everything else of the set is reconciled.

use super::member::Existing;
use crate::api::{DEFAULT_COUNT, Protocol, TemplateSpec};
use crate::controller::trouble::Trouble;
use crate::rules::quantity::Quantity;
use crate::rules::{SetObject, config};

/// Puts back into `object` what its partitions have and it cannot change, and returns what that was. A value that
/// not all partitions have is not put back: one of them was edited, and is put right. (Of a set of one partition it is not
/// known which of the two was edited; it is reported, and nothing is destroyed.)
pub(super) fn keep(object: &mut SetObject, existing: &Existing) -> Option<Trouble> {
    let members: Vec<&TemplateSpec> = existing
        .partitions
        .values()
        .filter(|member| !member.known.deleting)
        .map(|member| &member.known.facts.spec.template)
        .collect();
    let first = *members.first()?;
    let agree = |same: fn(&TemplateSpec, &TemplateSpec) -> bool| members.iter().all(|member| same(first, member));
    let mut kept = Vec::new();
    let template = &mut object.spec.template.spec;
    let known = Protocol::parse(&template.protocol).is_some();
    if known && template.protocol != first.protocol && agree(|one, other| one.protocol == other.protocol) {
        kept.push(change("protocol", &format!("{:?}", first.protocol), &format!("{:?}", template.protocol)));
        template.protocol.clone_from(&first.protocol);
        let options = template.config.as_deref().unwrap_or_default();
        if config::check(options, Protocol::parse(&first.protocol), "config").is_err() {
            template.config.clone_from(&first.config);
        }
    }
    if Protocol::parse(&template.protocol).is_some_and(|protocol| !protocol.facts().is_resizable)
        && agree(|one, other| size(one) == size(other))
    {
        let names = [&mut template.size, &mut object.spec.partition_size];
        let asked = names.iter().filter_map(|name| **name).find(|asked| *asked != size(first));
        let asked = asked
            .or((names.iter().all(|name| name.is_none()) && size(first) != DEFAULT_COUNT).then_some(DEFAULT_COUNT));
        if let Some(asked) = asked {
            kept.push(change("size", &size(first).to_string(), &asked.to_string()));
            for name in names {
                *name = Some(size(first));
            }
        }
    }
    if class(template) != class(first) && agree(|one, other| class(one) == class(other)) {
        kept.push(change("storageClass", &class(first), &class(template)));
        template.storage_class.clone_from(&first.storage_class);
    }
    if !same_storage(template, first) && agree(same_storage) {
        kept.push(change("storageSize", &amount(first), &amount(template)));
        template.storage_size.clone_from(&first.storage_size);
    }
    (!kept.is_empty()).then(|| {
        let message =
            format!("{}: the partitions stay as they are. Set it back, or create another set", kept.join("; "));
        Trouble::new(true, "ImmutableFieldChanged", message)
    })
}

fn change(field: &str, from: &str, to: &str) -> String {
    format!("spec.template.spec.{field} cannot change from {from} to {to}")
}

fn size(spec: &TemplateSpec) -> i64 {
    spec.size.unwrap_or(DEFAULT_COUNT)
}

fn class(spec: &TemplateSpec) -> String {
    spec.claimed_class().map_or_else(|| "the default".to_owned(), |class| format!("{class:?}"))
}

fn amount(spec: &TemplateSpec) -> String {
    spec.storage_size.as_ref().map_or_else(|| "none".to_owned(), |size| size.0.clone())
}

fn same_storage(one: &TemplateSpec, other: &TemplateSpec) -> bool {
    let quantity = |spec: &TemplateSpec| spec.storage_size.as_ref().map(|size| Quantity::parse(&size.0));
    match (quantity(one), quantity(other)) {
        (Some(Some(one)), Some(Some(other))) => one.nanos() == other.nanos(),
        (one, other) => one.is_none() == other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::member::Member;
    use super::*;
    use crate::api::{Partition, PartitionSet};
    use crate::store::Kind;

    /// What is kept of `asked` by a set whose partitions have the others, and the message.
    fn kept(asked: Value, partitions: &[Value]) -> (Value, String) {
        let set: PartitionSet = serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "g"},
            "spec": {"template": {"spec": asked}},
        }))
        .unwrap();
        let member = |(spec, index): (&Value, i64)| {
            let partition: Partition = serde_json::from_value(
                json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition", "metadata": {}, "spec": spec}),
            )
            .unwrap();
            let known = partition.cached();
            (
                index,
                Member {
                    known: Arc::new(known),
                    addresses: Vec::new(),
                    available_in: None,
                    pods: None,
                    foreign: None,
                    unwritten: None,
                },
            )
        };
        let existing = Existing { partitions: partitions.iter().zip(1..).map(member).collect(), ..Existing::default() };
        let mut object = SetObject::from(&set);
        let trouble = keep(&mut object, &existing);
        let message = trouble.map(|trouble| trouble.message.split(": the").next().unwrap().to_owned());
        (serde_json::to_value(&object.spec.template.spec).unwrap(), message.unwrap_or_default())
    }

    #[test]
    fn what_cannot_change_is_kept_and_the_rest_is_not() {
        let stored = json!({"protocol": "raft", "size": 3, "storageClass": "a", "storageSize": "1Gi", "image": "i"});
        for (field, value, message) in [
            ("protocol", json!("log"), r#"protocol cannot change from "raft" to "log""#),
            ("size", json!(5), "size cannot change from 3 to 5"),
            ("storageClass", json!("b"), r#"storageClass cannot change from "a" to "b""#),
            ("storageSize", json!("2Gi"), "storageSize cannot change from 1Gi to 2Gi"),
        ] {
            let mut asked = stored.clone();
            asked[field] = value;
            asked["image"] = json!("other");
            let (kept, text) = kept(asked, &[stored.clone(), stored.clone()]);
            assert_eq!(text, format!("spec.template.spec.{message}"));
            assert_eq!((&kept[field], &kept["image"]), (&stored[field], &json!("other")));
        }
    }

    #[test]
    fn what_may_change_does() {
        let stored = json!({"protocol": "log", "size": 3, "storageSize": "1Gi"});
        let asked = json!({"protocol": "log", "size": 5, "storageSize": "1024Mi"});
        assert_eq!(kept(asked.clone(), &[stored]), (asked.clone(), String::new()));
        assert_eq!(kept(asked.clone(), &[]), (asked, String::new()));
    }

    #[test]
    fn options_of_another_protocol_are_not_taken_over() {
        let stored = json!({"protocol": "raft", "config": "electionTimeout: 5s"});
        let (kept, _) = kept(
            json!({"protocol": "backup", "config": "memberGroupStrategy: HOST_AWARE"}),
            std::slice::from_ref(&stored),
        );
        assert_eq!((&kept["protocol"], &kept["config"]), (&json!("raft"), &stored["config"]));
    }

    #[test]
    fn one_partition_that_differs_from_the_others_is_no_guide() {
        let (stored, edited) = (json!({"protocol": "raft", "size": 3}), json!({"protocol": "raft", "size": 5}));
        let (kept, text) = kept(stored.clone(), &[edited, stored]);
        assert_eq!((&kept["size"], text.as_str()), (&json!(3), ""));
    }
}

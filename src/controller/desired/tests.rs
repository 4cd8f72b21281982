#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::wanted::annotation;
use super::*;
use crate::api::labels::annotations;
use crate::store::Kind;
use crate::store::cached::Ignored;
use crate::store::fields::FieldSet;

fn stateful_set(annotations: Value, labels: Value, template: Value) -> Value {
    json!({
        "metadata": {"name": "g-1", "resourceVersion": "7", "annotations": annotations, "labels": labels,
            "managedFields": [{"manager": "x"}]},
        "spec": {"replicas": 3, "template": template},
    })
}

fn wanted(hash: &str, image: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": "atomix"}},
        "spec": {"containers": [{"name": "atomix", "image": image}]},
    });
    let labels = json!({"app.kubernetes.io/managed-by": "atx"});
    let mut wanted = stateful_set(json!({"k8s.atomix.io/pod-template-hash": hash}), labels, template);
    wanted["metadata"].as_object_mut().unwrap().remove("managedFields");
    wanted
}

fn replaced(stored: &Value, wanted: &Value, ignored: &[&str]) -> Value {
    let desired = Desired::from(StatefulSet::default());
    let ignored: Vec<String> = ignored.iter().map(|field| (*field).to_owned()).collect();
    replacement(&desired, stored, wanted, &ignored)
}

/// A stored StatefulSet as `wanted` with what others added to its template.
fn stored(hash: &str) -> Value {
    let mut stored = wanted(hash, "i");
    let template = &mut stored["spec"]["template"];
    template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    template["spec"]["containers"][0]["tty"] = json!(true);
    template["spec"]["dnsPolicy"] = json!("ClusterFirst");
    stored
}

fn lacks(stored: &Value, wanted: &Value) -> Vec<String> {
    let fields = FieldSet::of(stored, &StatefulSet::COMPARISON);
    let annotations = serde_json::from_value(stored["metadata"]["annotations"].clone()).unwrap_or_default();
    missing::<StatefulSet>(wanted, &fields, Ignored::of(&annotations).as_ref())
}

#[test]
fn while_the_template_is_the_same_what_others_added_to_it_stays() {
    let mut edited = stored("a");
    edited["spec"]["replicas"] = json!(5);
    let wanted = wanted("a", "i");
    assert_eq!(lacks(&edited, &wanted), ["spec.replicas"]);
    let mut expected = stored("a");
    expected["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(replaced(&edited, &wanted, &[]), expected);
}

#[test]
fn another_template_is_written_whole_and_foreign_annotations_stay() {
    let object = replaced(&stored("a"), &wanted("b", "new"), &[]);
    assert_eq!(object["spec"]["template"]["spec"], json!({"containers": [{"name": "atomix", "image": "new"}]}));
    assert!(object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string());
    assert_eq!(annotation(&object, annotations::POD_TEMPLATE_HASH), Some("b"));
}

#[test]
fn labels_that_were_copied_from_the_set_go_with_it_and_others_stay() {
    let mut stored = wanted("a", "i");
    stored["metadata"]["annotations"]["k8s.atomix.io/copied-labels"] = json!("team,tier");
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        let labels = stored.pointer_mut(labels).unwrap();
        labels["team"] = json!("x");
        labels["tier"] = json!("y");
        labels["cost"] = json!("theirs");
    }
    let mut wanted = wanted("a", "i");
    wanted["metadata"]["annotations"]["k8s.atomix.io/copied-labels"] = json!("team");
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        wanted.pointer_mut(labels).unwrap()["team"] = json!("x");
    }
    let object = replaced(&stored, &wanted, &[]);
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        let labels = object.pointer(labels).unwrap();
        assert_eq!((&labels["team"], &labels["cost"], labels.get("tier")), (&json!("x"), &json!("theirs"), None));
    }
}

#[test]
fn the_last_label_that_was_copied_goes_as_well() {
    let mut stored = wanted("a", "i");
    stored["metadata"]["annotations"]["k8s.atomix.io/copied-labels"] = json!("team");
    stored["metadata"]["labels"]["team"] = json!("x");
    let lacking = lacks(&stored, &wanted("a", "i"));
    assert_eq!(lacking, ["metadata.annotations.k8s.atomix.io/copied-labels"]);
    let object = replaced(&stored, &wanted("a", "i"), &[]);
    assert_eq!(
        (object["metadata"]["labels"].get("team"), annotation(&object, annotations::COPIED_LABELS)),
        (None, None)
    );
    assert_eq!(lacks(&object, &wanted("a", "i")), Vec::<String>::new());
}

#[test]
fn what_a_policy_sets_in_each_write_is_left_to_it_until_something_else_is_wanted() {
    let by_policy = wanted("a", "mirror/i");
    let before = wanted("a", "i");
    let image = "spec.template.spec.containers[atomix].image";
    assert_eq!(lacks(&by_policy, &before), [image]);
    let mut stored = replaced(&by_policy, &before, &[image]);
    assert_eq!(annotation(&stored, annotations::IGNORED_FIELDS), Some(image));
    stored["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/i");
    assert_eq!(lacks(&stored, &before), Vec::<String>::new());
    stored["spec"]["replicas"] = json!(1);
    assert_eq!(lacks(&stored, &before), ["spec.replicas"]);
    let mut after = before.clone();
    after["spec"]["replicas"] = json!(1);
    assert_eq!(lacks(&stored, &after), [image]);
    let again = replaced(&stored, &after, &[]);
    assert_eq!(annotation(&again, annotations::IGNORED_FIELDS), None);
    assert_eq!(annotation(&again, annotations::IGNORED_FIELDS_OF), None);
}

#[test]
fn a_label_that_is_left_to_a_policy_is_that_label_alone() {
    let annotations = [(annotations::IGNORED_FIELDS, "metadata.labels.app,spec.template")];
    let ignored = Ignored::of(&annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).unwrap();
    for (path, left) in [
        ("metadata.labels.app", true),
        ("metadata.labels.app.kubernetes.io/name", false),
        ("spec.template.spec.containers[atomix].image", true),
    ] {
        assert_eq!(ignored.contains(path), left, "{path}");
    }
}

#[test]
fn a_stateful_set_of_the_first_controller_keeps_its_template_until_another_is_wanted() {
    let theirs = json!({"metadata": {"labels": {"app": "atomix"}}, "spec": {"containers": [{"name": "atomix", "image": "theirs"}]}});
    let mut stored = stateful_set(json!({}), json!({}), theirs.clone());
    stored["spec"]["replicas"] = json!(1);
    let taken = replaced(&stored, &wanted("a", "i"), &[]);
    assert_eq!((&taken["spec"]["template"], &taken["spec"]["replicas"]), (&theirs, &json!(3)));
    assert_eq!(annotation(&taken, annotations::IGNORED_FIELDS), Some("spec.template"));
    assert_eq!(lacks(&taken, &wanted("a", "i")), Vec::<String>::new());
    let mut scaled = taken.clone();
    scaled["spec"]["replicas"] = json!(5);
    assert_eq!(replaced(&scaled, &wanted("a", "i"), &[]), taken);
    let rolled = replaced(&taken, &wanted("b", "i"), &[]);
    assert_eq!(rolled["spec"]["template"]["spec"]["containers"][0]["image"], "i");
    assert_eq!(annotation(&rolled, annotations::IGNORED_FIELDS), None);
}

#[test]
fn a_template_that_an_annotation_requests_to_be_left_alone_is_not() {
    let mut stored = wanted("a", "stranger");
    stored["metadata"]["annotations"]["k8s.atomix.io/ignored-fields"] = json!("spec.template");
    let object = replaced(&stored, &wanted("a", "i"), &[]);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "i");
    assert_eq!(annotation(&object, annotations::IGNORED_FIELDS), None);
}

#[test]
fn a_stateful_set_of_an_earlier_version_is_brought_to_what_is_wanted() {
    let mut stored = wanted("", "i");
    stored["metadata"]["annotations"] = json!({});
    let object = replaced(&stored, &wanted("a", "new"), &[]);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "new");
    assert_eq!(annotation(&object, annotations::IGNORED_FIELDS), None);
}

#[test]
fn an_object_without_an_owner_is_known_by_the_labels_that_all_of_a_set_have() {
    let labels = json!({"app.kubernetes.io/name": "atomix", "app.kubernetes.io/instance": "g", "team": "x"});
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "g", "labels": labels}})).unwrap();
    let desired = Desired::from(service);
    let known = |labels: Value| {
        desired.is_known_by(&FieldSet::of(&json!({"metadata": {"labels": labels}}), &Service::COMPARISON))
    };
    assert!(known(json!({"app.kubernetes.io/name": "atomix", "app.kubernetes.io/instance": "g", "more": ""})));
    assert!(!known(json!({"app.kubernetes.io/name": "atomix", "app.kubernetes.io/instance": "h"})));
    assert!(!known(json!({})));
    assert!(!Desired::from(Service::default()).is_known_by(&FieldSet::default()));
}

#[test]
fn notes_of_the_controller_are_no_drift() {
    let path = |key: &str| format!("metadata.annotations.{key}");
    assert!(is_bookkeeping(&[path(annotations::POD_TEMPLATE_HASH), path(annotations::COPIED_LABELS)]));
    assert!(!is_bookkeeping(&[path(annotations::POD_TEMPLATE_HASH), "spec.replicas".to_owned()]));
}

#[test]
fn an_adopted_partition_is_as_old_as_its_new_set() {
    let annotations =
        |generation: &str| json!({"metadata": {"annotations": {annotations::SET_GENERATION: generation, "a": "b"}}});
    let initial = json!({"metadata": {"annotations": {annotations::SET_GENERATION: "1"}}});
    let (mut adopted, kept) = (annotations("17"), annotations("17"));
    forget_former_owner(&mut adopted);
    assert_eq!(creation(&adopted, &initial), annotations("1"));
    assert_eq!(creation(&kept, &initial), kept);
}

#[test]
fn claim_templates_that_cannot_change_stay_as_they_are_where_an_empty_class_is_new() {
    let claims = |class: Value| json!([{"metadata": {"name": "data"}, "spec": {"storageClassName": class}}]);
    let (mut old, mut new) = (stored("a"), wanted("b", "j"));
    // An earlier version wrote none where the set said "".
    old["spec"]["volumeClaimTemplates"] = claims(Value::Null);
    new["spec"]["volumeClaimTemplates"] = claims("".into());
    let replaced = replaced(&old, &new, &[]);
    assert_eq!(replaced["spec"]["volumeClaimTemplates"], claims(Value::Null));
    assert_eq!(replaced["spec"]["template"]["spec"]["containers"][0]["image"], "j");
}

#[test]
fn the_stable_hash_depends_on_what_is_said_and_not_on_what_is_empty() {
    let hash = |value: Value| hash_of_value(&value);
    assert_eq!(hash(json!({"a": 1, "b": {}})), hash(json!({"a": 1})));
    assert_ne!(hash(json!({"a": 1})), hash(json!({"a": "1"})));
    assert_ne!(hash(json!(["ab", "c"])), hash(json!(["a", "bc"])));
    // It is stored in the cluster: a version that computes another one writes every StatefulSet anew.
    assert_eq!(hash(json!({"spec": {"replicas": 3, "args": ["a"]}})), "2cf88136325d9a34");
}

//! A stored object with what is wanted put into it, and what others added left as it is.

use serde_json::{Map, Value, json};

use crate::store::fields::{self, Comparison, FieldSet, is_empty, merge_key};

/// Fields that are replaced whole where they lack something, in every kind: what others added to an environment
/// variable, a volume or a probe may contradict what is wanted, such as another source or another handler.
const WHOLE_ELEMENTS: [&str; 2] = ["env", "volumes"];

/// `stored` with every field of `wanted`, and those of `initial` that it lacks.
pub(super) fn merged(stored: &Value, wanted: &Value, initial: &Value, comparison: &Comparison) -> Value {
    let mut object = stored.clone();
    put(&mut object, wanted, "", "", comparison);
    // A ConfigMap has each file once, as text or as bytes.
    if let (Some(bytes), Some(texts)) = (object.get_mut("binaryData"), wanted.get("data"))
        && let (Some(bytes), Some(texts)) = (bytes.as_object_mut(), texts.as_object())
    {
        bytes.retain(|file, _| !texts.contains_key(file));
    }
    for path in comparison.no_extra_fields.iter().filter(|path| lookup(wanted, path).is_none_or(Value::is_null)) {
        remove(&mut object, path);
    }
    fill(&mut object, initial, "");
    object
}

/// Adds the fields of `initial` that `object` lacks. Elements of lists are filled in, and none is added.
pub(super) fn fill(object: &mut Value, initial: &Value, field: &str) {
    match (object, initial) {
        (_, Value::Null) => {}
        (Value::Object(fields), Value::Object(initial)) => {
            for (name, value) in initial {
                let known = fields.entry(name.clone()).or_insert(Value::Null);
                fill(known, value, name);
            }
        }
        (Value::Array(values), Value::Array(initial)) if !values.is_empty() => {
            let Some(key_of) = merge_key(field) else { return };
            for value in values {
                if let Some(initial) = initial.iter().find(|initial| key_of(initial) == key_of(value)) {
                    fill(value, initial, field);
                }
            }
        }
        (object, initial) if is_empty(object) => object.clone_from(initial),
        _ => {}
    }
}

fn put(object: &mut Value, wanted: &Value, path: &str, field: &str, comparison: &Comparison) {
    if comparison.no_extra_fields.contains(&path) {
        object.clone_from(wanted);
    } else if comparison.replaced_whole.contains(&path) || is_probe(field) {
        if !contains(field, object, wanted) {
            object.clone_from(wanted);
        }
    } else {
        match (object, wanted) {
            (Value::Object(fields), Value::Object(wanted)) => put_fields(fields, wanted, path, comparison),
            (Value::Array(values), Value::Array(wanted)) => put_elements(values, wanted, path, field, comparison),
            (object, wanted) => object.clone_from(wanted),
        }
    }
}

fn put_fields(fields: &mut Map<String, Value>, wanted: &Map<String, Value>, path: &str, comparison: &Comparison) {
    for (name, value) in wanted.iter().filter(|(_, value)| value.is_string() || !is_empty(value)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        put(fields.entry(name.clone()).or_insert(Value::Null), value, &path, name, comparison);
    }
}

fn put_elements(values: &mut Vec<Value>, wanted: &[Value], path: &str, field: &str, comparison: &Comparison) {
    let Some(key_of) = merge_key(field) else {
        if !contains(field, &Value::Array(values.clone()), &Value::Array(wanted.to_vec())) {
            *values = wanted.to_vec();
        }
        return;
    };
    if comparison.no_extra_elements.contains(&path) {
        values.retain(|value| wanted.iter().any(|wanted| key_of(wanted) == key_of(value)));
    }
    if field == "ports" {
        // Each name can be had once.
        let has_name =
            |value: &Value, wanted: &Value| wanted.get("name").is_some_and(|name| value.get("name") == Some(name));
        let is_taken = |value: &Value| wanted.iter().any(|wanted| has_name(value, wanted));
        values.retain(|value| !is_taken(value) || wanted.iter().any(|wanted| key_of(wanted) == key_of(value)));
    }
    for wanted in wanted {
        let mut is_first = true;
        values.retain(|value| key_of(value) != key_of(wanted) || std::mem::take(&mut is_first));
        let known = values.iter_mut().find(|value| key_of(value) == key_of(wanted));
        match known {
            Some(value) if WHOLE_ELEMENTS.contains(&field) => {
                if !contains(field, &json!([value]), &json!([wanted])) {
                    value.clone_from(wanted);
                }
            }
            Some(value) => put(value, wanted, &format!("{path}[]"), field, comparison),
            None => values.push(wanted.clone()),
        }
    }
}

/// Whether a field has all that is wanted of it.
fn contains(field: &str, stored: &Value, wanted: &Value) -> bool {
    let comparison = Comparison::RULE;
    let within = |value: &Value| json!({ "within": { field: value } });
    fields::missing(&within(wanted), &comparison, &FieldSet::of(&within(stored), &comparison)).is_empty()
}

fn is_probe(field: &str) -> bool {
    matches!(field, "livenessProbe" | "readinessProbe")
}

fn lookup<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, step| value.get(step))
}

fn remove(object: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let steps = parent.split('.').filter(|step| !step.is_empty());
    let parent = steps.into_iter().try_fold(object, |value, step| value.get_mut(step));
    if let Some(fields) = parent.and_then(Value::as_object_mut) {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

    use super::*;

    const COMPARISON: Comparison = Comparison {
        no_extra_fields: &["spec.selector", "spec.absent"],
        no_extra_elements: &["spec.ports"],
        replaced_whole: &["spec.strategy"],
    };

    fn of(stored: Value, wanted: Value) -> Value {
        merged(&json!({ "spec": stored }), &json!({ "spec": wanted }), &Value::Null, &COMPARISON)["spec"].take()
    }

    #[test]
    fn what_is_wanted_is_put_in_and_what_others_added_stays() {
        let stored = json!({"replicas": 5, "theirs": {"a": 1}, "map": {"x": 1, "y": 2}});
        let wanted = json!({"replicas": 3, "map": {"x": 9}, "limits": {}});
        let merged = of(stored, wanted);
        assert_eq!(merged, json!({"replicas": 3, "theirs": {"a": 1}, "map": {"x": 9, "y": 2}}));
    }

    #[test]
    fn lists_are_merged_by_key_and_others_replaced_where_they_lack_something() {
        let stored = json!({"containers": [{"name": "sidecar"}, {"name": "atomix", "image": "x", "tty": true}]});
        let wanted = json!({"containers": [{"name": "atomix", "image": "i"}]});
        let containers = json!([{"name": "sidecar"}, {"name": "atomix", "image": "i", "tty": true}]);
        assert_eq!(of(stored, wanted)["containers"], containers);
        let wanted = json!({"tolerations": [{"key": "a"}]});
        let more = json!({"tolerations": [{"key": "b"}, {"key": "a"}]});
        assert_eq!(of(more.clone(), wanted.clone()), more);
        assert_eq!(of(json!({"tolerations": [{"key": "b"}]}), wanted.clone()), wanted);
    }

    #[test]
    fn a_closed_list_and_an_exact_field_hold_nothing_else() {
        let stored = json!({
            "ports": [{"name": "a", "port": 1}, {"port": 2, "appProtocol": "theirs"}],
            "selector": {"a": "b", "c": "d"}, "absent": 5,
        });
        let wanted = json!({"ports": [{"name": "api", "port": 2}], "selector": {"a": "b"}});
        let ports = json!([{"name": "api", "port": 2, "appProtocol": "theirs"}]);
        assert_eq!(of(stored, wanted), json!({"ports": ports, "selector": {"a": "b"}}));
    }

    #[test]
    fn what_others_added_goes_where_it_may_contradict_what_is_wanted() {
        let stored = json!({
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "livenessProbe": {"httpGet": {"port": 1}},
            "env": [{"name": "A", "valueFrom": {"x": 1}}, {"name": "B", "value": "theirs"}],
        });
        let wanted = json!({
            "strategy": {"type": "OnDelete"}, "livenessProbe": {"exec": {"command": ["true"]}},
            "env": [{"name": "A", "value": "ours"}],
        });
        let mut expected = wanted.clone();
        expected["env"] = json!([{"name": "A", "value": "ours"}, {"name": "B", "value": "theirs"}]);
        assert_eq!(of(stored, wanted), expected);
    }

    #[test]
    fn what_others_added_goes_where_it_excludes_or_hides_what_is_wanted() {
        let ours = json!({"name": "A", "value": "ours"});
        let stored = json!({"env": [ours, {"name": "B"}, {"name": "A", "value": "theirs"}]});
        assert_eq!(of(stored, json!({"env": [ours]})), json!({"env": [ours, {"name": "B"}]}));
        let port = |name: &str, port: u16| json!({"name": name, "containerPort": port});
        let stored = json!({"of": {"ports": [port("x", 1), port("api", 9), port("theirs", 8)]}});
        let wanted = json!({"of": {"ports": [port("api", 1)]}});
        assert_eq!(of(stored, wanted), json!({"of": {"ports": [port("api", 1), port("theirs", 8)]}}));
        let stored = json!({"of": {"ports": [port("b", 1), port("a", 2)]}});
        let wanted = json!({"of": {"ports": [port("a", 1), port("b", 2)]}});
        assert_eq!(of(stored, wanted.clone()), wanted);
        let stored = json!({"data": {"c": "d"}, "binaryData": {"a": "AAAA", "b": "AAAA"}});
        let object = merged(&stored, &json!({"data": {"a": "text"}}), &Value::Null, &Comparison::RULE);
        assert_eq!(object, json!({"data": {"a": "text", "c": "d"}, "binaryData": {"b": "AAAA"}}));
    }

    #[test]
    fn initial_fields_are_only_filled_in_where_there_are_none() {
        let stored = json!({"ports": [{"port": 1, "appProtocol": "theirs"}, {"port": 2}], "ip": ""});
        let initial =
            json!({"ports": [{"port": 1, "appProtocol": "grpc"}, {"port": 2, "appProtocol": "grpc"}], "ip": "x"});
        let mut object = stored;
        fill(&mut object, &initial, "");
        let ports = json!([{"port": 1, "appProtocol": "theirs"}, {"port": 2, "appProtocol": "grpc"}]);
        assert_eq!(object, json!({"ports": ports, "ip": "x"}));
    }
}

//! The fields of an object, each reduced to a hash of its path and its value.
//!
//! What is wanted of an object is right if each of its fields is among the stored ones. Fields that others add make no
//! difference, and neither do the defaults that the API server fills in. The caches keep these hashes in place of the
//! objects, so an object is judged whenever it is seen, and nothing has to be remembered of earlier writes.
//!
//! Compared as Kubernetes means it: maps by key, lists by their merge key, other lists of objects and values without
//! regard to order, quantities by value; an empty map, list or text is the same as none.

mod content;

use std::fmt;

use serde_json::Value;

use self::content::{content, hash_of, is_map_of_texts, is_ordered, leaf_content, text};
pub(crate) use self::content::{is_empty, merge_key};
use crate::api::labels::annotations;

/// How the fields of a kind are compared and written, where that differs from the rule: every wanted field is among the
/// stored ones, and what others add stays. Paths are dotted, such as `spec.selector`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    /// Fields whose stored content is exactly the wanted one: the content is compared as one value, and nothing that
    /// others add to it stays. One that is not wanted must be absent.
    pub(crate) no_extra_fields: &'static [&'static str],
    /// Lists with a merge key whose stored elements are exactly the wanted ones. The elements may have further fields.
    pub(crate) no_extra_elements: &'static [&'static str],
    /// Fields that are compared as the rule says, and replaced whole where they differ: what others added to them may
    /// contradict what is wanted, such as the parameters of another update strategy.
    pub(crate) replaced_whole: &'static [&'static str],
}

impl Comparison {
    /// The rule, without an exception.
    pub(crate) const RULE: Self = Self { no_extra_fields: &[], no_extra_elements: &[], replaced_whole: &[] };
}

/// Top-level fields that no object is compared by.
const NEVER_COMPARED: [&str; 3] = ["apiVersion", "kind", "status"];
/// What is compared of an object's metadata.
const METADATA: [&str; 3] = ["labels", "annotations", "ownerReferences"];
/// A map that counts as set although it is empty.
const EMPTY_DIR: &str = "emptyDir";

/// The fields of a stored object, as sorted hashes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(Box<[u32]>);

impl FieldSet {
    /// The fields of `object`.
    pub(crate) fn of(object: &Value, comparison: &Comparison) -> Self {
        let mut hashes = hashes(object, comparison);
        hashes.sort_unstable();
        Self(hashes.into())
    }

    /// Whether a field is among them.
    pub(crate) fn contains(&self, field: u32) -> bool {
        self.0.binary_search(&field).is_ok()
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fields", self.0.len())
    }
}

/// The fields of an object as hashes.
pub(crate) fn hashes(object: &Value, comparison: &Comparison) -> Vec<u32> {
    let mut hashes = Vec::new();
    walk(object, comparison, &mut |_, hash| hashes.push(hash));
    hashes
}

/// The paths of the fields of `wanted` that are not among `stored`.
pub(crate) fn missing(wanted: &Value, comparison: &Comparison, stored: &FieldSet) -> Vec<String> {
    let mut missing = Vec::new();
    walk(wanted, comparison, &mut |path, hash| {
        if !stored.contains(hash) {
            missing.push(path.to_string());
        }
    });
    missing
}

/// The hash of a label or annotation of an object: `map` is `labels` or `annotations`.
pub(crate) fn metadata_field(map: &str, key: &str, value: &str) -> u32 {
    let path = ["metadata", map, key].iter().fold(ROOT, |path, step| stepped(path, step));
    shortened(hash_of(&(path, text(value))))
}

/// A hash of the content of a value.
pub(crate) fn content_hash(value: &Value) -> u64 {
    content(value, "")
}
/// A path on the way down, written as Kubernetes writes it only where it is needed.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path<'a>,
    hash: u64,
    /// Name of the field that holds it, or of the list that it is an element of.
    field: &'a str,
    /// Name of the field above that.
    parent: &'a str,
}

const ROOT: u64 = 0;
fn stepped(path: u64, step: &str) -> u64 {
    hash_of(&(path, step))
}

fn path_hash(path: &str) -> u64 {
    path.split('.').fold(ROOT, stepped)
}

// An object has some hundred fields: that a wrong value has the hash of a right one is as good as impossible.
#[allow(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
const fn shortened(hash: u64) -> u32 {
    hash as u32
}

struct Walk<'v> {
    no_extra_fields: Vec<u64>,
    no_extra_elements: Vec<u64>,
    visit: &'v mut dyn FnMut(&dyn fmt::Display, u32),
}

fn walk(object: &Value, comparison: &Comparison, visit: &mut dyn FnMut(&dyn fmt::Display, u32)) {
    let hashes = |paths: &[&str]| paths.iter().map(|path| path_hash(path)).collect();
    let mut walk = Walk {
        no_extra_fields: hashes(comparison.no_extra_fields),
        no_extra_elements: hashes(comparison.no_extra_elements),
        visit,
    };
    // A note that is no longer wanted must be absent: what it names goes with it.
    let steps = ["metadata", "annotations", annotations::COPIED_LABELS];
    let hash = steps.iter().fold(ROOT, |path, step| stepped(path, step));
    let value = steps.iter().try_fold(object, |value, step| value.get(step)).unwrap_or(&Value::Null);
    let parent = Path::Field(&Path::Root, steps[0]);
    let note = Path::Field(&parent, steps[1]);
    (walk.visit)(&Path::Field(&note, steps[2]), shortened(hash_of(&(hash, content(value, "")))));
    for (path, hash) in comparison.no_extra_fields.iter().zip(walk.no_extra_fields.clone()) {
        let value = path.split('.').try_fold(object, |value, step| value.get(step)).unwrap_or(&Value::Null);
        (walk.visit)(path, shortened(hash_of(&(hash, content(value, "")))));
    }
    walk.no_extra_fields.push(hash);
    let Value::Object(fields) = object else { return };
    for (name, value) in fields {
        if NEVER_COMPARED.contains(&name.as_str()) {
            continue;
        }
        let path = Path::Field(&Path::Root, name);
        let place = Place { path: &path, hash: stepped(ROOT, name), field: name, parent: "" };
        if name == "metadata" {
            for (name, value) in METADATA.iter().filter_map(|name| Some((*name, value.get(*name)?))) {
                walk.field(place, name, value);
            }
        } else {
            walk.value(place, value);
        }
    }
}

impl Walk<'_> {
    fn field(&mut self, at: Place<'_>, name: &str, value: &Value) {
        let path = Path::Field(at.path, name);
        self.value(Place { path: &path, hash: stepped(at.hash, name), field: name, parent: at.field }, value);
    }

    fn value(&mut self, at: Place<'_>, value: &Value) {
        if self.no_extra_fields.contains(&at.hash) {
            return;
        }
        match value {
            Value::Null => {}
            Value::Object(fields) if fields.is_empty() && at.field == EMPTY_DIR => self.leaf(at, 0),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| self.field(at, name, value)),
            Value::Array(values) => self.list(at, values),
            Value::String(text) if text.is_empty() && !is_map_of_texts(at.parent) => {}
            _ => self.leaf(at, leaf_content(value, at.field, at.parent)),
        }
    }

    fn list(&mut self, at: Place<'_>, values: &[Value]) {
        match merge_key(at.field) {
            Some(key_of) => {
                let keys: Vec<String> = values.iter().map(key_of).collect();
                // Of two variables of one name, the last is the one that a container gets.
                let is_last = |index: usize, key: &String| keys.iter().skip(index + 1).all(|later| later != key);
                for (index, (value, key)) in values.iter().zip(&keys).enumerate() {
                    if !is_last(index, key) {
                        continue;
                    }
                    let path = Path::Element(at.path, key);
                    let hash = stepped(at.hash, key);
                    self.value(Place { path: &path, hash, field: at.field, parent: at.parent }, value);
                }
                if self.no_extra_elements.contains(&at.hash) {
                    let keys = keys.iter().fold(0_u64, |sum, key| sum.wrapping_add(hash_of(key)));
                    self.leaf(at, keys);
                }
            }
            None if is_ordered(at.field) => {
                self.leaf(at, hash_of(&values.iter().map(Value::to_string).collect::<Vec<_>>()));
            }
            None => values.iter().for_each(|value| self.leaf(at, content(value, at.field))),
        }
    }

    fn leaf(&mut self, at: Place<'_>, content: u64) {
        (self.visit)(at.path, shortened(hash_of(&(at.hash, content))));
    }
}

#[cfg(test)]
mod tests;

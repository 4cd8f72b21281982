//! Collects violations along the path of a field.

use std::collections::HashSet;
use std::fmt::{Debug, Display};

use super::violation::{Reason, Violation};

/// Reports violations of one field, and of the fields below it.
pub(super) struct Report<'a> {
    path: String,
    /// Fields that are missing: they read as empty, and are reported already.
    missing: &'a HashSet<String>,
    violations: &'a mut Vec<Violation>,
}

/// Fields that `violations` report as missing.
pub(super) fn missing(violations: &[Violation]) -> HashSet<String> {
    let missing = violations.iter().filter(|known| known.reason == Reason::Required);
    missing.map(|known| known.field.clone()).collect()
}

impl<'a> Report<'a> {
    /// Reports on the field at `path`; on the whole object if that is empty.
    pub(super) fn new(path: &str, missing: &'a HashSet<String>, violations: &'a mut Vec<Violation>) -> Self {
        Self { path: path.to_owned(), missing, violations }
    }

    fn at(&mut self, path: String) -> Report<'_> {
        Report { path, missing: self.missing, violations: self.violations }
    }

    /// Reports on a field below this one.
    pub(super) fn field(&mut self, name: impl Display) -> Report<'_> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        self.at(path)
    }

    /// Reports on a field of an item of this list.
    pub(super) fn field_of_item(&mut self, index: usize, name: &str) -> Report<'_> {
        self.at(format!("{}[{index}].{name}", self.path))
    }

    /// Reports on an item of this list, or on a value of this map.
    pub(super) fn item(&mut self, key: impl Display) -> Report<'_> {
        self.at(format!("{}[{key}]", self.path))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is a violation of the field at `path` already.
    pub(super) fn has_reported(&self, path: &str) -> bool {
        self.violations.iter().any(|violation| violation.field == path)
    }

    /// Adds violations whose fields have their paths.
    pub(super) fn extend(&mut self, violations: Vec<Violation>) {
        self.violations.extend(violations);
    }

    fn add(&mut self, violation: Violation) {
        if !self.missing.contains(&self.path) {
            self.violations.push(violation);
        }
    }

    pub(super) fn required(&mut self, detail: impl Into<String>) {
        self.add(Violation::required(&*self.path, detail));
    }

    pub(super) fn invalid(&mut self, value: &impl Debug, detail: impl Into<String>) {
        self.add(Violation::invalid(&*self.path, value, detail));
    }

    pub(super) fn forbidden(&mut self, detail: impl Into<String>) {
        self.add(Violation::forbidden(&*self.path, detail));
    }

    pub(super) fn not_found(&mut self, value: &str, detail: impl Into<String>) {
        self.add(Violation::not_found(&*self.path, value, detail));
    }

    pub(super) fn duplicate(&mut self, value: &str) {
        self.add(Violation::duplicate(&*self.path, value));
    }

    pub(super) fn too_long(&mut self, max: usize) {
        self.add(Violation::too_long(&*self.path, max));
    }

    /// The list or map has at most `max` items.
    pub(super) fn at_most(&mut self, count: usize, max: usize) {
        if count > max {
            self.add(Violation::too_many(&*self.path, count, max));
        }
    }

    /// The number, if there is one, is within bounds.
    pub(super) fn within(&mut self, value: Option<i64>, min: i64, max: i64) {
        match value {
            Some(value) if value < min => self.invalid(&value, format!("must be greater than or equal to {min}")),
            Some(value) if value > max => self.invalid(&value, format!("must be less than or equal to {max}")),
            _ => {}
        }
    }

    /// One violation for each thing that is wrong with a text.
    pub(super) fn each(&mut self, value: &str, wrong: Vec<String>) {
        for detail in wrong {
            self.invalid(&value, detail);
        }
    }

    /// The text is one of `supported`.
    pub(super) fn supported(&mut self, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.add(Violation::not_supported(&*self.path, value, supported));
        }
    }

    /// The text, if there is one, is one of `supported`.
    pub(super) fn supported_if_given(&mut self, value: Option<&str>, supported: &[&str]) {
        if let Some(value) = value {
            self.supported(value, supported);
        }
    }

    /// The text has no NUL: no path, variable or argument of a process can, and its container would not start. The text
    /// may be secret.
    pub(super) fn no_nul(&mut self, text: Option<&String>) {
        if text.is_some_and(|text| text.contains('\0')) {
            self.forbidden("must not contain a NUL character");
        }
    }
}

//! What the caches keep of an object: enough to compare it with what is wanted, and the facts that its kind is read for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::fields::FieldSet;
use crate::api::PartitionSet;
use crate::api::labels::annotations;

/// What is kept of an object of a kind whose facts are `F`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cached<F> {
    pub(crate) uid: String,
    /// The controller among its owners, if any.
    pub(crate) owner: Option<Owner>,
    /// Its fields, to compare with what is wanted.
    pub(crate) fields: FieldSet,
    /// The fields that are left to others.
    pub(crate) ignored: Option<Ignored>,
    pub(crate) deleting: bool,
    /// What else is needed of this kind.
    pub(crate) facts: F,
}

impl<F> Cached<F> {
    /// Whether the object of that uid controls it.
    pub(crate) fn is_owned_by(&self, uid: &str) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.uid == uid)
    }
}

/// Identity of an owner in the object's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Owner {
    /// The controller of an object.
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let OwnerReference { kind, name, uid, .. } = controller_of(meta)?;
        Some(Self { kind: kind.clone(), name: name.clone(), uid: uid.clone() })
    }
}

/// The controller among the owners of an object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The pod template of a StatefulSet, by path.
pub(crate) const POD_TEMPLATE: &str = "spec.template";

/// Fields that a stored object leaves to others, by its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// Their paths, separated by commas.
    fields: Box<str>,
    /// Hash of what was wanted of the object when they were left.
    pub(crate) wanted: Box<str>,
}

impl Ignored {
    /// Reads them off the annotations of a stored object.
    pub(crate) fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let fields = annotations.get(annotations::IGNORED_FIELDS)?.as_str().into();
        let wanted = annotations.get(annotations::IGNORED_FIELDS_OF).map(String::as_str).unwrap_or_default().into();
        Some(Self { fields, wanted })
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.fields.split(',').any(|field| {
            path == field || field == POD_TEMPLATE && path.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

/// What the StatefulSet controller has made of a StatefulSet. How many pods there are is read off the pods themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Whether the StatefulSet controller has seen the current spec.
    pub(crate) observed: bool,
    /// Revision of the current pod template: what the pods' `controller-revision-hash` should be.
    pub(crate) revision: String,
    pub(crate) generation: i64,
    /// Image of the nodes.
    pub(crate) image: String,
}

/// Addresses that the endpoints of a group publish, by the name of the partition.
pub(crate) type Published = BTreeMap<String, String>;

/// What is kept of an EndpointSlice that this controller does not manage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceOf {
    pub(crate) uid: String,
    /// The Service that it belongs to.
    pub(crate) service: String,
}

/// Annotation in which kubectl keeps a copy of what was applied: nothing here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A set without what only the API server and kubectl need.
pub(crate) fn slim(mut set: PartitionSet) -> PartitionSet {
    set.metadata.managed_fields = None;
    set.metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(LAST_APPLIED)));
    set
}

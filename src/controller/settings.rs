//! The settings of the operator that the reconcilers build from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;

use crate::api::{Protocol, TemplateSpec};

/// Name under which the controller writes: `metadata.managedFields[].manager` of its objects.
pub const FIELD_MANAGER: &str = "atomix-controller";

/// Settings of this controller that show in the objects it makes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the controller: `atomix-controller` by default.
    pub name: String,
    /// Namespace that the controller's own Service is in.
    pub namespace: String,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Images of the nodes where a set names none.
    pub images: BTreeMap<Protocol, String>,
    /// Secrets for pulling the nodes' images where a set names none.
    pub image_pull_secrets: Vec<String>,
    /// Whether to write core/v1 Endpoints beside the EndpointSlices.
    pub legacy_endpoints: bool,
}

impl Settings {
    /// Value of the annotation that says which controller runs a Partition.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Whether that annotation names this controller.
    #[must_use]
    pub fn is_identity(&self, value: &str) -> bool {
        value.strip_prefix(&self.namespace).and_then(|rest| rest.strip_prefix('.')) == Some(&self.name)
    }

    /// DNS name of the controller's own Service.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc.{}", self.name, self.namespace, self.cluster_domain)
    }

    /// Secrets with which the images of a partition's nodes are pulled.
    #[must_use]
    pub fn pull_secrets(&self, spec: &TemplateSpec) -> Option<Vec<LocalObjectReference>> {
        match spec.image_pull_secrets.as_deref() {
            None | Some([]) if !self.image_pull_secrets.is_empty() => {
                let reference = |name: &String| LocalObjectReference { name: name.clone() };
                Some(self.image_pull_secrets.iter().map(reference).collect())
            }
            own => own.map(<[_]>::to_vec),
        }
    }

    /// Image that the nodes of a partition run.
    #[must_use]
    pub fn image<'a>(&'a self, spec: &'a TemplateSpec, protocol: Protocol) -> &'a str {
        match spec.image.as_deref() {
            Some(image) if !image.is_empty() => image,
            _ => self.images.get(&protocol).map_or(protocol.facts().default_image, String::as_str),
        }
    }
}

#[cfg(test)]
#[test]
fn a_controller_knows_its_own_identity() {
    let settings = fixture();
    assert!(settings.is_identity(&settings.identity()));
    for other in ["ops.at", "ops.atx2", "op.satx", "opsatx", "ops.", "", "ops.ops.atx"] {
        assert!(!settings.is_identity(other), "{other}");
    }
}

#[cfg(test)]
pub(crate) fn fixture() -> Settings {
    // Unlike the defaults in every name, so that a constant in the wrong place shows.
    Settings {
        name: "atx".to_owned(),
        namespace: "ops".to_owned(),
        cluster_domain: "example.org".to_owned(),
        images: Protocol::ALL.into_iter().zip(["r:1", "b:1", "l"].map(str::to_owned)).collect(),
        image_pull_secrets: vec!["pull".to_owned()],
        legacy_endpoints: true,
    }
}

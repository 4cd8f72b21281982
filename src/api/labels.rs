//! Labels and annotations that the controller writes and reads.

/// Selector label: always [`APP`](self::values::APP).
pub const APP: &str = "app";
/// Selector label: `partition` on everything that belongs to one partition.
pub const TYPE: &str = "type";
/// Selector label: name of the PartitionSet.
pub const GROUP: &str = "group";
/// Selector label: 1-based index of the partition in its set.
pub const PARTITION: &str = "partition";

/// Recommended label: always `atomix`.
pub const NAME: &str = "app.kubernetes.io/name";
/// Recommended label: name of the PartitionSet.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Recommended label: the protocol, or `partition-group` on the objects of the whole set.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label: name of the controller.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// On the Service and the endpoints of a whole group: name of the PartitionSet. They are watched by it.
pub const GROUP_OF: &str = "k8s.atomix.io/group";
/// Prefixes of labels that tools set on the objects they manage. They do not apply to child objects.
const TOOLS: [&str; 3] = ["argocd.argoproj.io/", "helm.sh/", "app.kubernetes.io/"];
/// The labels of Flux, one prefix for each of its controllers.
const FLUX: &str = ".toolkit.fluxcd.io/";

/// Whether a label of this key marks an object as managed by a tool.
#[must_use]
pub fn is_of_a_tool(key: &str) -> bool {
    TOOLS.iter().any(|prefix| key.starts_with(prefix)) || key.contains(FLUX)
}

/// On an EndpointSlice: the Service that it belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// On an EndpointSlice: the one controller that writes it. The watch selects by it.
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// On Endpoints: keeps the control plane from making an EndpointSlice of them, beside its own.
pub const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Value of [`SLICE_MANAGED_BY`] of a controller of that name.
#[must_use]
pub fn slice_manager(controller: &str) -> String {
    format!("{controller}.{}", super::GROUP)
}

/// The labels whose values are the controller's, in every template.
pub const RESERVED: [&str; 8] = [APP, TYPE, GROUP, PARTITION, NAME, INSTANCE, COMPONENT, MANAGED_BY];

/// Values of the fixed labels.
pub mod values {
    /// Value of [`super::APP`] and [`super::NAME`].
    pub const APP: &str = "atomix";
    /// Value of [`super::TYPE`] on everything that belongs to one partition.
    pub const PARTITION: &str = "partition";
    /// Value of [`super::COMPONENT`] on the objects of the whole group.
    pub const PARTITION_GROUP: &str = "partition-group";
}

/// Annotations under `k8s.atomix.io/`.
pub mod annotations {
    /// On a Partition: `<namespace>.<name>` of the controller that runs it.
    pub const CONTROLLER: &str = "k8s.atomix.io/controller";
    /// On a Partition: always `partition`.
    pub const TYPE: &str = "k8s.atomix.io/type";
    /// On a Partition: name of its PartitionSet.
    pub const GROUP: &str = "k8s.atomix.io/group";
    /// On a Partition: its 1-based index.
    pub const PARTITION: &str = "k8s.atomix.io/partition";
    /// The annotations of a Partition whose values are the controller's, in every template.
    pub const RESERVED: [&str; 4] = [CONTROLLER, TYPE, GROUP, PARTITION];

    /// On a PartitionSet: the lower number of partitions that the user agrees to shrink to, and the generation of the
    /// set that this is agreed at, see [`crate::rules::Consent`].
    pub const ALLOW_PARTITION_REMOVAL: &str = "k8s.atomix.io/allow-partition-removal";
    /// On a PartitionSet: `"true"` stops all writes for the set.
    pub const PAUSED: &str = "k8s.atomix.io/paused";
    /// On a template: the form of the members in `partition.json`, see [`crate::api::names`].
    pub const MEMBER_PORTS: &str = "k8s.atomix.io/member-ports";
    /// On a Partition: generation of its PartitionSet when it was made. A consent to removal that was given before does
    /// not cover it.
    pub const SET_GENERATION: &str = "k8s.atomix.io/set-generation";
    /// The annotations of a Partition that controllers read.
    pub const READ: [&str; 4] = [CONTROLLER, GROUP, SET_GENERATION, MEMBER_PORTS];
    /// On a StatefulSet: hash of the last desired pod template. A different one is written whole.
    pub const POD_TEMPLATE_HASH: &str = "k8s.atomix.io/pod-template-hash";
    /// On what the controller makes: keys of the labels that it copied from the PartitionSet.
    pub const COPIED_LABELS: &str = "k8s.atomix.io/copied-labels";
    /// On what the controller makes: fields, with all below them, that it leaves to others: a policy sets them in the
    /// controller's own writes, or the project's first controller made them.
    pub const IGNORED_FIELDS: &str = "k8s.atomix.io/ignored-fields";
    /// Beside [`IGNORED_FIELDS`]: hash of the desired object when these fields were left to others. When the
    /// desired object changes, they are written once more.
    pub const IGNORED_FIELDS_OF: &str = "k8s.atomix.io/ignored-fields-of";
    /// On a pod template: hash of the node's configuration, so that a change of it changes the pods' revision.
    pub const CONFIG_HASH: &str = "k8s.atomix.io/config-hash";
}

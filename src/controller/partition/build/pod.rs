//! The pods of a partition: one Atomix node each.

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction,
    ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, Probe, ResourceRequirements,
    TCPSocketAction, Volume, VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Plan;
use super::config_map::{PARTITION_FILE, PROTOCOL_FILE};
use super::stateful_set::{DATA, canonical};
use crate::api::names::{self, API_PORT, PROTOCOL_PORT};

const CONTAINER: &str = "atomix";
const CONFIG: &str = "config";
const CONFIG_PATH: &str = "/etc/atomix";
const DATA_PATH: &str = "/var/lib/atomix";
/// Variable by which a node finds itself among the members.
const NODE_ID: &str = "NODE_ID";
/// Group of `nobody`, which the node images run as.
const NOBODY: i64 = 65534;

impl Plan<'_> {
    pub(super) fn pod_spec(&self) -> PodSpec {
        let spec = self.spec;
        let account = spec.service_account_name.clone().filter(|name| !name.is_empty());
        PodSpec {
            affinity: Some(spec.affinity.clone().unwrap_or_else(|| self.spread_over_nodes())),
            containers: vec![self.container()],
            dns_policy: Some("ClusterFirst".to_owned()),
            image_pull_secrets: spec.image_pull_secrets.clone(),
            node_selector: spec.node_selector.clone(),
            priority_class_name: spec.priority_class_name.clone().filter(|name| !name.is_empty()),
            restart_policy: Some("Always".to_owned()),
            scheduler_name: Some("default-scheduler".to_owned()),
            security_context: Some(self.pod_security_context()),
            // The API server writes the name into this older field as well.
            service_account: account.clone(),
            service_account_name: account,
            termination_grace_period_seconds: Some(spec.termination_grace_period_seconds.unwrap_or(30)),
            tolerations: spec.tolerations.clone(),
            topology_spread_constraints: spec.topology_spread_constraints.clone(),
            volumes: Some(self.volumes()),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        let spec = self.spec;
        let image = self.settings.image(spec, self.protocol);
        let policy = spec.image_pull_policy.as_deref().or(spec.pull_policy.as_deref());
        Container {
            name: CONTAINER.to_owned(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(policy.unwrap_or_else(|| default_pull_policy(image)).to_owned()),
            args: Some(vec![
                format!("$({NODE_ID})"),
                format!("{CONFIG_PATH}/{PARTITION_FILE}"),
                format!("{CONFIG_PATH}/{PROTOCOL_FILE}"),
            ]),
            env: Some(self.env()),
            ports: Some([("api", API_PORT), ("protocol", PROTOCOL_PORT)].map(container_port).into()),
            readiness_probe: Some(Probe {
                exec: Some(ExecAction { command: Some(vec!["stat".to_owned(), "/tmp/atomix-ready".to_owned()]) }),
                ..probe(5, 12)
            }),
            liveness_probe: Some(Probe {
                tcp_socket: Some(TCPSocketAction { host: None, port: IntOrString::Int(API_PORT.into()) }),
                ..probe(60, 3)
            }),
            resources: Some(spec.resources.as_ref().map(canonical_resources).unwrap_or_default()),
            security_context: spec.security_context.clone(),
            termination_message_path: Some("/dev/termination-log".to_owned()),
            termination_message_policy: Some("File".to_owned()),
            volume_mounts: Some([(CONFIG, CONFIG_PATH), (DATA, DATA_PATH)].map(mount).into()),
            ..Container::default()
        }
    }

    fn env(&self) -> Vec<EnvVar> {
        let node_id = EnvVar {
            name: NODE_ID.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
        };
        let given = self.spec.env.iter().flatten().cloned().map(|mut variable| {
            if let Some(from) = &mut variable.value_from {
                if let Some(field) = &mut from.field_ref {
                    field.api_version.get_or_insert_with(|| "v1".to_owned());
                }
                if let Some(resource) = &mut from.resource_field_ref {
                    let divisor = resource.divisor.take().unwrap_or_else(|| Quantity("0".to_owned()));
                    resource.divisor = Some(canonical(&divisor));
                }
            }
            variable
        });
        std::iter::once(node_id).chain(given).collect()
    }

    fn volumes(&self) -> Vec<Volume> {
        let config = Volume {
            name: CONFIG.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::config_map(&self.identity.name),
                default_mode: Some(0o644),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        };
        let scratch =
            Volume { name: DATA.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
        let claimed = self.spec.storage_size.is_some();
        std::iter::once(config).chain((!claimed).then_some(scratch)).collect()
    }

    fn pod_security_context(&self) -> PodSecurityContext {
        match &self.spec.pod_security_context {
            Some(given) => given.clone(),
            None if self.spec.storage_size.is_some() => PodSecurityContext {
                fs_group: Some(NOBODY),
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                ..PodSecurityContext::default()
            },
            None => PodSecurityContext::default(),
        }
    }

    fn spread_over_nodes(&self) -> Affinity {
        Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(LabelSelector {
                            match_labels: Some(self.selector.clone()),
                            ..LabelSelector::default()
                        }),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                }]),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        }
    }
}

fn container_port((name, port): (&str, u16)) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mount((name, path): (&str, &str)) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn probe(initial_delay_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        initial_delay_seconds: Some(initial_delay_seconds),
        failure_threshold: Some(failure_threshold),
        period_seconds: Some(10),
        success_threshold: Some(1),
        timeout_seconds: Some(10),
        ..Probe::default()
    }
}

fn canonical_resources(given: &ResourceRequirements) -> ResourceRequirements {
    let mut resources = given.clone();
    for amount in
        [&mut resources.limits, &mut resources.requests].into_iter().flatten().flat_map(|map| map.values_mut())
    {
        *amount = canonical(amount);
    }
    resources
}

/// Kubernetes' own rule: an image of the tag `latest`, or of none, is pulled always.
fn default_pull_policy(image: &str) -> &'static str {
    let name = image.split('@').next().unwrap_or(image);
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match tag {
        Some("latest") => "Always",
        None if !image.contains('@') => "Always",
        _ => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::default_pull_policy;

    #[test]
    fn the_pull_policy_is_the_one_that_kubernetes_would_choose() {
        let digest = "a/b@sha256:0123456789012345678901234567890123456789012345678901234567890123";
        for (image, policy) in [
            ("a/b", "Always"),
            ("a/b:latest", "Always"),
            ("registry:5000/a/b", "Always"),
            ("registry:5000/a/b:v1", "IfNotPresent"),
            ("a/b:v1", "IfNotPresent"),
            (digest, "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}

//! The pods of a partition: one Atomix node each.

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction,
    ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, Probe, TCPSocketAction, Volume,
    VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_map::{PARTITION_FILE, PROTOCOL_FILE};
use super::context::BuildContext;
use super::stateful_set::DATA;
use crate::api::names::{self, API_PORT, CONTAINER, PROTOCOL_PORT};

const CONFIG: &str = "config";
const CONFIG_PATH: &str = "/etc/atomix";
const DATA_PATH: &str = "/var/lib/atomix";
/// Variable by which a node finds itself among the members.
const NODE_ID: &str = "NODE_ID";
/// Group of `nobody`, which the node images run as.
const NOBODY: i64 = 65534;

impl BuildContext<'_> {
    pub(super) fn pod_spec(&self) -> PodSpec {
        let spec = self.spec;
        let account = spec.service_account_name.clone().filter(|name| !name.is_empty());
        PodSpec {
            affinity: Some(spec.affinity.clone().unwrap_or_else(|| self.spread_over_nodes())),
            containers: vec![self.container()],
            image_pull_secrets: self.settings.pull_secrets(spec),
            node_selector: spec.node_selector.clone(),
            priority_class_name: spec.priority_class_name.clone().filter(|name| !name.is_empty()),
            security_context: self.pod_security_context(),
            service_account_name: account,
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
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
            image_pull_policy: policy.map(str::to_owned),
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
            resources: spec.resources.clone(),
            security_context: spec.security_context.clone(),
            volume_mounts: Some([(CONFIG, CONFIG_PATH), (DATA, DATA_PATH)].map(mount).into()),
            ..Container::default()
        }
    }

    fn env(&self) -> Vec<EnvVar> {
        let node_id = EnvVar {
            name: NODE_ID.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector { api_version: None, field_path: "metadata.name".to_owned() }),
                ..EnvVarSource::default()
            }),
        };
        std::iter::once(node_id).chain(self.spec.env.iter().flatten().cloned()).collect()
    }

    fn volumes(&self) -> Vec<Volume> {
        let config = Volume {
            name: CONFIG.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::config_map(&self.identity.name),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        };
        let scratch =
            Volume { name: DATA.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
        let claimed = self.spec.storage_size.is_some();
        std::iter::once(config).chain((!claimed).then_some(scratch)).collect()
    }

    fn pod_security_context(&self) -> Option<PodSecurityContext> {
        let for_storage = || PodSecurityContext {
            fs_group: Some(NOBODY),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        };
        self.spec.pod_security_context.clone().or_else(|| self.spec.storage_size.as_ref().map(|_| for_storage()))
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
        timeout_seconds: Some(10),
        ..Probe::default()
    }
}

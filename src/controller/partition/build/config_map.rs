//! The ConfigMap with the two files that every node reads: who the members are, and the protocol's options.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::context::BuildContext;
use crate::api::names::{self, API_PORT, CONTROLLER_GRPC_PORT, PROTOCOL_PORT};
use crate::rules::config;

/// File that says who the members of the partition are.
pub(super) const PARTITION_FILE: &str = "partition.json";
/// File with the protocol's options.
pub(super) const PROTOCOL_FILE: &str = "protocol.json";

/// `partition.json`: protobuf JSON of the nodes' `PartitionConfig`. Nodes stop at a key that they do not know, so it
/// has exactly the keys of the contract's section 5.
#[derive(Serialize)]
struct PartitionConfig<'a> {
    partition: PartitionId<'a>,
    controller: Controller<'a>,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct PartitionId<'a> {
    partition: i64,
    group: GroupId<'a>,
}

#[derive(Serialize)]
struct GroupId<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Serialize)]
struct Controller<'a> {
    id: &'a str,
    host: String,
    port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    id: String,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_port: Option<u16>,
}

impl BuildContext<'_> {
    pub(super) fn config_map(&self, options: &Map<String, Value>) -> ConfigMap {
        let name = &self.identity.name;
        let files = [(PARTITION_FILE, self.partition_config()), (PROTOCOL_FILE, config::protobuf_json(options))];
        ConfigMap {
            metadata: self.metadata(names::config_map(name)),
            data: Some(files.map(|(file, text)| (file.to_owned(), text)).into()),
            ..ConfigMap::default()
        }
    }

    fn partition_config(&self) -> String {
        let identity = self.identity;
        let config = PartitionConfig {
            partition: PartitionId {
                partition: identity.index,
                group: GroupId { name: &identity.set, namespace: &identity.namespace },
            },
            controller: Controller { id: &self.settings.name, host: self.settings.host(), port: CONTROLLER_GRPC_PORT },
            members: (0..self.size).map(|ordinal| self.member(ordinal)).collect(),
        };
        // A struct of strings and numbers has no way not to be JSON; an empty file would be fatal to the nodes, loudly.
        serde_json::to_string(&config).unwrap_or_default()
    }

    fn member(&self, ordinal: i64) -> Member {
        let identity = self.identity;
        let (port, api_port, protocol_port) = match self.member_ports() {
            Some("split") => (PROTOCOL_PORT, Some(API_PORT), Some(PROTOCOL_PORT)),
            Some("shared") => (API_PORT, None, None),
            _ => (PROTOCOL_PORT, None, None),
        };
        Member {
            id: format!("{}-{ordinal}", identity.name),
            host: names::pod_host(&identity.name, ordinal, &identity.namespace, &self.settings.cluster_domain),
            port,
            api_port,
            protocol_port,
        }
    }
}

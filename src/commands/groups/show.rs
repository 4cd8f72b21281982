//! Groups as tables, JSON and YAML.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_types::Any;
use serde_json::{Map, Value, json};

use super::args::Output;
use crate::commands::table::table;
use crate::grpc::groups::Options;
use crate::grpc::proto::controller::{PartitionGroup, PartitionGroupId};
use crate::rules::config;

/// Groups, one a line; as JSON or YAML, the response that they came in.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn list(groups: &[PartitionGroup], output: Output) -> Result<String, serde_saphyr::ser::Error> {
    let rows = || groups.iter().map(|group| row(group).to_vec());
    let heads = ["NAMESPACE", "NAME", "PARTITIONS", "SIZE", "PROTOCOL"];
    written(output, || table(&heads, rows()), || json!({"groups": groups.iter().map(group_json).collect::<Vec<_>>()}))
}

/// One group, its options and where its partitions are.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn group(group: &PartitionGroup, output: Output) -> Result<String, serde_saphyr::ser::Error> {
    let text = || {
        let heads = ["Namespace", "Name", "Partitions", "Size", "Protocol"];
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (head, value) in heads.into_iter().zip(row(group)) {
            let _ = writeln!(text, "{:<12}{value}", format!("{head}:"));
        }
        let protocol = group.spec.as_ref().and_then(|spec| spec.protocol.as_ref());
        let options = protocol.and_then(|any| Options::of_any(any).ok()?.to_config().ok()?);
        for (index, line) in options.iter().flat_map(|options| options.lines()).enumerate() {
            let _ = writeln!(text, "{:<12}{line}", if index == 0 { "Options:" } else { "" });
        }
        text.push('\n');
        let rows = group.partitions.iter().flat_map(|partition| {
            let endpoints = partition.endpoints.iter();
            endpoints.map(|endpoint| {
                vec![partition.partition_id.to_string(), format!("{}:{}", endpoint.host, endpoint.port)]
            })
        });
        text + &table(&["PARTITION", "ENDPOINT"], rows)
    };
    written(output, text, || group_json(group))
}

fn written(
    output: Output,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> Result<String, serde_saphyr::ser::Error> {
    match output {
        Output::Table => Ok(text()),
        Output::Json => Ok(format!("{:#}\n", json())),
        Output::Yaml => serde_saphyr::to_string(&json()),
    }
}

fn row(group: &PartitionGroup) -> [String; 5] {
    let PartitionGroupId { name, namespace } = group.id.clone().unwrap_or_default();
    let spec = group.spec.clone().unwrap_or_default();
    [namespace, name, spec.partitions.to_string(), spec.partition_size.to_string(), protocol(spec.protocol.as_ref())]
}

/// Name of the protocol; of one that is not known here, that of its type.
fn protocol(any: Option<&Any>) -> String {
    let Some(any) = any else { return String::new() };
    match Options::of_any(any) {
        Ok(options) => options.protocol.as_str().to_owned(),
        Err(_) => any.type_url.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

/// Protobuf JSON, including zeros.
fn group_json(group: &PartitionGroup) -> Value {
    let PartitionGroupId { name, namespace } = group.id.clone().unwrap_or_default();
    let spec = group.spec.clone().unwrap_or_default();
    let partitions = group.partitions.iter().map(|partition| {
        let endpoints = partition.endpoints.iter();
        let endpoints: Vec<_> =
            endpoints.map(|endpoint| json!({"host": endpoint.host, "port": endpoint.port})).collect();
        json!({"partitionId": partition.partition_id, "endpoints": endpoints})
    });
    json!({
        "id": {"name": name, "namespace": namespace},
        "spec": {
            "partitions": spec.partitions,
            "partitionSize": spec.partition_size,
            "protocol": spec.protocol.as_ref().map(any_json),
        },
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn any_json(any: &Any) -> Value {
    let options = Options::of_any(any).ok().and_then(|options| {
        let text = options.to_config().ok()?.unwrap_or_default();
        config::check(&text, Some(options.protocol), "config").ok()
    });
    // An unknown message is shown as it came.
    let unknown = || Map::from_iter([("value".to_owned(), STANDARD.encode(&any.value).into())]);
    let mut fields = options.unwrap_or_else(unknown);
    fields.insert("@type".to_owned(), any.type_url.as_str().into());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Protocol;
    use crate::grpc::proto::controller::{Partition, PartitionEndpoint, PartitionGroupSpec};

    fn fixture(protocol: Any) -> PartitionGroup {
        let partition = |partition_id| Partition {
            partition_id,
            endpoints: vec![PartitionEndpoint { host: format!("g-{partition_id}.ns.svc.example.org"), port: 5678 }],
        };
        PartitionGroup {
            id: Some(PartitionGroupId { name: "g".to_owned(), namespace: "ns".to_owned() }),
            spec: Some(PartitionGroupSpec { partitions: 2, partition_size: 3, protocol: Some(protocol) }),
            partitions: vec![partition(1), partition(2)],
        }
    }

    fn known() -> PartitionGroup {
        let config = "{heartbeatInterval: 250ms, storage: {level: MAPPED}}";
        fixture(Options::of_config(Protocol::Raft, config, "config").unwrap().to_any())
    }

    #[test]
    fn a_list_is_a_table() {
        assert_eq!(
            list(&[known()], Output::Table).unwrap(),
            "NAMESPACE  NAME  PARTITIONS  SIZE  PROTOCOL\nns         g     2           3     raft\n"
        );
        assert_eq!(list(&[], Output::Yaml).unwrap(), "groups: []\n");
    }

    #[test]
    fn a_group_is_shown_with_its_options_and_addresses() {
        assert_eq!(
            group(&known(), Output::Table).unwrap(),
            "Namespace:  ns\nName:       g\nPartitions: 2\nSize:       3\nProtocol:   raft\n\
             Options:    heartbeatInterval: 250ms\n            storage:\n              level: MAPPED\n\n\
             PARTITION  ENDPOINT\n1          g-1.ns.svc.example.org:5678\n2          g-2.ns.svc.example.org:5678\n"
        );
    }

    #[test]
    fn json_is_that_of_protobuf() {
        let json: Value = serde_json::from_str(&list(&[known()], Output::Json).unwrap()).unwrap();
        assert_eq!(
            json,
            json!({"groups": [{
                "id": {"name": "g", "namespace": "ns"},
                "spec": {"partitions": 2, "partitionSize": 3, "protocol": {
                    "@type": "type.googleapis.com/atomix.protocols.raft.RaftProtocol",
                    "heartbeatInterval": "0.25s", "storage": {"level": "MAPPED"},
                }},
                "partitions": [
                    {"partitionId": 1, "endpoints": [{"host": "g-1.ns.svc.example.org", "port": 5678}]},
                    {"partitionId": 2, "endpoints": [{"host": "g-2.ns.svc.example.org", "port": 5678}]},
                ],
            }]})
        );
    }

    #[test]
    fn a_protocol_of_another_version_is_shown_by_its_type() {
        let other = fixture(Any { type_url: "type.googleapis.com/x.Paxos".to_owned(), value: vec![1, 2] });
        assert!(list(std::slice::from_ref(&other), Output::Table).unwrap().ends_with("  x.Paxos\n"));
        let yaml = group(&other, Output::Yaml).unwrap();
        assert!(yaml.contains("value: AQI="), "{yaml}");
    }
}

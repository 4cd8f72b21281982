//! Objects written into etcd as another cluster stored them, with their uid, generation, status and managed fields: the
//! API server would set all of these anew.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::objects::text;
use crate::{http, process};

/// The directory of each kind under `/registry`.
const DIRECTORIES: [(&str, &str); 13] = [
    ("PartitionSet", "k8s.atomix.io/partitionsets"),
    ("Partition", "k8s.atomix.io/partitions"),
    ("ConfigMap", "configmaps"),
    ("StatefulSet", "statefulsets"),
    ("ControllerRevision", "controllerrevisions"),
    ("Service", "services/specs"),
    ("Endpoints", "services/endpoints"),
    ("EndpointSlice", "endpointslices"),
    ("PodDisruptionBudget", "poddisruptionbudgets"),
    ("Pod", "pods"),
    ("PersistentVolumeClaim", "persistentvolumeclaims"),
    ("PersistentVolume", "persistentvolumes"),
    ("IPAddress", "ipaddresses"),
];

impl ControlPlane {
    /// Writes objects into etcd in the given order: owners come before what they own. Nothing is validated.
    ///
    /// # Errors
    ///
    /// If a kind is unknown here, or etcd refuses a write.
    pub fn restore(&self, objects: &[Value]) -> Result<()> {
        let etcd = self.etcd()?;
        for object in objects {
            let key = key(object)?;
            let put = json!({"key": STANDARD.encode(&key), "value": STANDARD.encode(object.to_string())});
            let response = http::post(etcd, "/v3/kv/put", &put.to_string()).with_context(|| key.clone())?;
            ensure!(response.status == 200, "{key}: {} {}", response.status, response.body);
        }
        Ok(())
    }

    /// Where etcd serves its clients, in the clear.
    fn etcd(&self) -> Result<SocketAddr> {
        const FLAG: &str = "--etcd-servers=http://";
        let components = process::children(self.supervisor_pid())?;
        let mut lines = components.into_iter().map(process::command_line);
        let line = lines.find(|line| line.contains(FLAG)).context("no API server")?;
        let address = line.split_whitespace().find_map(|word| word.strip_prefix(FLAG)).context("no address of etcd")?;
        Ok(address.parse()?)
    }
}

fn key(object: &Value) -> Result<String> {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    let Some((_, directory)) = DIRECTORIES.iter().find(|(known, _)| *known == kind) else {
        bail!("the directory of {kind} is not known to the tests");
    };
    Ok(match text(object, "/metadata/namespace") {
        "" => format!("/registry/{directory}/{name}"),
        namespace => format!("/registry/{directory}/{namespace}/{name}"),
    })
}

//! What the project's first controller, of 2019, has left on a cluster.

use serde_json::{Value, json};
use webhook_tests::{Kubectl, text};

/// Image of its Raft nodes.
pub const IMAGE: &str = "atomix/atomix-raft-protocol:latest";

fn definition(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.k8s.atomix.io")},
        "spec": {
            "group": "k8s.atomix.io", "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// The controller itself, as its manifest made it.
pub fn installation() -> Vec<Value> {
    let system = json!({"name": "atomix-controller", "namespace": "kube-system"});
    let subjects = json!([{"kind": "ServiceAccount", "name": "atomix-controller", "namespace": "kube-system"}]);
    let role = json!({"kind": "ClusterRole", "name": "atomix-controller", "apiGroup": "rbac.authorization.k8s.io"});
    vec![
        definition("PartitionSet", "partitionsets"),
        definition("Partition", "partitions"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "atomix-controller"},
            "rules": [{"apiGroups": ["", "apps", "policy", "k8s.atomix.io"], "resources": ["*"], "verbs": ["*"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "atomix-controller"}, "subjects": subjects, "roleRef": role,
        }),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": system}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": system,
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": "atomix-controller"}},
                "template": {
                    "metadata": {"labels": {"app": "atomix-controller"}},
                    "spec": {
                        "serviceAccountName": "atomix-controller",
                        "containers": [{"name": "atomix-controller", "image": "atomix/atomix-k8s-controller:latest"}],
                    },
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": system,
            "spec": {"selector": {"app": "atomix-controller"}, "ports": [{"name": "control", "port": 5679}]},
        }),
    ]
}

/// A set as kubectl makes it.
pub fn set_of_kubectl(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name},
        "spec": {"partitions": 2, "template": {
            "metadata": {"labels": {"team": "blue"}},
            "spec": {"size": 3, "protocol": "raft", "config": "electionTimeout: 5s\n"},
        }},
    })
}

/// A set as that controller made it for a client: its types write what is empty as well.
pub fn set_of_a_client(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": name, "creationTimestamp": null},
        "spec": {"partitions": 1, "template": {
            "metadata": {"creationTimestamp": null},
            "spec": {"size": 3, "protocol": "raft", "config": "", "resources": {}},
        }},
        "status": {},
    })
}

/// Creates a set with all that the controller made of it.
pub fn create(kubectl: &Kubectl, set: &Value) {
    let set: Value =
        serde_json::from_str(&kubectl.feed_ok(&["create", "-f", "-", "-o", "json"], &set.to_string())).expect("JSON");
    let (name, namespace) = (text(&set, "/metadata/name"), kubectl.namespace());
    let count = set["spec"]["partitions"].as_u64().expect("a number");
    let mut addresses = Vec::new();
    for index in 1..=count {
        let partition = format!("{name}-{index}");
        let mut labels = set["spec"]["template"]["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        for (key, value) in
            [("app", "atomix"), ("type", "partition"), ("group", name), ("partition", &index.to_string())]
        {
            labels.insert(key.to_owned(), value.into());
        }
        let object = json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {
                "name": partition, "labels": labels, "ownerReferences": owned_by(&set),
                "annotations": {
                    "k8s.atomix.io/controller": "kube-system.atomix-controller", "k8s.atomix.io/type": "partition",
                    "k8s.atomix.io/group": name, "k8s.atomix.io/partition": index.to_string(),
                },
            },
            "spec": set["spec"]["template"]["spec"],
        });
        let object: Value =
            serde_json::from_str(&kubectl.feed_ok(&["create", "-f", "-", "-o", "json"], &object.to_string()))
                .expect("JSON");
        let metadata = |name: String| json!({"name": name, "labels": labels, "ownerReferences": owned_by(&object)});
        for child in children(&partition, namespace, index, &metadata) {
            kubectl.create_stdin(&child.to_string());
        }
        let service = kubectl.get_json(&["service", &partition]);
        addresses.push(json!({"ip": service["spec"]["clusterIP"], "hostname": partition}));
    }
    let metadata = json!({"name": name, "ownerReferences": owned_by(&set)});
    let ports = json!([{"name": "api", "port": 5678}]);
    kubectl.create_stdin(
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": ports, "publishNotReadyAddresses": true},
        })
        .to_string(),
    );
    kubectl.create_stdin(
        &json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
            "subsets": [{"addresses": addresses, "ports": ports}],
        })
        .to_string(),
    );
}

fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

fn children(name: &str, namespace: &str, index: u64, metadata: &dyn Fn(String) -> Value) -> Vec<Value> {
    let labels = metadata(String::new())["labels"].clone();
    let headless = format!("{name}-hs");
    let members = (0..3).map(|pod| {
        let host = format!("{name}-{pod}.{headless}.{namespace}.svc.cluster.local");
        json!({"id": format!("{name}-{pod}"), "host": host, "port": 5679})
    });
    let group = name.rsplit_once('-').map(|(group, _)| group);
    let partition = json!({
        "partition": {"partition": index, "group": {"name": group, "namespace": namespace}},
        "controller": {
            "id": "atomix-controller", "host": "atomix-controller.kube-system.svc.cluster.local", "port": 5679,
        },
        "members": members.collect::<Value>(),
    });
    let probe = |delay: u32, failures: u32| json!({"initialDelaySeconds": delay, "timeoutSeconds": 10, "failureThreshold": failures});
    let mut readiness = probe(5, 12);
    readiness["exec"] = json!({"command": ["stat", "/tmp/atomix-ready"]});
    let mut liveness = probe(60, 3);
    liveness["tcpSocket"] = json!({"port": 5678});
    let affinity = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}},
    }]}});
    let pods = json!({
        "affinity": affinity,
        "containers": [{
            "name": "atomix", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "args": ["$(NODE_ID)", "/etc/atomix/partition.json", "/etc/atomix/protocol.json"],
            "env": [{"name": "NODE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "ports": [{"name": "api", "containerPort": 5678}, {"name": "protocol", "containerPort": 5679}],
            "readinessProbe": readiness, "livenessProbe": liveness,
            "volumeMounts": [{"name": "config", "mountPath": "/etc/atomix"}, {"name": "data", "mountPath": "/var/lib/atomix"}],
        }],
        "volumes": [{"name": "config", "configMap": {"name": format!("{name}-config")}}, {"name": "data", "emptyDir": {}}],
    });
    let (api, protocol) = (json!({"name": "api", "port": 5678}), json!({"name": "protocol", "port": 5679}));
    vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(format!("{name}-config")),
            "data": {"partition.json": partition.to_string(), "protocol.json": r#"{"electionTimeout":5000000000}"#},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(headless.clone()),
            "spec": {
                "clusterIP": "None", "publishNotReadyAddresses": true, "selector": labels, "ports": [api, protocol],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(name.to_owned()),
            "spec": {"selector": labels, "ports": [api]},
        }),
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(format!("{name}-pdb")),
            "spec": {"maxUnavailable": 1},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(name.to_owned()),
            "spec": {
                "serviceName": headless, "replicas": 3, "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "RollingUpdate"},
                // A label of the template would be more than the selector of the next controller has.
                "selector": {"matchLabels": selector(&labels)},
                "template": {"metadata": {"labels": labels}, "spec": pods},
            },
        }),
    ]
}

/// The four labels by which a partition's pods are selected.
fn selector(labels: &Value) -> Value {
    ["app", "type", "group", "partition"].into_iter().map(|key| (key.to_owned(), labels[key].clone())).collect()
}

//! The controller has the rights that it uses, and no others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{SOON, await_ready, condition, create_ready, items, sandbox, stage};
use webhook_tests::{AuditEntry, Kubectl, harness, removal_consent};

/// One line of what is granted: resources of a group, verbs, the only names if
/// there are such, and what for.
struct Grant {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    names: &'static [&'static str],
    why: &'static str,
}

const READ: [&str; 2] = ["list", "watch"];
const OWN: [&str; 1] = ["atomix-controller"];

/// In all namespaces.
const EVERYWHERE: &[Grant] = &[
    Grant {
        group: "k8s.atomix.io",
        resources: &["partitionsets", "partitions"],
        verbs: &READ,
        names: &[],
        why: "what is asked for, and what there is of it",
    },
    Grant {
        group: "k8s.atomix.io",
        resources: &["partitions"],
        verbs: &["create", "get", "update", "delete"],
        names: &[],
        why: "a set's partitions are made, kept like the template and removed when it shrinks",
    },
    Grant {
        group: "k8s.atomix.io",
        resources: &["partitionsets"],
        verbs: &["get", "create", "delete"],
        names: &[],
        why: "partition groups of clients of the gRPC API",
    },
    Grant {
        group: "k8s.atomix.io",
        resources: &["partitionsets/status", "partitions/status"],
        verbs: &["patch"],
        names: &[],
        why: "counts and conditions",
    },
    Grant {
        group: "k8s.atomix.io",
        resources: &["partitionsets/finalizers", "partitions/finalizers"],
        verbs: &["update"],
        names: &[],
        why: "OwnerReferencesPermissionEnforcement asks for it where an owner reference blocks the owner's deletion",
    },
    Grant {
        group: "networking.k8s.io",
        resources: &["ipaddresses"],
        verbs: &["get"],
        names: &[],
        why: "whether the address of a deleted Service is free",
    },
    Grant {
        group: "apps",
        resources: &["statefulsets"],
        verbs: &["list", "watch", "create", "get", "update"],
        names: &[],
        why: "the pods of a partition",
    },
    Grant {
        group: "",
        resources: &["pods"],
        verbs: &READ,
        names: &[],
        why: "whether they are ready, and of which revision",
    },
    Grant {
        group: "",
        resources: &["pods/eviction"],
        verbs: &["create"],
        names: &[],
        why: "outdated pods are replaced as their disruption budget allows",
    },
    Grant {
        group: "",
        resources: &["configmaps", "services"],
        verbs: &["list", "watch", "create", "get", "update", "delete"],
        names: &[],
        why: "the nodes' files; names and addresses of partitions and group; one that cannot be corrected is made anew",
    },
    Grant {
        group: "",
        resources: &["persistentvolumeclaims"],
        verbs: &["list"],
        names: &[],
        why: "a new partition that finds claims of an earlier one says so",
    },
    Grant {
        group: "policy",
        resources: &["poddisruptionbudgets"],
        verbs: &["list", "watch", "create", "get", "update", "delete"],
        names: &[],
        why: "quorum; there is none for one pod, so it goes when a partition shrinks to that",
    },
    Grant {
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        verbs: &["list", "watch", "create", "get", "update", "delete"],
        names: &[],
        why: "discovery; one goes with the address family that it is of",
    },
    Grant {
        group: "",
        resources: &["endpoints"],
        verbs: &["list", "watch", "create", "get", "update", "delete"],
        names: &[],
        why: "the same for older readers; they go when --legacy-endpoints=false turns them off",
    },
    Grant {
        group: "discovery.k8s.io",
        resources: &["endpointslices/restricted"],
        verbs: &["create"],
        names: &[],
        why: "OpenShift asks for it where addresses are inside the service network",
    },
    Grant {
        group: "",
        resources: &["endpoints/restricted"],
        verbs: &["create"],
        names: &[],
        why: "as for endpointslices/restricted",
    },
    Grant {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "patch", "list"],
        names: &[],
        why: "what a user should know; a repeated event is counted on the first; why a StatefulSet makes no more pods",
    },
    Grant {
        group: "admissionregistration.k8s.io",
        resources: &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        verbs: &["list", "watch", "patch"],
        names: &OWN,
        why: "the trust of the API server in our certificates",
    },
    Grant {
        group: "authentication.k8s.io",
        resources: &["selfsubjectreviews"],
        verbs: &["create"],
        names: &[],
        why: "by which name the webhooks know the controller; a hardened cluster has no binding that lets every user ask",
    },
];

/// In the controller's own namespace.
const AT_HOME: &[Grant] = &[
    Grant {
        group: "",
        resources: &["secrets"],
        verbs: &["list", "watch", "get", "update"],
        names: &["atomix-controller-webhook-ca"],
        why: "the certificate authority; who may create Secrets here could take over the cluster",
    },
    Grant {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["create"],
        names: &[],
        why: "which replica reconciles; what is created has no name yet when rights are asked for",
    },
    Grant {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["list", "watch", "get", "update"],
        names: &OWN,
        why: "kept, and taken over",
    },
    Grant {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["list", "watch", "get", "patch"],
        names: &["atomix-controller-replicas"],
        why: "which replicas live; each changes one annotation of it",
    },
    Grant {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "patch"],
        names: &[],
        why: "what a person should know of the webhooks' certificates",
    },
];

/// (group, resource, verb, name): one single right.
type Right = (String, String, String, String);

fn rights<'a>(
    groups: &[&str],
    resources: impl IntoIterator<Item = &'a str>,
    verbs: &[&str],
    names: &[&str],
) -> BTreeSet<Right> {
    let names = if names.is_empty() { &[""] } else { names };
    let mut rights = BTreeSet::new();
    for resource in resources {
        for (group, verb, name) in
            groups.iter().flat_map(|g| verbs.iter().flat_map(move |v| names.iter().map(move |n| (g, v, n))))
        {
            rights.insert(((*group).into(), resource.into(), (*verb).into(), (*name).into()));
        }
    }
    rights
}

fn of_table(table: &[Grant]) -> BTreeSet<Right> {
    let grants = table.iter();
    grants
        .flat_map(|grant| {
            assert!(!grant.why.is_empty());
            rights(&[grant.group], grant.resources.iter().copied(), grant.verbs, grant.names)
        })
        .collect()
}

fn of_role(role: &Value) -> BTreeSet<Right> {
    let strings = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().into_iter().flatten();
        list.map(|item| item.as_str().expect("a string").to_owned()).collect()
    };
    let rules = role["rules"].as_array().expect("rules").iter();
    rules
        .flat_map(|rule| {
            assert!(rule["nonResourceURLs"].is_null(), "{rule}");
            let lists = ["apiGroups", "resources", "verbs", "resourceNames"].map(|field| strings(rule, field));
            let [groups, resources, verbs, names] =
                [0, 1, 2, 3].map(|index| lists[index].iter().map(String::as_str).collect::<Vec<_>>());
            rights(&groups, resources, &verbs, &names)
        })
        .collect()
}

#[track_caller]
fn assert_granted(role: &Value, table: &[Grant]) {
    let (granted, wanted) = (of_role(role), of_table(table));
    let only = |one: &BTreeSet<Right>, other: &BTreeSet<Right>| one.difference(other).cloned().collect::<Vec<_>>();
    assert!(only(&granted, &wanted).is_empty(), "granted for no reason: {:#?}", only(&granted, &wanted));
    assert!(only(&wanted, &granted).is_empty(), "needed and not granted: {:#?}", only(&wanted, &granted));
    for (group, resource, verb, _) in granted {
        assert!(![group, resource, verb].contains(&"*".to_owned()), "a wildcard");
    }
}

#[test]
fn each_right_that_the_manifest_grants_has_a_reason() {
    let kubectl = harness().installation().kubectl();
    assert_granted(&kubectl.get_json(&["clusterrole", "atomix-controller"]), EVERYWHERE);
    assert_granted(&kubectl.get_json(&["role", "atomix-controller"]), AT_HOME);
}

#[test]
fn nothing_else_is_bound_to_the_controllers_account() {
    let kubectl = harness().installation().kubectl();
    let bound = |arguments: &[&str]| -> Vec<String> {
        let bindings = items(kubectl, arguments);
        let ours = bindings.iter().filter(|binding| {
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            subjects.into_iter().any(|subject| subject["name"] == "atomix-controller")
        });
        ours.map(|binding| format!("{} -> {}", binding["metadata"]["name"], binding["roleRef"]["name"])).collect()
    };
    let own = r#""atomix-controller" -> "atomix-controller""#;
    assert_eq!(bound(&["clusterrolebindings"]), [own]);
    assert_eq!(bound(&["rolebindings", "-A"]), [own]);
}

#[test]
fn of_secrets_it_reads_one_and_creates_none() {
    // The original had all rights on all Secrets.
    let account = "--as=system:serviceaccount:kube-system:atomix-controller";
    let kubectl = harness().installation().kubectl();
    let may = |verb: &str, object: &str| kubectl.run(&["auth", "can-i", verb, object, account]).stdout.trim() == "yes";
    assert!(may("update", "secrets/atomix-controller-webhook-ca"));
    assert!(!may("update", "secrets/another"));
    for verb in ["create", "get", "list", "watch", "delete"] {
        assert!(!may(verb, "secrets"), "{verb}");
    }
    for (verb, object) in [
        ("create", "pods"),
        ("delete", "pods"),
        ("get", "pods"),
        ("delete", "statefulsets"),
        ("update", "partitionsets"),
        ("get", "nodes"),
    ] {
        assert!(!may(verb, object), "{verb} {object}");
    }
}

#[test]
fn the_rights_suffice_and_those_to_write_are_all_used() {
    let (_namespace, kubectl) = sandbox("rights");
    use_every_right(&kubectl);
    let audit = harness().control_plane().audit_stages();
    assert_never_refused(&audit);
    let used: BTreeSet<_> = audit.iter().map(right).collect();
    let unused: Vec<_> = of_table(EVERYWHERE)
        .into_iter()
        .chain(of_table(AT_HOME))
        .map(|(group, resource, verb, _)| (group, resource, verb))
        .filter(|right| !used.contains(right))
        .filter(|(_, resource, verb)| !is_for_others(resource, verb))
        .collect();
    assert!(unused.is_empty(), "nobody needs these: {unused:#?}");
}

/// Rights that this control plane does not ask for, or that only other
/// settings, clusters and accidents call for.
fn is_for_others(resource: &str, verb: &str) -> bool {
    let asked_by_openshift = resource.ends_with("/finalizers") || resource.ends_with("/restricted");
    let of_other_settings = matches!((resource, verb), ("endpoints" | "endpointslices", "delete"));
    // A Service of a group that the project's first controller made has an address, and is made anew without.
    let of_other_objects = (resource, verb) == ("services", "delete");
    // By the one of two controllers that comes second, to the empty Secret or to the Lease.
    let of_a_race = matches!((resource, verb), ("secrets" | "leases", "get"));
    // The manifest has the Leases; they are made again if a client deletes them. So are Services, at their addresses.
    let of_an_accident = matches!((resource, verb), ("leases", "create") | ("ipaddresses", "get"));
    // Nobody calls it here; the tests of the API do.
    let of_the_grpc_api = resource == "partitionsets" && ["get", "create", "delete"].contains(&verb);
    // While pods are missing, as in the test of a quota that refuses them.
    let of_missing_pods = (resource, verb) == ("events", "list");
    of_missing_pods
        || asked_by_openshift
        || of_other_settings
        || of_other_objects
        || of_a_race
        || of_an_accident
        || of_the_grpc_api
}

/// Lets the controller do all that it ever does.
fn use_every_right(kubectl: &Kubectl) {
    let patch = |kind: &str, name: &str, patch: Value| {
        kubectl.ok(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()]);
    };
    // Creates everything; with storage, it looks for claims that were retained.
    let mut stored: Value = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet"});
    stored["metadata"] = json!({"name": "w"});
    stored["spec"] =
        json!({"partitions": 2, "template": {"spec": {"protocol": "log", "size": 2, "storageSize": "1Gi"}}});
    create_ready(kubectl, &stored.to_string(), "w");
    // Updates the partitions, and everything that is edited.
    patch("partitionset", "w", json!({"spec": {"template": {"spec": {"image": "node:2"}}}}));
    let instance = json!({"metadata": {"labels": {"app.kubernetes.io/instance": "stranger"}}});
    let edited = [
        ("configmap", "w-1-config"),
        ("statefulset", "w-1"),
        ("service", "w-1"),
        ("poddisruptionbudget", "w-1-pdb"),
        ("endpointslice", "w-ipv4"),
        ("endpoints", "w"),
    ];
    for (kind, name) in edited {
        patch(kind, name, instance.clone());
        kubectl.wait_until(&[kind, name], SOON, |found| {
            found[0]["metadata"]["labels"]["app.kubernetes.io/instance"] == "w"
        });
    }
    // Deletes a ConfigMap that cannot be updated.
    patch("configmap", "w-1-config", json!({"immutable": true}));
    patch("partitionset", "w", json!({"spec": {"template": {"spec": {"config": "memberGroupStrategy: ZONE_AWARE"}}}}));
    kubectl.wait_until(&["configmap", "w-1-config"], SOON, |found| {
        found.first().is_some_and(|map| map["data"]["protocol.json"].as_str().is_some_and(|text| text.contains("ZONE")))
    });
    await_ready(kubectl, "w");
    // Deletes partitions, and the budgets of partitions of one pod.
    patch(
        "partitionset",
        "w",
        json!({
            "metadata": {"annotations": removal_consent(kubectl, "w", 1)},
            "spec": {"partitions": 1, "partitionSize": 1, "template": {"spec": {"size": 1}}},
        }),
    );
    kubectl.wait_until(&["poddisruptionbudgets"], SOON, <[Value]>::is_empty);
    await_ready(kubectl, "w");
    // A pod that comes and goes makes the same events again, which are counted.
    for _ in 0..2 {
        stage(kubectl, "w-1-0", "never-ready");
        kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
            condition(&found[0], "Ready").is_some_and(|ready| ready["status"] == "False")
        });
        stage(kubectl, "w-1-0", "ready");
        await_ready(kubectl, "w");
    }
    kubectl.wait_until(&["events.events.k8s.io"], SOON, |events| {
        events.iter().any(|event| event["series"]["count"].as_u64().is_some_and(|count| count > 1))
    });
}

fn right(entry: &AuditEntry) -> (String, String, String) {
    let subresource = if entry.subresource.is_empty() { "" } else { "/" };
    let resource = format!("{}{subresource}{}", entry.resource, entry.subresource);
    (entry.group.clone(), resource, entry.verb.clone())
}

/// That the controller never asked for what it may not. Making something in a namespace that is being deleted is
/// forbidden to every user: such a request has been allowed elsewhere.
#[track_caller]
pub fn assert_never_refused(audit: &[AuditEntry]) {
    let allowed: BTreeSet<_> = audit.iter().filter(|entry| entry.code < 400).map(right).collect();
    let refused: Vec<_> = audit
        .iter()
        .filter(|entry| {
            entry.code == 401 || entry.code == 403 && !(entry.verb == "create" && allowed.contains(&right(entry)))
        })
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Requests by verb and resource, for messages.
pub fn tally<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for entry in entries {
        let subresource = if entry.subresource.is_empty() { "" } else { "/" };
        let key = format!("{} {}{subresource}{}", entry.verb, entry.resource, entry.subresource);
        *tally.entry(key).or_default() += 1;
    }
    tally
}

//! Fragments of a template, of every kind that Kubernetes has rules for.

use serde_json::{Value, json};

/// Why the verdicts on a fragment may differ, and what the rules say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The verdict is the same, the words are those of another version of Kubernetes, or of a field that a template lacks.
    Words,
    /// The rules accept what a cluster may refuse, by how it is configured.
    Accepted,
    /// The rules refuse what a StatefulSet may have and its pods may not, or what Kubernetes changes without a word.
    Refused,
}

/// A part of a template.
#[derive(Debug)]
pub struct Fragment {
    pub template: Value,
    pub unknown: Option<Unknown>,
}

/// All of them.
pub fn all() -> Vec<Fragment> {
    let known = [resources(), env(), tolerations(), spread(), node_affinity(), pod_affinity(), security(), names()];
    let known = known.into_iter().flatten().map(|template| Fragment { template, unknown: None });
    known.chain(unknown()).collect()
}

/// The few that cannot be known.
fn unknown() -> impl Iterator<Item = Fragment> {
    let spread = json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
        "matchLabelKeys": ["a"], "labelSelector": {"matchLabels": {"a": "b"}}});
    [
        // By a flag of the API server.
        (Unknown::Accepted, json!({"securityContext": {"privileged": true}})),
        // By the feature gate SELinuxMount.
        (Unknown::Accepted, json!({"podSecurityContext": {"seLinuxChangePolicy": "MountOption"}})),
        // By the feature gate TaintTolerationComparisonOperators, which is off unless somebody turns it on.
        (Unknown::Words, json!({"tolerations": [{"key": "k", "operator": "Gt", "value": "1"}]})),
        // Some versions know another source.
        (Unknown::Words, json!({"env": [{"name": "A", "valueFrom": {}}]})),
        // A template has no `hostNetwork`.
        (Unknown::Words, json!({"podSecurityContext": {"windowsOptions": {"hostProcess": true}}})),
        // Of the two, some versions refuse the StatefulSet, and others its pods.
        (Unknown::Refused, json!({"topologySpreadConstraints": [spread]})),
        // Kubernetes makes the largest amount of it that it can hold.
        (Unknown::Refused, json!({"resources": {"limits": {"cpu": "1e99"}}})),
        (Unknown::Refused, json!({"resources": {"limits": {"memory": "8Ei"}}})),
        // No path, variable or argument of a process has a NUL.
        (Unknown::Refused, json!({"env": [{"name": "A", "value": "a\0"}]})),
        (Unknown::Refused, json!({"securityContext": {"seLinuxOptions": {"user": "\0"}}})),
        (Unknown::Refused, json!({"podSecurityContext": {"sysctls": [{"name": "a", "value": "\0"}]}})),
        // An empty item of a list in YAML is a slip.
        (Unknown::Refused, json!({"imagePullSecrets": [null]})),
        (Unknown::Refused, json!({"podSecurityContext": {"supplementalGroups": [null]}})),
        // Without dynamic resource allocation they are dropped.
        (Unknown::Refused, json!({"resources": {"claims": [{"name": "c"}]}})),
    ]
    .into_iter()
    .map(|(unknown, template)| Fragment { template, unknown: Some(unknown) })
}

fn resources() -> Vec<Value> {
    let names = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "hugepages-2Mi",
        "hugepages-",
        "example.com/gpu",
        "kubernetes.io/x",
        "requests.example.com/gpu",
        "gpu",
        "pods",
        "storage",
        "requests.cpu",
        "a b",
        "a/b/c",
        "",
    ];
    let amounts = ["1", "2Mi", "1500m", "3Mi", "-1", "0", "1u", "much", "1e3"]
        .map(Value::from)
        .into_iter()
        .chain([json!(1), json!(0.5)]);
    let amounts: Vec<Value> = amounts.collect();
    let mut all = Vec::new();
    for name in names {
        for amount in &amounts {
            all.push(json!({"limits": {name: amount}}));
            all.push(json!({"requests": {name: amount}, "limits": {name: "2Mi"}}));
            all.push(json!({"requests": {name: amount, "cpu": 1}}));
        }
    }
    all.extend([
        json!({"limits": {"cpu": 1, "hugepages-2Mi": "4Mi"}}),
        json!({"limits": {"memory": "1Gi", "hugepages-1Gi": "1Gi", "hugepages-2Mi": "1Mi"}}),
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1000Mi"}}),
        json!({"requests": {"cpu": 0.5}, "limits": {"cpu": 0.25}}),
        json!({"requests": {"memory": "1G"}, "limits": {"memory": "1Gi"}}),
        json!({"limits": {"memory": "1e-99", "ephemeral-storage": "9223372036854775807"}}),
        json!({"limits": {"memory": "1.0000000000000000000000000000000000000000001", "cpu": "000000000000000000001"}}),
    ]);
    all.into_iter().map(|resources| json!({"resources": resources})).collect()
}

fn env() -> Vec<Value> {
    let mut sources = Vec::new();
    for path in [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "spec.host",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
        "status.phase",
        "metadata.labels",
        "metadata.labels['a/b']",
        "metadata.labels['a b']",
        "metadata.annotations['A.b/C']",
        "metadata.annotations['']",
        "metadata.name['a']",
        "spec.containers",
        "['a']",
        "",
    ] {
        sources.push(json!({"fieldRef": {"fieldPath": path}}));
        sources.push(json!({"fieldRef": {"fieldPath": path, "apiVersion": "v2"}}));
    }
    for resource in ["limits.cpu", "requests.memory", "limits.ephemeral-storage", "limits.hugepages-2Mi", "cpu", ""] {
        for divisor in
            [json!(null), json!("1"), json!("1m"), json!("1Mi"), json!("1024"), json!("0"), json!(1), json!("2")]
        {
            sources.push(json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}}));
        }
    }
    for name in ["s", "a.b", "S", "", "a_b"] {
        for key in ["k", "K_.-1", "a b", ".", "..", "..a", "", "a/b"] {
            sources.push(json!({"secretKeyRef": {"name": name, "key": key}}));
        }
        sources.push(json!({"configMapKeyRef": {"name": name, "key": "a b"}}));
    }
    sources.push(json!({"configMapKeyRef": {"key": "k"}}));
    sources.push(json!({"secretKeyRef": {"name": "s", "key": "k"}, "fieldRef": {"fieldPath": "metadata.name"}}));
    sources.push(json!({"secretKeyRef": {"name": "s", "key": "k"}, "configMapKeyRef": {"name": "s", "key": "k"}}));
    let mut all: Vec<Value> = sources.iter().map(|source| json!({"name": "A", "valueFrom": source})).collect();
    for value in ["", "x"] {
        all.push(json!({"name": "A", "value": value, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}));
        all.push(json!({"name": "A", "value": value, "valueFrom": sources.last()}));
    }
    all.extend(["", "1 a", "A=B", "é", "a\t"].map(|name| json!({"name": name, "value": "x"})));
    all.into_iter().map(|variable| json!({"env": [variable]})).collect()
}

fn tolerations() -> Vec<Value> {
    let mut all = Vec::new();
    for key in [json!(null), json!(""), json!("k"), json!("a b")] {
        for operator in [json!(null), json!(""), json!("Equal"), json!("Exists"), json!("exists")] {
            for value in [json!(null), json!("v"), json!("a b")] {
                for (effect, seconds) in [
                    (json!(null), json!(null)),
                    (json!("NoSchedule"), json!(null)),
                    (json!("NoExecute"), json!(-5)),
                    (json!("PreferNoSchedule"), json!(5)),
                    (json!("NoRun"), json!(5)),
                ] {
                    let toleration = json!({"key": key, "operator": operator, "value": value, "effect": effect,
                        "tolerationSeconds": seconds});
                    all.push(json!({"tolerations": [toleration]}));
                }
            }
        }
    }
    all
}

/// Selectors of pods.
fn selectors() -> Vec<Value> {
    let mut all: Vec<Value> = expressions(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", ""])
        .into_iter()
        .map(|expression| json!({"matchExpressions": [expression]}))
        .collect();
    all.extend([
        json!(null),
        json!({}),
        json!({"matchLabels": {"a": "b", "a b": "c d"}}),
        json!({"matchLabels": {"": ""}}),
    ]);
    all
}

fn expressions(operators: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for operator in operators {
        for values in [json!(null), json!([]), json!(["1"]), json!(["a", "b"]), json!(["a b"])] {
            all.push(json!({"key": "zone", "operator": operator, "values": values}));
        }
    }
    all.extend(["", "a b", "a/b/c", "A.b/c"].map(|key| json!({"key": key, "operator": "Exists"})));
    all
}

fn spread() -> Vec<Value> {
    let base = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    let changed = |field: &str, value: Value| {
        let mut constraint = base.clone();
        constraint[field] = value;
        constraint
    };
    let mut all = Vec::new();
    for (field, values) in [
        ("maxSkew", vec![json!(0), json!(-1), json!(5)]),
        ("topologyKey", vec![json!(""), json!("a b")]),
        ("whenUnsatisfiable", vec![json!(""), json!("ScheduleAnyway"), json!("Never")]),
        ("minDomains", vec![json!(0), json!(-1), json!(2)]),
        ("nodeAffinityPolicy", vec![json!("Honor"), json!("Ignore"), json!("honor"), json!("")]),
        ("nodeTaintsPolicy", vec![json!("Honor"), json!("x")]),
        ("matchLabelKeys", vec![json!([]), json!(["a"]), json!(["a b"])]),
        ("labelSelector", selectors()),
    ] {
        all.extend(values.into_iter().map(|value| vec![changed(field, value)]));
    }
    let anyway = changed("whenUnsatisfiable", json!("ScheduleAnyway"));
    let mut domains = anyway.clone();
    domains["minDomains"] = json!(2);
    let mut keys = changed("labelSelector", json!({"matchLabels": {"b": "c"}}));
    keys["matchLabelKeys"] = json!(["a", "a b", ""]);
    all.extend([vec![base.clone(), base.clone()], vec![base.clone(), anyway], vec![domains], vec![keys]]);
    all.into_iter().map(|constraints| json!({"topologySpreadConstraints": constraints})).collect()
}

fn node_affinity() -> Vec<Value> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let mut terms: Vec<Value> = expressions(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "", "Near"])
        .into_iter()
        .map(|expression| json!({"matchExpressions": [expression]}))
        .collect();
    for (key, operator, values) in [
        ("metadata.name", "In", json!(["a"])),
        ("metadata.name", "NotIn", json!(["a", "b"])),
        ("metadata.name", "In", json!(["A b"])),
        ("metadata.name", "Exists", json!([])),
        ("metadata.uid", "In", json!(["a"])),
        ("", "In", json!(["a"])),
    ] {
        terms.push(json!({"matchFields": [{"key": key, "operator": operator, "values": values}]}));
    }
    terms.push(json!({}));
    let mut all: Vec<Value> = vec![json!({}), json!({REQUIRED: {"nodeSelectorTerms": []}}), json!({PREFERRED: []})];
    for term in &terms {
        all.push(json!({REQUIRED: {"nodeSelectorTerms": [{}, term]}}));
        all.push(json!({PREFERRED: [{"weight": 1, "preference": term}]}));
    }
    all.push(json!({PREFERRED: [{"weight": 1}]}));
    for key in ["beta.kubernetes.io/arch", "node-role.kubernetes.io/master"] {
        let term = json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["a b"]}]});
        all.push(json!({REQUIRED: {"nodeSelectorTerms": [term]}}));
    }
    for weight in [-1, 0, 100, 101] {
        all.push(json!({PREFERRED: [{"weight": weight, "preference": {}}]}));
    }
    all.into_iter().map(|affinity| json!({"affinity": {"nodeAffinity": affinity}})).collect()
}

fn pod_affinity() -> Vec<Value> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let mut terms: Vec<Value> = ["zone", "", "a b", "a/b/c"].map(|key| json!({"topologyKey": key})).into();
    for selector in selectors() {
        terms.push(json!({"topologyKey": "zone", "labelSelector": selector}));
    }
    terms.extend([
        json!({"topologyKey": "zone", "namespaceSelector": {"matchLabels": {"a b": ""}}}),
        json!({"topologyKey": "zone", "namespaces": ["a", "A", "a.b", ""]}),
        json!({"topologyKey": "zone", "matchLabelKeys": ["a"]}),
        json!({"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["a", "a b"]}),
        json!({"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a", "b"]}),
        json!({"topologyKey": "zone", "mismatchLabelKeys": ["a"]}),
    ]);
    let mut all = Vec::new();
    for term in terms {
        all.push(json!({"podAffinity": {REQUIRED: [term]}}));
        all.push(json!({"podAntiAffinity": {PREFERRED: [{"weight": 100, "podAffinityTerm": term}]}}));
    }
    for weight in [-1, 0, 101] {
        let term = json!({"weight": weight, "podAffinityTerm": {"topologyKey": "zone"}});
        all.push(json!({"podAffinity": {PREFERRED: [term]}}));
    }
    all.into_iter().map(|affinity| json!({"affinity": affinity})).collect()
}

fn security() -> Vec<Value> {
    let mut both = Vec::new();
    for kind in ["", "Localhost", "RuntimeDefault", "Unconfined", "localhost"] {
        for file in [json!(null), json!(""), json!("a/b"), json!("/a"), json!("a/../b"), json!(" a")] {
            both.push(json!({"seccompProfile": {"type": kind, "localhostProfile": file}}));
            both.push(json!({"appArmorProfile": {"type": kind, "localhostProfile": file}}));
        }
    }
    for field in ["runAsUser", "runAsGroup"] {
        both.extend([-1, 0, 2_147_483_647, 2_147_483_648_i64].map(|id| json!({field: id})));
    }
    let users =
        ["a", "NT AUTHORITY\\Local Service", "", "a\\b\\c", ".a\\b", "a\\", "...", "a@b", "a\tb", "a-.b\\c", "a.b\\c"];
    both.extend(users.map(|user| json!({"windowsOptions": {"runAsUserName": user}})));
    both.extend(["a", "A", ""].map(|name| json!({"windowsOptions": {"gmsaCredentialSpecName": name}})));
    both.push(json!({"windowsOptions": {"gmsaCredentialSpec": ""}}));

    let mut container = both.clone();
    container.extend(["Default", "Unmasked", "default", ""].map(|mount| json!({"procMount": mount})));
    for privileged in [json!(null), json!(false)] {
        for added in ["SYS_ADMIN", "CAP_SYS_ADMIN", "x y"] {
            container.push(json!({"allowPrivilegeEscalation": false, "privileged": privileged,
                "capabilities": {"add": [added]}}));
        }
    }
    container.push(json!({"allowPrivilegeEscalation": true, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}));

    let mut pod = both;
    pod.extend([-1, 0, 2_147_483_648_i64].map(|id| json!({"fsGroup": id, "supplementalGroups": [1, id]})));
    for (field, values) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch", "always", ""]),
        ("supplementalGroupsPolicy", ["Merge", "Strict", "strict", ""]),
        ("seLinuxChangePolicy", ["Recursive", "Recursive", "Recursive", "Recursive"]),
    ] {
        pod.extend(values.map(|value| json!({field: value})));
    }
    for name in ["kernel.shm_rmid_forced", "net/ipv4/a-b", "", "A", "a..b", "a b", "-a"] {
        pod.push(json!({"sysctls": [{"name": name, "value": "1"}]}));
    }
    pod.push(json!({"sysctls": [{"name": "a", "value": "1"}, {"name": "a", "value": ""}]}));
    pod.push(json!({"sysctls": [{"name": "a"}]}));
    let container = container.into_iter().map(|context| json!({"securityContext": context}));
    container.chain(pod.into_iter().map(|context| json!({"podSecurityContext": context}))).collect()
}

fn names() -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["", "a", "a.b", "A", "a_b", "-a"] {
        all.push(json!({"serviceAccountName": name}));
        all.push(json!({"priorityClassName": name}));
        all.push(json!({"imagePullSecrets": [{"name": name}]}));
    }
    all.extend([-1, 0, i64::MIN, i64::MAX].map(|seconds| json!({"terminationGracePeriodSeconds": seconds})));
    all.extend(
        [json!([{}]), json!([{"name": "a"}, {"name": "a"}])].map(|secrets| json!({"imagePullSecrets": secrets})),
    );
    all.push(json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}));
    for (key, value) in [("a", "b"), ("a", ""), ("a b", "c"), ("", "c"), ("a", "b c"), ("a/b/c", "d"), ("/a", "b")] {
        all.push(json!({"nodeSelector": {key: value}}));
    }
    all
}

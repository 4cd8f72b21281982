//! One field at a time: what may stand there, and what not.

use serde_json::{Value, json};

use super::corpus::Expected::{self, Illegal, IllegalForFunctions, Legal, LegalOnceEdited, Same};

/// A place in a set, what is expected of it, and values to put there.
type Field = (&'static str, Expected, Vec<Value>);

/// All of them.
pub fn fields() -> impl Iterator<Item = Field> {
    [of_a_set(), of_a_template(), of_containers(), of_pods()].into_iter().flatten()
}

fn no_integers() -> Vec<Value> {
    vec![json!("1"), json!(1.5), json!(true), json!([]), json!({}), json!(1e20)]
}

/// A map with so many entries.
fn counted(count: usize) -> Value {
    (0..count).map(|n| (format!("k{n}"), json!("v"))).collect()
}

fn many(item: &Value, count: usize) -> Value {
    Value::Array(vec![item.clone(); count])
}

/// Of the set itself, and the parts of it.
fn of_a_set() -> Vec<Field> {
    vec![
        ("/spec/partitions", Legal, vec![json!(1), json!(299), json!(1000), json!(null)]),
        ("/spec/partitions", Illegal, vec![json!(0), json!(-1), json!(1001), json!(i64::MAX), json!(i64::MIN)]),
        ("/spec/partitions", Illegal, no_integers()),
        ("/spec/partitionSize", Illegal, vec![json!(0), json!(-3), json!(22), json!(4), json!(i64::MAX)]),
        ("/spec/partitionSize", Illegal, no_integers()),
        ("/spec/maxUnavailablePartitions", Legal, vec![json!(1), json!(null)]),
        ("/spec/maxUnavailablePartitions", Illegal, vec![json!(0), json!(-1), json!(4), json!(1001)]),
        ("/spec/maxUnavailablePartitions", Illegal, no_integers()),
        (
            "/spec/persistentVolumeClaimRetentionPolicy",
            Legal,
            vec![json!({}), json!(null), json!({"whenScaled": "Delete"})],
        ),
        (
            "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
            Legal,
            vec![json!("Retain"), json!("Delete"), json!(null)],
        ),
        (
            "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
            Illegal,
            vec![json!("Keep"), json!("retain"), json!(1)],
        ),
        ("/spec/persistentVolumeClaimRetentionPolicy/whenScaled", Illegal, vec![json!("Recycle"), json!([])]),
        ("/spec/persistentVolumeClaimRetentionPolicy", Illegal, vec![json!("Retain"), json!([]), json!(1)]),
        (
            "/spec/template/metadata",
            Legal,
            vec![json!(null), json!({}), json!({"labels": {"tier": "one"}, "annotations": {"a.b/c": "any text"}})],
        ),
        (
            "/spec/template/metadata",
            Illegal,
            vec![
                json!("x"),
                json!([]),
                json!({"labels": []}),
                json!({"labels": {"a": 1}}),
                json!({"annotations": {"a": true}}),
            ],
        ),
        (
            "/spec/template/metadata/labels",
            IllegalForFunctions,
            vec![json!({"a b": "c"}), json!({"a": "-"}), json!({"a/b/c": ""}), json!({"": "x"})],
        ),
        (
            "/spec/template/metadata/annotations",
            IllegalForFunctions,
            vec![json!({"a b": "c"}), json!({"k8s.atomix.io/member-ports": "both"})],
        ),
        (
            "/spec/template/metadata/annotations",
            Legal,
            vec![json!({"k8s.atomix.io/member-ports": "split"}), counted(256)],
        ),
        ("/spec/template/metadata/annotations", Illegal, vec![counted(257)]),
        ("/spec/template/metadata/labels", Legal, vec![counted(256)]),
        ("/spec/template/metadata/labels", Illegal, vec![counted(257)]),
        ("/spec/template/spec", Illegal, vec![json!([]), json!("x"), json!(null)]),
        ("/spec/template", Illegal, vec![json!([]), json!(1), json!(null), json!({})]),
        ("/spec", Illegal, vec![json!([]), json!("x"), json!(null), json!({})]),
    ]
}

/// Of the template, where the types are plain.
fn of_a_template() -> Vec<Field> {
    vec![
        ("/spec/template/spec/size", Legal, vec![json!(1), json!(2), json!(7), json!(21), json!(null)]),
        ("/spec/template/spec/size", Illegal, vec![json!(0), json!(-1), json!(22), json!(i64::MAX)]),
        ("/spec/template/spec/size", Illegal, no_integers()),
        (
            "/spec/template/spec/protocol",
            Illegal,
            vec![json!("paxos"), json!(""), json!("Raft"), json!(null), json!(1), json!(["raft"])],
        ),
        (
            "/spec/template/spec/config",
            Legal,
            vec![json!(""), json!("{}"), json!("# nothing"), json!(null), json!(format!("#{}", "x".repeat(16_383)))],
        ),
        (
            "/spec/template/spec/config",
            Illegal,
            vec![json!(format!("#{}", "x".repeat(16_384))), json!(1), json!({"electionTimeout": "5s"})],
        ),
        (
            "/spec/template/spec/config",
            IllegalForFunctions,
            vec![
                json!("electionTimout: 5s"),
                json!("["),
                json!("- a"),
                json!("x"),
                json!("storage: {level: disk}"),
                json!("storage: {directory: \"\\0\"}"),
                json!(format!("#{}", "é".repeat(10_000))),
            ],
        ),
        ("/spec/template/spec/image", Legal, vec![json!(""), json!("a/b:c"), json!("x".repeat(1024)), json!(null)]),
        ("/spec/template/spec/image", Illegal, vec![json!("x".repeat(1025)), json!(1)]),
        (
            "/spec/template/spec/image",
            IllegalForFunctions,
            vec![json!("a b"), json!("a\n"), json!("a\0"), json!("é".repeat(1000))],
        ),
        (
            "/spec/template/spec/imagePullPolicy",
            Legal,
            vec![json!("Always"), json!("IfNotPresent"), json!("Never"), json!(null)],
        ),
        ("/spec/template/spec/imagePullPolicy", Illegal, vec![json!("always"), json!("Sometimes"), json!(1)]),
        ("/spec/template/spec/pullPolicy", Illegal, vec![json!("always"), json!("Sometimes"), json!([])]),
        ("/spec/template/spec/imagePullPolicy", LegalOnceEdited, vec![json!("")]),
        ("/spec/template/spec/pullPolicy", LegalOnceEdited, vec![json!("")]),
        ("/spec/template/spec/ipFamilyPolicy", LegalOnceEdited, vec![json!("")]),
        ("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", LegalOnceEdited, vec![json!("")]),
        ("/spec/persistentVolumeClaimRetentionPolicy/whenScaled", LegalOnceEdited, vec![json!("")]),
        ("/spec/template/spec/priorityClassName", Legal, vec![json!(""), json!("system-node-critical"), json!(null)]),
        ("/spec/template/spec/priorityClassName", IllegalForFunctions, vec![json!("A"), json!("a b")]),
        ("/spec/template/spec/serviceAccountName", Legal, vec![json!("a.b")]),
        ("/spec/template/spec/serviceAccountName", Illegal, vec![json!("x".repeat(254)), json!(1)]),
        (
            "/spec/template/spec/ipFamilyPolicy",
            Legal,
            vec![json!("SingleStack"), json!("PreferDualStack"), json!("RequireDualStack"), json!(null)],
        ),
        ("/spec/template/spec/ipFamilyPolicy", Illegal, vec![json!("singlestack"), json!("Dual"), json!(2)]),
        ("/spec/template/spec/ipFamilies", Legal, vec![json!(["IPv4"]), json!(["IPv6"]), json!([]), json!(null)]),
        (
            "/spec/template/spec/ipFamilies",
            Illegal,
            vec![
                json!(["IPv5"]),
                json!(["ipv4"]),
                json!([""]),
                json!([4]),
                json!("IPv4"),
                json!({}),
                json!(["IPv4", "IPv6", "IPv4"]),
            ],
        ),
        ("/spec/template/spec/ipFamilies", IllegalForFunctions, vec![json!(["IPv4", "IPv6"]), json!(["IPv6", "IPv6"])]),
        ("/spec/template/spec/terminationGracePeriodSeconds", Legal, vec![json!(0), json!(-1), json!(null)]),
        ("/spec/template/spec/terminationGracePeriodSeconds", Illegal, vec![json!(1.5), json!("30"), json!(u64::MAX)]),
    ]
}

/// Of the template, where the types are those of Kubernetes' containers.
fn of_containers() -> Vec<Field> {
    let variables = |count: usize| (0..count).map(|n| json!({"name": format!("V{n}")})).collect::<Value>();
    vec![
        (
            "/spec/template/spec/env",
            Legal,
            vec![json!([]), json!(null), variables(256), json!([{"name": "A", "value": ""}, {"name": "a"}])],
        ),
        (
            "/spec/template/spec/env",
            Legal,
            vec![json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])],
        ),
        (
            "/spec/template/spec/env",
            Illegal,
            vec![
                variables(257),
                json!([{"name": "NODE_ID"}]),
                json!([{"name": "A"}, {"name": "A"}]),
                json!([{"value": "x"}]),
                json!(["A"]),
                json!([null]),
                json!("A=b"),
                json!({"A": "b"}),
                json!([{"name": "A", "value": 5}]),
            ],
        ),
        (
            "/spec/template/spec/env",
            IllegalForFunctions,
            vec![
                json!([{"name": ""}]),
                json!([{"name": "A=B"}]),
                json!([{"name": "é"}]),
                json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "k"}}}]),
            ],
        ),
        (
            "/spec/template/spec/env",
            Same,
            vec![
                json!([{"name": "A", "valueFrom": {"fieldRef": {}}}]),
                json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
                json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}}]),
            ],
        ),
        (
            "/spec/template/spec/resources",
            Legal,
            vec![
                json!({}),
                json!(null),
                json!({"limits": {"cpu": 2, "memory": "1Gi", "example.com/gpu": "1"}}),
                json!({"requests": {"cpu": "0.1", "memory": "1e3"}}),
            ],
        ),
        ("/spec/template/spec/resources", LegalOnceEdited, vec![json!({"requests": {"cpu": 0.5}})]),
        (
            "/spec/template/spec/resources",
            Illegal,
            vec![
                json!([]),
                json!("1"),
                json!({"limits": {"cpu": "much"}}),
                json!({"limits": {"cpu": ""}}),
                json!({"limits": {"cpu": true}}),
                json!({"limits": {"memory": "1Gb"}}),
                json!({"limits": ["cpu"]}),
            ],
        ),
        (
            "/spec/template/spec/resources",
            IllegalForFunctions,
            vec![
                json!({"limits": {"cpu": "-1"}}),
                json!({"limits": {"cpu": "1e99"}}),
                json!({"limits": {"cpu": -1}}),
                json!({"claims": [{"name": "c"}]}),
                json!({"claims": [{"name": "a"}, {"name": "a"}]}),
            ],
        ),
        ("/spec/template/spec/resources", Same, vec![json!({"claims": [{}]})]),
        (
            "/spec/template/spec/securityContext",
            Legal,
            vec![json!({}), json!({"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}})],
        ),
        (
            "/spec/template/spec/securityContext",
            Illegal,
            vec![json!([]), json!({"runAsUser": "root"}), json!({"privileged": "yes"})],
        ),
        (
            "/spec/template/spec/securityContext",
            Same,
            vec![json!({"seccompProfile": {}}), json!({"appArmorProfile": {}})],
        ),
    ]
}

/// Of the template, where the types are those of Kubernetes' pods.
fn of_pods() -> Vec<Field> {
    vec![
        (
            "/spec/template/spec/imagePullSecrets",
            Legal,
            vec![json!([]), json!([{"name": "s"}]), many(&json!({"name": "s"}), 64)],
        ),
        (
            "/spec/template/spec/imagePullSecrets",
            Illegal,
            vec![json!("s"), json!(["s"]), many(&json!({"name": "s"}), 65)],
        ),
        ("/spec/template/spec/imagePullSecrets", Same, vec![json!([{}]), json!([null])]),
        ("/spec/template/spec/nodeSelector", Legal, vec![json!({}), json!({"zone": "a"}), counted(64)]),
        ("/spec/template/spec/nodeSelector", Illegal, vec![counted(65), json!([]), json!({"a": 1})]),
        ("/spec/template/spec/nodeSelector", IllegalForFunctions, vec![json!({"a": "b c"})]),
        (
            "/spec/template/spec/tolerations",
            Legal,
            vec![json!([]), json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}])],
        ),
        (
            "/spec/template/spec/tolerations",
            IllegalForFunctions,
            vec![json!([{}]), json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 5}])],
        ),
        (
            "/spec/template/spec/tolerations",
            Illegal,
            vec![json!({}), json!(["k"]), json!([{"tolerationSeconds": "5"}]), many(&json!({"key": "k"}), 65)],
        ),
        (
            "/spec/template/spec/topologySpreadConstraints",
            Legal,
            vec![json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}])],
        ),
        (
            "/spec/template/spec/topologySpreadConstraints",
            Same,
            vec![
                json!([{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]),
                json!([{"maxSkew": 1}]),
                json!([{}]),
                json!([{"maxSkew": "1", "topologyKey": "zone", "whenUnsatisfiable": "x"}]),
            ],
        ),
        (
            "/spec/template/spec/affinity",
            Legal,
            vec![
                json!({}),
                json!({"nodeAffinity": {}}),
                json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]}}),
            ],
        ),
        ("/spec/template/spec/affinity", Illegal, vec![json!([]), json!("x"), json!({"nodeAffinity": []})]),
        (
            "/spec/template/spec/affinity",
            Same,
            vec![
                json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}),
                json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}),
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k"}]}]}}}),
            ],
        ),
        (
            "/spec/template/spec/podSecurityContext",
            Legal,
            vec![json!({}), json!({"fsGroup": 65534, "sysctls": [{"name": "a", "value": "b"}]})],
        ),
        (
            "/spec/template/spec/podSecurityContext",
            Illegal,
            vec![json!("x"), json!({"fsGroup": "nobody"}), json!({"supplementalGroups": ["x"]})],
        ),
        (
            "/spec/template/spec/podSecurityContext",
            Same,
            vec![json!({"sysctls": [{"name": "a"}]}), json!({"seccompProfile": {"localhostProfile": "x"}})],
        ),
    ]
}

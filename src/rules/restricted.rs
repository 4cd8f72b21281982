//! What the "restricted" Pod Security Standard of Kubernetes, and "baseline" which it includes, refuse in the pods of a
//! set. The API server knows which namespaces enforce it.
//!
//! These are the rules of the newest version of the standard. What no set can have is not checked: volumes, ports,
//! namespaces and probes of the host, its processes on Windows, and an unmasked `/proc`.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SELinuxOptions, SecurityContext};
use serde_json::Value;

use super::read::SetObject;
use crate::api::TemplateSpec;

const TEMPLATE: &str = "spec.template.spec";
const POD: &str = "podSecurityContext";
const CONTAINER: &str = "securityContext";
const EXAMPLE: &str = "deploy/examples/restricted.yaml";
const PROFILES: [&str; 2] = ["RuntimeDefault", "Localhost"];
const SE_LINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Warnings for a `PartitionSet` as JSON that is created, or whose template is changed from that of `old`, in a namespace
/// that enforces the standard; none if the pods comply.
#[must_use]
pub fn restricted(new: &Value, old: Option<&Value>) -> Vec<String> {
    let read = |set| SetObject::read(set, &mut Vec::new());
    let new = read(new);
    let template = new.spec.template.spec;
    if new.deleting || old.is_some_and(|old| read(old).spec.template.spec == template) {
        return Vec::new();
    }
    let unmet = unmet(&template);
    if unmet.is_empty() {
        return Vec::new();
    }
    let summary = format!(
        "{TEMPLATE}: the namespace enforces the \"restricted\" pod security standard and will refuse the pods; {EXAMPLE} passes"
    );
    let each = unmet
        .into_iter()
        .map(|(field, must)| format!("{TEMPLATE}.{field}: {must} for the \"restricted\" pod security standard"));
    std::iter::once(summary).chain(each).collect()
}

/// A field below the template's spec, and what it must be.
type Unmet = (String, String);

/// What the pods of a template lack.
fn unmet(spec: &TemplateSpec) -> Vec<Unmet> {
    let (no_pod, no_container) = (PodSecurityContext::default(), SecurityContext::default());
    let pod = spec.pod_security_context.as_ref().unwrap_or(&no_pod);
    let container = spec.security_context.as_ref().unwrap_or(&no_container);
    let mut unmet = Vec::new();
    let mut must = |field: String, what: &str| unmet.push((field, what.to_owned()));

    let as_non_root = (pod.run_as_non_root, container.run_as_non_root);
    for context in violating_contexts(as_non_root, |as_non_root| *as_non_root) {
        must(format!("{context}.runAsNonRoot"), "must be true");
    }
    for (context, user) in [(POD, pod.run_as_user), (CONTAINER, container.run_as_user)] {
        if user == Some(0) {
            must(format!("{context}.runAsUser"), "must not be 0");
        }
    }
    let seccomp = (pod.seccomp_profile.as_ref(), container.seccomp_profile.as_ref());
    for context in violating_contexts(seccomp, |profile| PROFILES.contains(&profile.type_.as_str())) {
        must(format!("{context}.seccompProfile.type"), "must be \"RuntimeDefault\" or \"Localhost\"");
    }
    if container.allow_privilege_escalation != Some(false) {
        must(format!("{CONTAINER}.allowPrivilegeEscalation"), "must be false");
    }
    if container.privileged == Some(true) {
        must(format!("{CONTAINER}.privileged"), "must not be true");
    }
    capabilities(container.capabilities.as_ref(), &mut must);
    let app_armor = [(POD, &pod.app_armor_profile), (CONTAINER, &container.app_armor_profile)];
    for (context, profile) in app_armor {
        if profile.as_ref().is_some_and(|profile| !PROFILES.contains(&profile.type_.as_str())) {
            must(format!("{context}.appArmorProfile.type"), "must be \"RuntimeDefault\" or \"Localhost\"");
        }
    }
    for (context, options) in [(POD, &pod.se_linux_options), (CONTAINER, &container.se_linux_options)] {
        se_linux(context, options.as_ref(), &mut must);
    }
    let sysctls = pod.sysctls.as_deref().unwrap_or_default();
    for (index, _) in sysctls.iter().enumerate().filter(|(_, sysctl)| !SYSCTLS.contains(&sysctl.name.as_str())) {
        must(format!("{POD}.sysctls[{index}].name"), "must be one that is safe");
    }
    unmet
}

/// Which of the two security contexts violates a requirement that either may fulfil: each that sets a bad value, or the
/// pod's if neither sets one.
fn violating_contexts<T>((pod, container): (Option<T>, Option<T>), is_good: impl Fn(&T) -> bool) -> Vec<&'static str> {
    if pod.is_none() && container.is_none() {
        return vec![POD];
    }
    let contexts = [(POD, pod), (CONTAINER, container)];
    let violating = contexts.into_iter().filter(|(_, value)| value.as_ref().is_some_and(|value| !is_good(value)));
    violating.map(|(context, _)| context).collect()
}

fn capabilities(capabilities: Option<&Capabilities>, must: &mut impl FnMut(String, &str)) {
    let (dropped, added) = capabilities.map(|both| (both.drop.as_deref(), both.add.as_deref())).unwrap_or_default();
    if !dropped.unwrap_or_default().iter().any(|name| name == "ALL") {
        must(format!("{CONTAINER}.capabilities.drop"), "must have \"ALL\"");
    }
    if added.unwrap_or_default().iter().any(|name| name != "NET_BIND_SERVICE") {
        must(format!("{CONTAINER}.capabilities.add"), "must have nothing but \"NET_BIND_SERVICE\"");
    }
}

fn se_linux(context: &str, options: Option<&SELinuxOptions>, must: &mut impl FnMut(String, &str)) {
    let Some(options) = options else { return };
    let path = format!("{context}.seLinuxOptions");
    if !SE_LINUX_TYPES.contains(&options.type_.as_deref().unwrap_or_default()) {
        must(format!("{path}.type"), "must be one of a container");
    }
    for (field, value) in [("user", &options.user), ("role", &options.role)] {
        if value.as_ref().is_some_and(|value| !value.is_empty()) {
            must(format!("{path}.{field}"), "must be empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(template: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": template}}})
    }

    fn good() -> Value {
        json!({
            "protocol": "raft",
            "podSecurityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        })
    }

    /// The fields that are named, below the template.
    fn named(template: &Value) -> Vec<String> {
        let warnings = restricted(&set(template), None).into_iter();
        let field = |warning: String| {
            let path = warning.split(": ").next().unwrap_or_default();
            path.strip_prefix("spec.template.spec.").map(str::to_owned)
        };
        warnings.filter_map(field).collect()
    }

    #[test]
    fn the_default_pod_lacks_four_things_and_each_is_named() {
        let suffix = "for the \"restricted\" pod security standard";
        assert_eq!(
            restricted(&set(&json!({"protocol": "raft"})), None),
            [
                "spec.template.spec: the namespace enforces the \"restricted\" pod security standard and will refuse \
                 the pods; deploy/examples/restricted.yaml passes"
                    .to_owned(),
                format!("spec.template.spec.podSecurityContext.runAsNonRoot: must be true {suffix}"),
                format!(
                    "spec.template.spec.podSecurityContext.seccompProfile.type: must be \"RuntimeDefault\" or \
                     \"Localhost\" {suffix}"
                ),
                format!("spec.template.spec.securityContext.allowPrivilegeEscalation: must be false {suffix}"),
                format!("spec.template.spec.securityContext.capabilities.drop: must have \"ALL\" {suffix}"),
            ]
        );
        assert_eq!(restricted(&set(&good()), None), [""; 0]);
    }

    #[test]
    fn each_field_that_may_be_wrong_is_named_where_it_is() {
        for (pointer, value, field) in [
            ("/podSecurityContext/runAsNonRoot", json!(false), "podSecurityContext.runAsNonRoot"),
            ("/securityContext/runAsNonRoot", json!(false), "securityContext.runAsNonRoot"),
            ("/podSecurityContext/runAsUser", json!(0), "podSecurityContext.runAsUser"),
            ("/securityContext/runAsUser", json!(0), "securityContext.runAsUser"),
            ("/securityContext/seccompProfile", json!({"type": "Unconfined"}), "securityContext.seccompProfile.type"),
            ("/securityContext/privileged", json!(true), "securityContext.privileged"),
            ("/securityContext/capabilities/add", json!(["CHOWN"]), "securityContext.capabilities.add"),
            ("/securityContext/appArmorProfile", json!({"type": "Unconfined"}), "securityContext.appArmorProfile.type"),
            ("/podSecurityContext/seLinuxOptions", json!({"type": "x"}), "podSecurityContext.seLinuxOptions.type"),
            ("/securityContext/seLinuxOptions", json!({"role": "x"}), "securityContext.seLinuxOptions.role"),
            (
                "/podSecurityContext/sysctls",
                json!([{"name": "a.b", "value": "1"}]),
                "podSecurityContext.sysctls[0].name",
            ),
        ] {
            let mut template = good();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            template.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(named(&template), [field]);
        }
    }

    #[test]
    fn each_sysctl_that_is_not_safe_is_named() {
        let mut template = good();
        let names = ["a.b", "net.ipv4.tcp_rmem", "c.d"].map(|name| json!({"name": name, "value": "1"}));
        template["podSecurityContext"]["sysctls"] = json!(names);
        assert_eq!(named(&template), ["podSecurityContext.sysctls[0].name", "podSecurityContext.sysctls[2].name"]);
    }

    #[test]
    fn the_container_may_say_what_the_pod_does_not() {
        let mut template = good();
        template["podSecurityContext"] = json!({});
        template["securityContext"]["runAsNonRoot"] = json!(true);
        template["securityContext"]["seccompProfile"] = json!({"type": "Localhost", "localhostProfile": "a"});
        assert_eq!(named(&template), [""; 0]);
    }

    #[test]
    fn an_update_is_warned_of_if_it_changes_the_template() {
        let old = set(&json!({"protocol": "raft"}));
        let mut grown = old.clone();
        grown["spec"]["partitions"] = json!(5);
        assert_eq!(restricted(&grown, Some(&old)), [""; 0]);
        let image = set(&json!({"protocol": "raft", "image": "raft:2"}));
        assert_eq!(restricted(&image, Some(&old)).len(), 5);
        let mut deleted = image;
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(restricted(&deleted, Some(&old)), [""; 0]);
    }
}

//! Security contexts of the pod and of the container.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext, Sysctl,
};

use super::{Report, windows};
use crate::api::TemplateSpec;
use crate::rules::syntax;
use crate::rules::violation::Violation;

const UNMASKED: &str = "Unmasked";
const LOCALHOST: &str = "Localhost";
const PROFILES: [&str; 3] = [LOCALHOST, "RuntimeDefault", "Unconfined"];
/// Longest path of a profile, in bytes.
const MAX_PROFILE: usize = 4095;
const MAX_SYSCTL: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn check(spec: &TemplateSpec, path: &str, report: &mut Report<'_>) {
    let (pod, container) = (spec.pod_security_context.as_ref(), spec.security_context.as_ref());
    let (of_pod, of_container) = (format!("{path}.podSecurityContext"), format!("{path}.securityContext"));
    if let Some(context) = container {
        check_container(context, &of_container, report);
    }
    if let Some(context) = pod {
        check_pod(context, &of_pod, report);
    }
    let pod = pod.and_then(|context| context.windows_options.as_ref());
    let container = container.and_then(|context| context.windows_options.as_ref());
    windows::host_process((pod, &of_pod), (container, &of_container), report);
}

fn check_container(context: &SecurityContext, path: &str, report: &mut Report<'_>) {
    id(context.run_as_user, format!("{path}.runAsUser"), report);
    id(context.run_as_group, format!("{path}.runAsGroup"), report);
    if let Some(mount) = &context.proc_mount {
        let field = format!("{path}.procMount");
        if mount == UNMASKED {
            report.add(Violation::invalid(field, mount, "`hostUsers` must be false to use `Unmasked`"));
        } else {
            report.supported(field, mount, &["Default", UNMASKED]);
        }
    }
    seccomp(context.seccomp_profile.as_ref(), path, report);
    se_linux(context.se_linux_options.as_ref(), path, report);
    if context.allow_privilege_escalation == Some(false) {
        let mut wrong = |what: &str| {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            report.add(Violation::invalid(path, &"", detail));
        };
        if context.privileged == Some(true) {
            wrong("`privileged` to true");
        }
        let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_deref());
        if added.unwrap_or_default().iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            wrong("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::check(context.windows_options.as_ref(), path, report);
    app_armor(context.app_armor_profile.as_ref(), path, report);
}

/// `SELinux` labels are arguments of the container's runtime.
fn se_linux(options: Option<&SELinuxOptions>, path: &str, report: &mut Report<'_>) {
    let Some(options) = options else { return };
    for (field, text) in
        [("level", &options.level), ("role", &options.role), ("type", &options.type_), ("user", &options.user)]
    {
        report.no_nul(format!("{path}.seLinuxOptions.{field}"), text.as_ref());
    }
}

fn check_pod(context: &PodSecurityContext, path: &str, report: &mut Report<'_>) {
    id(context.fs_group, format!("{path}.fsGroup"), report);
    id(context.run_as_user, format!("{path}.runAsUser"), report);
    id(context.run_as_group, format!("{path}.runAsGroup"), report);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), format!("{path}.supplementalGroups[{index}]"), report);
    }
    sysctls(context.sysctls.as_deref().unwrap_or_default(), &format!("{path}.sysctls"), report);
    let choices: [(&str, Option<&String>, &[&str]); 3] = [
        ("fsGroupChangePolicy", context.fs_group_change_policy.as_ref(), &["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", context.supplemental_groups_policy.as_ref(), &["Merge", "Strict"]),
        // Some clusters have only the latter.
        ("seLinuxChangePolicy", context.se_linux_change_policy.as_ref(), &["MountOption", "Recursive"]),
    ];
    for (field, choice, supported) in choices {
        if let Some(choice) = choice {
            report.supported(format!("{path}.{field}"), choice, supported);
        }
    }
    seccomp(context.seccomp_profile.as_ref(), path, report);
    se_linux(context.se_linux_options.as_ref(), path, report);
    windows::check(context.windows_options.as_ref(), path, report);
    app_armor(context.app_armor_profile.as_ref(), path, report);
}

/// The number of a user or of a group.
fn id(id: Option<i64>, field: String, report: &mut Report<'_>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        report.add(Violation::invalid(field, &id, format!("must be between 0 and {}, inclusive", i32::MAX)));
    }
}

fn sysctls(sysctls: &[Sysctl], path: &str, report: &mut Report<'_>) {
    let mut known = std::collections::HashSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let (name, field) = (sysctl.name.as_str(), format!("{path}[{index}].name"));
        report.no_nul(format!("{path}[{index}].value"), Some(&sysctl.value));
        if name.is_empty() {
            report.add(Violation::required(field, ""));
        } else if !is_sysctl(name) {
            report.add(Violation::invalid(field, &name, SYSCTL));
        } else if !known.insert(name) {
            report.add(Violation::duplicate(field, name));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |segment: &str| syntax::encloses(segment, outer, |c| outer(c) || c == '-' || c == '_');
    name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(segment)
}

fn seccomp(profile: Option<&SeccompProfile>, path: &str, report: &mut Report<'_>) {
    let Some(profile) = profile else { return };
    let path = format!("{path}.seccompProfile");
    let kind = profile.type_.as_str();
    if kind.is_empty() {
        let detail = "type is required when seccompProfile is set";
        report.add(Violation::required(format!("{path}.type"), detail));
    } else {
        report.supported(format!("{path}.type"), kind, &PROFILES);
    }
    let field = format!("{path}.localhostProfile");
    match (kind == LOCALHOST, &profile.localhost_profile) {
        (true, None) => report.add(Violation::required(field, "must be set when seccomp type is Localhost")),
        (true, Some(file)) => {
            report.each(&field, file, syntax::local_path(file));
            report.no_nul(field, Some(file));
        }
        (false, Some(_)) => {
            report.add(Violation::invalid(field, &"", "can only be set when seccomp type is Localhost"));
        }
        (false, None) => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &str, report: &mut Report<'_>) {
    let Some(profile) = profile else { return };
    let path = format!("{path}.appArmorProfile");
    let field = format!("{path}.localhostProfile");
    let name = profile.localhost_profile.as_deref();
    match (profile.type_.as_str(), name) {
        (LOCALHOST, None | Some("")) => {
            report.add(Violation::required(field, "must be set when AppArmor type is Localhost"));
        }
        (LOCALHOST, Some(name)) => {
            if name.trim() != name {
                report.add(Violation::invalid(&field, &name, "must not be padded with whitespace"));
            }
            if name.len() > MAX_PROFILE {
                report.add(Violation::too_long(&field, MAX_PROFILE));
            }
            report.no_nul(field, profile.localhost_profile.as_ref());
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            report.add(Violation::invalid(field, &name, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            let detail = "type is required when appArmorProfile is set";
            report.add(Violation::required(format!("{path}.type"), detail));
        }
        (other, _) => report.supported(format!("{path}.type"), other, &PROFILES),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::judged;

    #[test]
    fn containers_do_not_contradict_themselves() {
        for (context, wrong) in [
            (json!({"runAsUser": 1000, "privileged": true, "procMount": "Default"}), 0),
            (json!({"allowPrivilegeEscalation": false, "privileged": false}), 0),
            (json!({"runAsUser": -1, "runAsGroup": 2_147_483_648_i64}), 2),
            (json!({"procMount": "Unmasked"}), 1),
            (json!({"procMount": "default"}), 1),
            (
                json!({"allowPrivilegeEscalation": false, "privileged": true,
                "capabilities": {"add": ["CAP_SYS_ADMIN"]}}),
                2,
            ),
            (json!({"seccompProfile": {"type": "Localhost"}}), 1),
            (json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "/a/../b"}}), 2),
            (json!({"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "a"}}), 1),
            (json!({"seccompProfile": {"type": "runtime/default"}}), 1),
            (json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " a"}}), 1),
            (json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "a\0"}}), 1),
            (json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "\0"}}), 1),
            (json!({"seLinuxOptions": {"user": "\0", "level": "s0"}}), 1),
        ] {
            let found = judged(json!({"protocol": "raft", "securityContext": context}));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
    }

    #[test]
    fn pods_have_ids_groups_and_sysctls() {
        for (context, wrong) in [
            (
                json!({"fsGroup": 65534, "supplementalGroups": [0], "seLinuxChangePolicy": "MountOption",
                "sysctls": [{"name": "net.ipv4.tcp_fin", "value": "1"}, {"name": "net/core", "value": ""}]}),
                0,
            ),
            (json!({"fsGroup": -1, "supplementalGroups": [1, -1], "fsGroupChangePolicy": "Never"}), 3),
            (json!({"supplementalGroupsPolicy": "strict", "seLinuxChangePolicy": "None"}), 2),
            (
                json!({"sysctls": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}, {"name": "A"}, {"name": ""}]}),
                3,
            ),
            (json!({"windowsOptions": {"hostProcess": true}}), 1),
            (json!({"sysctls": [{"name": "a"}, {"name": "b", "value": "1\0"}]}), 1),
        ] {
            let found = judged(json!({"protocol": "raft", "podSecurityContext": context}));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
    }
}

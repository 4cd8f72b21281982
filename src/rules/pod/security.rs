//! Security contexts of the pod and of the container.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext, Sysctl,
};

use super::windows;
use crate::api::TemplateSpec;
use crate::rules::report::Report;
use crate::rules::syntax;

const UNMASKED: &str = "Unmasked";
const LOCALHOST: &str = "Localhost";
const PROFILES: [&str; 3] = [LOCALHOST, "RuntimeDefault", "Unconfined"];
/// Longest path of a profile, in bytes.
const MAX_PROFILE: usize = 4095;
const MAX_SYSCTL: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn check(spec: &TemplateSpec, report: &mut Report<'_>) {
    let (pod, container) = (spec.pod_security_context.as_ref(), spec.security_context.as_ref());
    if let Some(context) = container {
        check_container(context, &mut report.field("securityContext"));
    }
    if let Some(context) = pod {
        check_pod(context, &mut report.field("podSecurityContext"));
    }
    let of_pod = pod.and_then(|context| context.windows_options.as_ref()?.host_process);
    let of_container = container.and_then(|context| context.windows_options.as_ref()?.host_process);
    windows::host_process(of_pod, of_container, report);
}

fn check_container(context: &SecurityContext, report: &mut Report<'_>) {
    id(context.run_as_user, &mut report.field("runAsUser"));
    id(context.run_as_group, &mut report.field("runAsGroup"));
    if let Some(mount) = &context.proc_mount {
        let mut report = report.field("procMount");
        if mount == UNMASKED {
            report.invalid(mount, "`hostUsers` must be false to use `Unmasked`");
        } else {
            report.supported(mount, &["Default", UNMASKED]);
        }
    }
    seccomp(context.seccomp_profile.as_ref(), report);
    se_linux(context.se_linux_options.as_ref(), report);
    if context.allow_privilege_escalation == Some(false) {
        let mut wrong =
            |what: &str| report.invalid(&"", format!("cannot set `allowPrivilegeEscalation` to false and {what}"));
        if context.privileged == Some(true) {
            wrong("`privileged` to true");
        }
        let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_deref());
        if added.unwrap_or_default().iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            wrong("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::check(context.windows_options.as_ref(), report);
    app_armor(context.app_armor_profile.as_ref(), report);
}

/// `SELinux` labels are arguments of the container's runtime.
fn se_linux(options: Option<&SELinuxOptions>, report: &mut Report<'_>) {
    let Some(SELinuxOptions { level, role, type_, user }) = options else { return };
    for (field, text) in [("level", level), ("role", role), ("type", type_), ("user", user)] {
        report.field(format_args!("seLinuxOptions.{field}")).no_nul(text.as_ref());
    }
}

fn check_pod(context: &PodSecurityContext, report: &mut Report<'_>) {
    id(context.fs_group, &mut report.field("fsGroup"));
    id(context.run_as_user, &mut report.field("runAsUser"));
    id(context.run_as_group, &mut report.field("runAsGroup"));
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &mut report.field(format_args!("supplementalGroups[{index}]")));
    }
    sysctls(context.sysctls.as_deref().unwrap_or_default(), &mut report.field("sysctls"));
    let choices = [
        ("fsGroupChangePolicy", &context.fs_group_change_policy, ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", &context.supplemental_groups_policy, ["Merge", "Strict"]),
        // Some clusters have only the latter.
        ("seLinuxChangePolicy", &context.se_linux_change_policy, ["MountOption", "Recursive"]),
    ];
    for (field, choice, supported) in choices {
        report.field(field).supported_if_given(choice.as_deref(), &supported);
    }
    seccomp(context.seccomp_profile.as_ref(), report);
    se_linux(context.se_linux_options.as_ref(), report);
    windows::check(context.windows_options.as_ref(), report);
    app_armor(context.app_armor_profile.as_ref(), report);
}

/// The number of a user or of a group.
fn id(id: Option<i64>, report: &mut Report<'_>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        report.invalid(&id, format!("must be between 0 and {}, inclusive", i32::MAX));
    }
}

fn sysctls(sysctls: &[Sysctl], report: &mut Report<'_>) {
    let mut known = std::collections::HashSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let (name, mut report) = (sysctl.name.as_str(), report.item(index));
        report.field("value").no_nul(Some(&sysctl.value));
        let mut report = report.field("name");
        if name.is_empty() {
            report.required("");
        } else if !is_sysctl(name) {
            report.invalid(&name, SYSCTL);
        } else if !known.insert(name) {
            report.duplicate(name);
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |segment: &str| syntax::encloses(segment, outer, |c| outer(c) || c == '-' || c == '_');
    name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(segment)
}

fn seccomp(profile: Option<&SeccompProfile>, report: &mut Report<'_>) {
    let Some(profile) = profile else { return };
    let mut report = report.field("seccompProfile");
    let kind = profile.type_.as_str();
    if kind.is_empty() {
        report.field("type").required("type is required when seccompProfile is set");
    } else {
        report.field("type").supported(kind, &PROFILES);
    }
    let mut report = report.field("localhostProfile");
    match (kind == LOCALHOST, &profile.localhost_profile) {
        (true, None) => report.required("must be set when seccomp type is Localhost"),
        (true, Some(file)) => {
            report.each(file, syntax::local_path(file));
            report.no_nul(Some(file));
        }
        (false, Some(_)) => report.invalid(&"", "can only be set when seccomp type is Localhost"),
        (false, None) => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, report: &mut Report<'_>) {
    let Some(profile) = profile else { return };
    let mut report = report.field("appArmorProfile");
    match (profile.type_.as_str(), &profile.localhost_profile) {
        (LOCALHOST, Some(name)) if !name.is_empty() => {
            let mut report = report.field("localhostProfile");
            if name.trim() != name {
                report.invalid(name, "must not be padded with whitespace");
            }
            if name.len() > MAX_PROFILE {
                report.too_long(MAX_PROFILE);
            }
            report.no_nul(Some(name));
        }
        (LOCALHOST, _) => report.field("localhostProfile").required("must be set when AppArmor type is Localhost"),
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            report.field("localhostProfile").invalid(name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => report.field("type").required("type is required when appArmorProfile is set"),
        (other, _) => report.field("type").supported(other, &PROFILES),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::messages;

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
            let found = messages(json!({"protocol": "raft", "securityContext": context}));
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
            let found = messages(json!({"protocol": "raft", "podSecurityContext": context}));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
    }
}

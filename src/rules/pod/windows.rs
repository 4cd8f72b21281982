//! Options of containers on Windows.

use k8s_openapi::api::core::v1::WindowsSecurityContextOptions;

use crate::rules::report::Report;
use crate::rules::syntax;

const MAX_CREDENTIALS: usize = 64 * 1024;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;
const MAX_NET_BIOS: usize = 15;
const NOT_IN_NET_BIOS: &str = "\\/:*?\"<>|";
const NOT_IN_USERS: &str = "\"/\\:;|=,+*?<>@[]";

pub(super) fn check(options: Option<&WindowsSecurityContextOptions>, report: &mut Report<'_>) {
    let Some(options) = options else { return };
    let mut report = report.field("windowsOptions");
    if let Some(name) = &options.gmsa_credential_spec_name {
        report.field("gmsaCredentialSpecName").each(name, syntax::dns_1123_subdomain(name));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let mut report = report.field("gmsaCredentialSpec");
        if spec.is_empty() {
            report.invalid(spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > MAX_CREDENTIALS {
            report.invalid(spec, "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some(name) = &options.run_as_user_name {
        report.field("runAsUserName").each(name, user_name(name));
    }
}

fn user_name(name: &str) -> Vec<String> {
    let wrong = |what: &str| vec![format!("runAsUserName {what}")];
    if name.is_empty() {
        return wrong("cannot be an empty string");
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return wrong("cannot contain control characters");
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    if user.contains('\\') {
        return wrong("cannot contain more than one backslash");
    }
    let mut found = Vec::new();
    let mut wrong = |is: bool, what: &str| {
        if is {
            found.push(format!("runAsUserName's {what}"));
        }
    };
    if let Some(domain) = domain {
        wrong(domain.len() >= MAX_DOMAIN, "Domain length must be under 256 characters");
        let known = is_net_bios(domain) || is_dns(domain);
        wrong(!known, "Domain doesn't match the NetBios nor the DNS format");
    }
    wrong(user.is_empty(), "User cannot be empty");
    wrong(user.len() > MAX_USER, "User length must not be longer than 104 characters");
    let blank = !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ');
    wrong(blank, "User cannot contain only periods or spaces");
    let forbidden = user.contains(|c| NOT_IN_USERS.contains(c));
    wrong(forbidden, "User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    found
}

fn is_net_bios(domain: &str) -> bool {
    let length = domain.chars().count();
    (1..=MAX_NET_BIOS).contains(&length)
        && !domain.starts_with('.')
        && !domain.contains(|c| NOT_IN_NET_BIOS.contains(c))
}

fn is_dns(domain: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    domain.split('.').all(|label| label.len() <= 63 && syntax::encloses(label, outer, |c| outer(c) || c == '-'))
}

/// Host processes: the pod and its one container agree, and the pods of a partition never have the host's network, which
/// host processes require.
pub(super) fn host_process(pod: Option<bool>, container: Option<bool>, report: &mut Report<'_>) {
    const FIELD: &str = "windowsOptions.hostProcess";
    if let (Some(of_pod), Some(of_container)) = (pod, container)
        && of_pod != of_container
    {
        let detail = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
        report.field("securityContext").field(FIELD).invalid(&of_container, detail);
    }
    if container.or(pod) == Some(true) {
        let context = if container.is_some() { "securityContext" } else { "podSecurityContext" };
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        report.field(context).field(FIELD).invalid(&true, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_have_a_domain_that_exists_and_a_user() {
        for name in ["Administrator", "NT AUTHORITY\\Local Service", "a.example.com\\user"] {
            assert!(user_name(name).is_empty(), "{name}");
        }
        for name in ["", "a\tb", "a\\b\\c", ".a\\b", "a\\", "...", "a@b", &"u".repeat(105)] {
            assert!(!user_name(name).is_empty(), "{name}");
        }
    }
}

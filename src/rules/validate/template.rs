//! Rules of a template, which are those of a Partition's spec as well.

use k8s_openapi::api::core::v1::EnvVar;

use crate::api::{MAX_ENV, MAX_SIZE, Protocol, TemplateSpec};
use crate::rules::quantity::{Quantity, TOO_LARGE};
use crate::rules::report::Report;
use crate::rules::{config, labels, pod, syntax};

/// Longest `spec.image`, in bytes.
const MAX_IMAGE: usize = 1024;
/// Most items of each list, and of the node selector.
const MAX_ITEMS: usize = 64;
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const SINGLE_STACK: &str = "SingleStack";
pub(super) const IP_FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const IP_FAMILY_POLICIES: [&str; 3] = [SINGLE_STACK, "PreferDualStack", "RequireDualStack"];

/// Every violation of a template.
pub(super) fn template(spec: &TemplateSpec, report: &mut Report<'_>) {
    report.field("size").within(spec.size, 1, MAX_SIZE);
    protocol_and_config(spec, report);
    image(spec, report);
    env(spec.env.as_deref().unwrap_or_default(), &mut report.field("env"));
    pod::check(spec, report);
    storage(spec, &mut report.field("storageSize"));
    ip_families(spec, report);
    for (field, name) in [
        ("storageClass", &spec.storage_class),
        ("priorityClassName", &spec.priority_class_name),
        ("serviceAccountName", &spec.service_account_name),
    ] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            report.field(field).each(name, syntax::dns_1123_subdomain(name));
        }
    }
    if let Some(selector) = &spec.node_selector {
        let mut report = report.field("nodeSelector");
        labels::labels(selector, &mut report);
        report.at_most(selector.len(), MAX_ITEMS);
    }
    for (field, count) in [
        ("imagePullSecrets", spec.image_pull_secrets.as_ref().map(Vec::len)),
        ("tolerations", spec.tolerations.as_ref().map(Vec::len)),
        ("topologySpreadConstraints", spec.topology_spread_constraints.as_ref().map(Vec::len)),
    ] {
        report.field(field).at_most(count.unwrap_or_default(), MAX_ITEMS);
    }
}

fn protocol_and_config(spec: &TemplateSpec, report: &mut Report<'_>) {
    let protocol = Protocol::parse(&spec.protocol);
    if protocol.is_none() {
        let known = Protocol::ALL.map(Protocol::as_str);
        // Without its parents it is missing as well, and only the parent is reported.
        let is_unread = ["spec", "spec.template", report.path()].iter().any(|path| report.has_reported(path));
        let mut report = report.field("protocol");
        if !spec.protocol.is_empty() {
            report.supported(&spec.protocol, &known);
        } else if !is_unread && !report.has_reported(report.path()) {
            report.required(format!("one of {}", known.join(", ")));
        }
    }
    if let Some(text) = &spec.config
        && let Err(violations) = config::check(text, protocol, &format!("{}.config", report.path()))
    {
        report.extend(violations);
    }
}

fn image(spec: &TemplateSpec, report: &mut Report<'_>) {
    if let Some(image) = &spec.image {
        let mut report = report.field("image");
        if image.len() > MAX_IMAGE {
            report.too_long(MAX_IMAGE);
        } else if image.chars().any(char::is_whitespace) {
            report.invalid(image, "must not contain white space");
        } else if image.chars().any(char::is_control) {
            report.invalid(image, "must not contain control characters");
        }
    }
    report.field("imagePullPolicy").supported_if_given(spec.image_pull_policy.as_deref(), &PULL_POLICIES);
    // The alias follows the field; the same value is reported once.
    if spec.pull_policy != spec.image_pull_policy {
        report.field("pullPolicy").supported_if_given(spec.pull_policy.as_deref(), &PULL_POLICIES);
    }
}

/// Values of environment variables never appear in a message: they may be secret.
fn env(env: &[EnvVar], report: &mut Report<'_>) {
    if env.len() > MAX_ENV {
        return report.at_most(env.len(), MAX_ENV);
    }
    for (index, variable) in env.iter().enumerate() {
        let (name, mut report) = (variable.name.as_str(), report.field_of_item(index, "name"));
        if name.is_empty() {
            report.required("");
        } else if name == "NODE_ID" {
            report.forbidden("NODE_ID is set by the controller");
        } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            let detail =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            report.invalid(&name, detail);
        } else if env[..index].iter().any(|earlier| earlier.name == name) {
            report.duplicate(name);
        }
    }
}

fn storage(spec: &TemplateSpec, report: &mut Report<'_>) {
    const DETAIL: &str = "must be a quantity greater than 0, for instance 8Gi";
    if let Some(size) = &spec.storage_size {
        match Quantity::read(&size.0) {
            Ok(amount) if amount.nanos() > 0 => {}
            Ok(_) => report.invalid(&size.0, DETAIL),
            Err(why) => report.invalid(&size.0, why.select(DETAIL, TOO_LARGE)),
        }
        return;
    }
    let has_class = spec.storage_class.as_deref().is_some_and(|class| !class.is_empty());
    if has_class && !report.has_reported(report.path()) {
        report.required("storageClass needs a size");
    }
}

fn ip_families(spec: &TemplateSpec, report: &mut Report<'_>) {
    let policy = spec.ip_family_policy.as_deref();
    report.field("ipFamilyPolicy").supported_if_given(policy, &IP_FAMILY_POLICIES);
    let (families, mut report) = (spec.ip_families.as_deref().unwrap_or_default(), report.field("ipFamilies"));
    report.at_most(families.len(), IP_FAMILIES.len());
    for (index, family) in families.iter().enumerate() {
        let mut report = report.item(index);
        if IP_FAMILIES.contains(&family.as_str()) && families[..index].contains(family) {
            report.duplicate(family);
        } else {
            report.supported(family, &IP_FAMILIES);
        }
    }
    if families.len() > 1 && policy.unwrap_or(SINGLE_STACK) == SINGLE_STACK {
        let detail = "must have one element unless ipFamilyPolicy is PreferDualStack or RequireDualStack";
        report.invalid(&families.join(","), detail);
    }
}

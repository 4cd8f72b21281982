//! Parsers of options' values.

use std::time::Duration;

use crate::rules::duration;
use crate::rules::syntax::{is_dns_1035_label, is_dns_1123_subdomain};
use crate::tls::Periods;

/// Longest name of a controller: it is the first part of the label `<name>.k8s.atomix.io` of its EndpointSlices, and a
/// label's value has at most 63 characters.
const MAX_CONTROLLER_NAME: usize = 63 - ".k8s.atomix.io".len();
/// Longest name of a namespace.
const MAX_NAMESPACE: usize = 63;
/// Longest drain; a pod's grace period ends it earlier by default.
const MAX_DRAIN: Duration = Duration::from_secs(300);

pub(super) fn controller_name(text: &str) -> Result<String, String> {
    if text.len() <= MAX_CONTROLLER_NAME && is_dns_1035_label(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be a DNS-1035 label of at most {MAX_CONTROLLER_NAME} characters, because it names a Service: lower case letters, digits and '-', starting with a letter, ending with a letter or digit"
    ))
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    if text.len() <= MAX_NAMESPACE && !text.contains('.') && is_dns_1123_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("must be the name of a namespace, a DNS-1123 label: at most 63 lower case letters, digits and '-', starting and ending with a letter or digit".to_owned())
}

pub(super) fn secret(text: &str) -> Result<String, String> {
    if is_dns_1123_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("must be the name of a Secret: lower case letters, digits, '-' and '.'".to_owned())
}

/// A domain without leading and trailing dots: it becomes the end of names.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let domain = text.trim_matches('.');
    if is_dns_1123_subdomain(domain) {
        return Ok(domain.to_owned());
    }
    Err("must be a DNS domain such as cluster.local: lower case letters, digits, '-' and '.'".to_owned())
}

pub(super) fn lifetime<const SHORTEST: u64>(text: &str) -> Result<Duration, String> {
    let within = duration::parse_std(text)
        .filter(|lifetime| (SHORTEST..=Periods::LONGEST.as_secs()).contains(&lifetime.as_secs()));
    within.ok_or_else(|| format!("must be a duration of at least {SHORTEST}s and at most 87600h, such as 168h or 30m"))
}

pub(super) fn hold_down(text: &str) -> Result<Duration, String> {
    let within = duration::parse_std(text)
        .filter(|hold_down| (Periods::SHORTEST_HOLD_DOWN..=Periods::LONGEST_HOLD_DOWN).contains(hold_down));
    within.ok_or_else(|| "must be a duration of at least 200ms and at most 24h, such as 1m".to_owned())
}

pub(super) fn drain(text: &str) -> Result<Duration, String> {
    let within = duration::parse_std(text).filter(|drain| *drain <= MAX_DRAIN);
    within.ok_or_else(|| "must be a duration of at most 5m, such as 5s or 500ms".to_owned())
}

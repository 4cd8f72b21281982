//! Metrics and log lines of answered reviews.

use super::metrics::{AdmissionLabels, AdmissionMetrics};
use super::response::{Response, shorten};
use super::review::Request;
use super::{Target, Webhook};

/// Longest value in the log that a client may have chosen, in characters.
pub(super) const MAX_LOGGED: usize = 253;

/// Counts, logs and renders an answer.
pub(super) fn answer(
    metrics: &AdmissionMetrics,
    webhook: Webhook,
    request: &Request,
    response: Response,
) -> Result<Vec<u8>, serde_json::Error> {
    // A webhook that only warns allows what it cannot judge.
    let response = if webhook.refuses() || response.allowed { response } else { Response::allow(&response.uid) };
    let labels = AdmissionLabels {
        webhook: webhook.as_str(),
        kind: Target::of(request).as_str(),
        operation: request.operation.as_str(),
        outcome: outcome(&response),
    };
    metrics.requests.get_or_create(&labels).inc();
    log(webhook, request, &response);
    response.render()
}

fn outcome(response: &Response) -> &'static str {
    match response.status.as_deref().map(|status| (status.code, status.reason.as_str())) {
        _ if response.is_patched() => "patched",
        None => "allowed",
        Some((429, _)) => "throttled",
        Some((500.., _) | (_, "BadRequest")) => "error",
        Some(_) => "denied",
    }
}

/// One line per decision. Names, never values: they may be secret. Quoted and cut: the client may have chosen them.
fn log(webhook: Webhook, request: &Request, response: &Response) {
    let (webhook, operation, cut) = (webhook.as_str(), request.operation.as_str(), |text| shorten(text, MAX_LOGGED));
    let (uid, kind, user) = (cut(&response.uid), cut(&request.kind.kind), cut(&request.user_info.username));
    let (namespace, name) = (cut(&request.namespace), cut(request.display_name()));
    if let Some(status) = &response.status {
        let (code, reason) = (status.code, &status.reason);
        tracing::info!(
            ?uid,
            webhook,
            ?kind,
            ?namespace,
            ?name,
            operation,
            ?user,
            allowed = false,
            code,
            reason,
            "denied"
        );
    } else {
        let patched = response.is_patched();
        tracing::debug!(?uid, webhook, ?kind, ?namespace, ?name, operation, ?user, allowed = true, patched, "allowed");
    }
}

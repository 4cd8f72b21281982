//! Reports of the CA in use and of its Secret: metrics, events and the log.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::authority::{Authority, Phase};
use super::keeper::{Keeper, REVOKE, ROTATE, Seen};
use super::rotation::{Cause, Change};
use super::stored::Diagnosis;
use crate::events::Severity;
use crate::tls::metrics::PhaseLabel;

impl Keeper {
    /// Uses `authority` from now on: for leaves, and for the bundles.
    pub(super) fn hold(&self, authority: Authority) {
        let phase = match authority.phase {
            Phase::Stable => "stable",
            Phase::Published { .. } => "published",
            Phase::Promoted { .. } => "promoted",
        };
        for label in ["stable", "published", "promoted"] {
            self.context
                .metrics
                .ca_phase
                .get_or_create_owned(&PhaseLabel { phase: label })
                .set(i64::from(label == phase));
        }
        let not_after = self.context.metrics.set_not_after("ca", authority.current.not_after);
        tracing::info!(generation = authority.current.generation, phase, not_after, "using the webhooks' CA");
        self.authority.send_replace(Some(Arc::new(authority)));
    }

    /// Reports what was written to the Secret, and why.
    pub(super) fn report(&self, change: Change, found: &Diagnosis, secret: &Secret, authority: &Authority) {
        self.context.metrics.add_changes(change.as_str(), 1);
        let generation = authority.last_generation();
        let reason = |key| secret.annotations().get(key).map(String::as_str).unwrap_or_default();
        let damage = found.damage.map_or_else(|| "an older or expired CA".to_owned(), |damage| damage.to_string());
        let (severity, event, note) = match change {
            Change::Back | Change::Salvage => (
                Severity::Warning,
                "CARestored",
                format!("the Secret held {damage}: CA {generation} was written to it"),
            ),
            Change::New(1) => (Severity::Normal, "CACreated", "the webhooks' first CA was made".to_owned()),
            Change::New(_) => {
                (Severity::Warning, "CACreated", format!("the Secret held {damage}: new CA {generation}"))
            }
            Change::Publish(cause) => {
                let why = match cause {
                    Cause::Age => "two thirds of its life are over",
                    Cause::Lifetime => "it would live longer than it is to",
                    Cause::Names => "it is for other names",
                    Cause::Request => reason(ROTATE),
                };
                (Severity::Normal, "CARotationBegun", format!("CA {generation} follows: {why}"))
            }
            Change::Promote => (Severity::Normal, "CAPromoted", format!("CA {generation} signs from now on")),
            Change::Retire => (Severity::Normal, "CARotated", format!("only CA {generation} is trusted from now on")),
            Change::Revoke => {
                (Severity::Warning, "CARevoked", format!("CA {generation} replaces all others: {}", reason(REVOKE)))
            }
        };
        tracing::info!(
            secret = self.context.names.secret(),
            generation,
            change = change.as_str(),
            note,
            "wrote the webhooks' CA"
        );
        self.events.publish(severity, event, note);
    }

    pub(super) fn report_presence(&self, is_there: bool) {
        self.context.metrics.ca_secret_missing.set(i64::from(!is_there));
        let (namespace, secret) = (self.context.names.namespace(), self.context.names.secret());
        let was_missing = matches!(self.seen, Seen::Missing);
        if !is_there && !was_missing {
            let note = format!(
                "the Secret of the webhooks' CA is missing and this controller may not create it; what is in memory stays in use. Put it back, empty: kubectl -n {namespace} create secret generic {secret}"
            );
            tracing::error!(namespace, secret, "{note}");
            self.events.publish(Severity::Warning, "CASecretMissing", note);
        } else if is_there && was_missing {
            tracing::info!(namespace, secret, "the Secret of the webhooks' CA is back");
        }
    }
}

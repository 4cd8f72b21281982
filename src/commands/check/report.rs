//! What was found out, for people and for programs.

use std::fmt;

use serde::Serialize;

/// What one after another has to be right for the API server to get an answer of the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// What the controller's own account may do.
    Rights,
    /// Where the CA, or the certificate, is kept.
    Secret,
    /// What the webhook configurations name, and what stands behind it.
    Service,
    /// What is served.
    Certificate,
    /// What the API server trusts for the mutating webhook.
    MutatingBundle,
    /// What the API server trusts for the validating webhooks.
    ValidatingBundle,
    /// Whether the API server gets an answer.
    Reachability,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rights => "rights",
            Self::Secret => "secret",
            Self::Service => "service",
            Self::Certificate => "certificate",
            Self::MutatingBundle => "mutating-bundle",
            Self::ValidatingBundle => "validating-bundle",
            Self::Reachability => "reachability",
        })
    }
}

/// How a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// Nobody knows: it could not be looked at.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

/// What was found out of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which layer.
    pub layer: Layer,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Everything is as it should be.
    pub fn ok(layer: Layer, message: impl Into<String>) -> Self {
        Self { layer, outcome: Outcome::Ok, message: message.into(), remedy: None }
    }

    /// Something is wrong, and what to do.
    pub fn failed(layer: Layer, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { layer, outcome: Outcome::Failed, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// It could not be looked at.
    pub fn skipped(layer: Layer, message: impl Into<String>) -> Self {
        Self { layer, outcome: Outcome::Skipped, message: message.into(), remedy: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, outcome, message, remedy } = self;
        write!(f, "{outcome:<7}  {layer:<17}  {}", on_one_line(message))?;
        remedy.as_ref().map_or(Ok(()), |remedy| write!(f, ". To do: {remedy}"))
    }
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing is known to be wrong.
    pub ok: bool,
    /// Each layer, in the order in which they depend on each other.
    pub layers: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn of(layers: Vec<Finding>) -> Self {
        Self { ok: layers.iter().all(|finding| finding.outcome != Outcome::Failed), layers }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Messages of the API server may have several lines.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_one_line_and_one_failure_is_enough() {
        let findings = vec![
            Finding::ok(Layer::Secret, "CA 1"),
            Finding::failed(Layer::Certificate, "it has\nexpired", "delete the pod"),
            Finding::skipped(Layer::Reachability, "forbidden"),
        ];
        let report = Report::of(findings);
        assert_eq!(
            report.to_string(),
            "ok       secret             CA 1\n\
             FAILED   certificate        it has expired. To do: delete the pod\n\
             skipped  reachability       forbidden\n"
        );
        assert!(!report.ok);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["layers"][1]["remedy"], "delete the pod");
        assert_eq!((&json["ok"], &json["layers"][2]["outcome"]), (&false.into(), &"skipped".into()));
        assert!(Report::of(vec![Finding::skipped(Layer::Secret, "")]).ok);
    }
}

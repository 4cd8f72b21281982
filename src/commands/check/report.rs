//! The findings, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::text::on_one_line;

/// State of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    Failed,
    /// It could not be observed.
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

/// Why a layer is not known to be right.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is wrong; the remedy is what the user can do.
    Failed { message: String, remedy: String },
    /// It could not be observed.
    Skipped(String),
}

impl Problem {
    pub(super) fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn skipped(message: impl Into<String>) -> Self {
        Self::Skipped(message.into())
    }

    /// The user has no right to read it.
    pub(super) fn forbidden(why: &str) -> Self {
        Self::Skipped(format!("forbidden: {why}"))
    }

    /// The API server did not answer.
    pub(super) fn unanswered(why: &str) -> Self {
        Self::failed(format!("the API server did not answer: {why}"), "see whether kubectl reaches it")
    }
}

/// Result of checking a layer: a description of what is right, or the problem.
pub(super) type Diagnosis = Result<String, Problem>;

/// The state of one layer: something that has to be right for the API server to get an answer of the webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) layer: &'static str,
    pub(super) outcome: Outcome,
    pub(super) message: String,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    fn of(layer: &'static str, diagnosis: Diagnosis) -> Self {
        let (outcome, message, remedy) = match diagnosis {
            Ok(message) => (Outcome::Ok, message, None),
            Err(Problem::Failed { message, remedy }) => (Outcome::Failed, message, Some(remedy)),
            Err(Problem::Skipped(message)) => (Outcome::Skipped, message, None),
        };
        Self { layer, outcome, message, remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, outcome, message, remedy } = self;
        write!(f, "{outcome:<7}  {layer:<17}  {}", on_one_line(message))?;
        remedy.as_ref().map_or(Ok(()), |remedy| write!(f, ". To do: {remedy}"))
    }
}

/// All findings.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing is known to be wrong.
    pub(super) ok: bool,
    /// Each layer, in the order in which they depend on each other.
    pub(super) layers: Vec<Finding>,
}

impl Report {
    pub(super) fn of(layers: impl IntoIterator<Item = (&'static str, Diagnosis)>) -> Self {
        let layers: Vec<_> = layers.into_iter().map(|(layer, diagnosis)| Finding::of(layer, diagnosis)).collect();
        Self { ok: layers.iter().all(|finding| finding.outcome != Outcome::Failed), layers }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_one_line_and_one_failure_is_enough() {
        let report = Report::of([
            ("secret", Ok("CA 1".to_owned())),
            ("certificate", Err(Problem::failed("it has\nexpired", "delete the pod"))),
            ("reachability", Err(Problem::skipped("forbidden"))),
        ]);
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
        assert!(Report::of([("secret", Err(Problem::skipped("")))]).ok);
    }
}

//! The names of the code that users see are explained, and those that the documents use are in the code.

use std::collections::BTreeSet;
use std::fs;

use webhook_tests::binaries::workspace;
use webhook_tests::documents::{document, documents};

use crate::command_line::COMMANDS;
use crate::markdown::{code_spans, rows};
use crate::source::{self, code, literals};

/// Where conditions and events get their reasons.
const REASONS_OF: [&str; 3] = ["src/controller", "src/store", "src/tls"];
/// Words of that form that are Kubernetes' own.
const NOT_REASONS: &[&str] = &[
    "AlwaysAllow",
    "ClusterIP",
    "ConfigMap",
    "ContainersReady",
    "CreateContainerConfigError",
    "CreateContainerError",
    "DisruptionBudget",
    "DoesNotExist",
    "EndpointSlice",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ExternalName",
    "ImageInspectError",
    "ImagePullBackOff",
    "IPv4",
    "IPv6",
    "InternalError",
    "InvalidImageName",
    "NotFound",
    "OnDelete",
    "OnRootMismatch",
    "PartitionSet",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodScheduled",
    "PostStartHookError",
    "PreCreateHookError",
    "PreStartHookError",
    "PreferDualStack",
    "ReadWriteOnce",
    "ReadinessGatesNotReady",
    "RegistryUnavailable",
    "RunContainerError",
    "SchedulingGated",
    "SetDefault",
    "SignatureValidationFailed",
    "SingleStack",
    "StatefulSet",
];
/// Annotations that no user meets.
const INTERNAL: [&str; 1] = ["canary"];
/// Flags of other programs that the documents name.
const OTHER_FLAGS: [&str; 23] = [
    "--admission-control-config-file",
    "--all",
    "--bump-revision",
    "--cascade",
    "--exclude-resources",
    "--feature-gates",
    "--for",
    "--force",
    "--force-conflicts",
    "--from-backup",
    "--grace-period",
    "--mark-compacted",
    "--once",
    "--overwrite",
    "--previous",
    "--recursive",
    "--replicas",
    "--resource",
    "--server-side",
    "--take-ownership",
    "--test",
    "--validate",
    "--verb",
];

fn is_camel_case(word: &str) -> bool {
    let is_word = word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric);
    let capitals = word.chars().filter(|c| c.is_uppercase()).count();
    is_word && capitals >= 2 && capitals < word.len()
}

/// Everything that the documents say, one after the other.
fn everything() -> String {
    documents().into_iter().filter(|document| document.path != "CHANGELOG.md").map(|document| document.text).collect()
}

/// The words of a text that begin like that, as long as they are of letters, digits and a separator.
fn words(text: &str, start: &str, separator: char) -> BTreeSet<String> {
    // It is no part of a longer name.
    let is_whole = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
    let found = text.match_indices(start).filter(|(at, _)| is_whole(*at)).map(|(at, _)| &text[at + start.len()..]);
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != separator).unwrap_or(rest.len());
        rest[..end].trim_end_matches(separator).to_owned()
    };
    found.map(word).filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_reason_is_explained_and_every_one_that_is_explained_exists() {
    let page = document("docs/troubleshooting.md");
    let tables = [rows(&page, "Conditions"), rows(&page, "Events")].concat();
    let explained: BTreeSet<String> = tables.iter().flat_map(|row| code_spans(&row[0])).collect();
    let spans = code_spans(&page);
    let code: String = REASONS_OF.map(code).concat();
    let known: BTreeSet<String> = literals(&code).into_iter().collect();
    let unexplained = known.iter().filter(|word| is_camel_case(word) && !NOT_REASONS.contains(&word.as_str()));
    let unexplained: Vec<_> = unexplained.filter(|word| !explained.contains(*word) && !spans.contains(word)).collect();
    assert!(unexplained.is_empty(), "docs/troubleshooting.md lacks, unless it is no reason: {unexplained:?}");
    let known: BTreeSet<String> = literals(&source::code("src")).into_iter().collect();
    let unknown: Vec<_> = explained.difference(&known).collect();
    assert!(unknown.is_empty(), "the code has no {unknown:?}");
}

/// The metrics that the code registers, without the endings that the text format adds.
fn registered() -> BTreeSet<String> {
    let code = code("src").split_whitespace().collect::<Vec<_>>().join(" ");
    let calls = [".metric(", ".timestamp(", ".durations("];
    let found = calls.iter().flat_map(|call| code.match_indices(call).map(|(at, _)| &code[at + call.len()..]));
    let names = found.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    names.filter(|name| !name.starts_with("example_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_listed_and_every_one_that_is_named_exists() {
    let registered = registered();
    assert!(registered.len() > 20, "{registered:?}");
    let endings = ["", "_total", "_seconds", "_seconds_bucket"];
    let listed: BTreeSet<String> = rows(&document("docs/operations.md"), "Health and metrics")
        .iter()
        .flat_map(|row| words(&row[0], "atomix_", '_'))
        .collect();
    let is = |name: &str, found: &str| endings.iter().any(|ending| format!("{name}{ending}") == found);
    let unlisted: Vec<_> = registered.iter().filter(|name| !listed.iter().any(|found| is(name, found))).collect();
    assert!(unlisted.is_empty(), "docs/operations.md lacks {unlisted:?}");
    let rules = ["certificates.yaml", "controller.yaml", "dashboard.json"]
        .map(|name| fs::read_to_string(workspace().join(format!("deploy/monitoring/{name}"))).expect("rules"));
    let named = words(&(everything() + &rules.concat()), "atomix_", '_');
    // The crate has that name, too.
    let unknown: Vec<_> =
        named.iter().filter(|found| *found != "controller" && !registered.iter().any(|name| is(name, found))).collect();
    assert!(unknown.is_empty(), "the code has no {unknown:?}");
}

#[test]
fn every_annotation_is_explained_and_every_one_that_is_named_exists() {
    let prefix = "k8s.atomix.io/";
    let of_code = words(&code("src"), &format!("\"{prefix}"), '-');
    let of_code: BTreeSet<String> = of_code.into_iter().filter(|name| !INTERNAL.contains(&name.as_str())).collect();
    let named = words(&everything(), prefix, '-');
    let named: BTreeSet<String> = named.into_iter().filter(|name| name != atomix_controller::api::VERSION).collect();
    assert_eq!(of_code, named);
}

#[test]
fn every_flag_is_explained_and_every_one_that_is_named_exists() {
    let flags: BTreeSet<&String> = COMMANDS.values().flatten().filter(|flag| flag.starts_with("--")).collect();
    let spans: Vec<String> = documents().iter().flat_map(|document| code_spans(&document.text)).collect();
    let words = spans.iter().flat_map(|span| span.split([' ', '=', ',', '.', '(', ')', ':', ';']));
    let named: BTreeSet<String> = words
        .filter(|word| word.starts_with("--") && word.len() > 3)
        .map(|word| word.trim_end_matches('-').to_owned())
        .collect();
    let unexplained: Vec<_> = flags
        .iter()
        .filter(|flag| !named.contains(**flag) && !["--help", "--version"].contains(&flag.as_str()))
        .collect();
    assert!(unexplained.is_empty(), "the documents lack {unexplained:?}");
    let unknown: Vec<_> =
        named.iter().filter(|flag| !flags.contains(flag) && !OTHER_FLAGS.contains(&flag.as_str())).collect();
    assert!(unknown.is_empty(), "the program has no {unknown:?}");
}

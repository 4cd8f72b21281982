//! Links lead to pages and headings that exist, and the book has every page.

use std::path::Path;

use webhook_tests::binaries::workspace;
use webhook_tests::documents::{Document, SUMMARY, documents};

use crate::markdown::{anchors, code_spans, links};

/// Folders whose files the documents name.
const FOLDERS: [&str; 10] =
    ["deploy/", "kustomize/", "certs/", "src/", "proto/", "webhook-tests/", "hack/", "docs/", ".ci/", "benches/"];
/// What a command of the documents makes.
const MADE: [&str; 1] = ["kustomize/team-a"];

/// A path without the steps back in it.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// What is wrong with a link of a document, if anything is.
fn wrong(document: &Document, target: &str, all: &[Document]) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let path = if file.is_empty() { document.path.clone() } else { normal(&format!("{folder}/{file}")) };
    if !workspace().join(&path).exists() {
        return Some(format!("{path} does not exist"));
    }
    // The book has its own pages and nothing else.
    if document.path.starts_with("docs/") && !path.starts_with("docs/") {
        return Some("a page of the book can link to its pages only: name the file instead".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let page = all.iter().find(|page| page.path == path)?;
    (!anchors(&page.text).contains(&anchor.to_owned())).then(|| format!("{path} has no heading for #{anchor}"))
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let all = documents();
    let mut problems = Vec::new();
    for document in &all {
        for target in links(&document.text) {
            problems.extend(wrong(document, &target, &all).map(|why| format!("{}: ({target}) {why}", document.path)));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_heading_of_a_page_has_an_anchor_of_its_own() {
    for document in documents() {
        let mut anchors = anchors(&document.text);
        let count = anchors.len();
        anchors.sort();
        anchors.dedup();
        // Changelogs repeat the kinds of change.
        assert!(anchors.len() == count || document.path == "CHANGELOG.md", "{}", document.path);
    }
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let all = documents();
    let summary = all.iter().find(|document| document.path == SUMMARY).expect("a table of contents");
    let mut listed: Vec<String> = links(&summary.text).into_iter().map(|target| format!("docs/{target}")).collect();
    listed.sort();
    let pages = all.iter().map(|document| document.path.clone());
    let pages: Vec<String> = pages.filter(|path| path.starts_with("docs/") && path != SUMMARY).collect();
    assert_eq!(listed, pages);
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let mut problems = Vec::new();
    for document in documents().into_iter().filter(|document| document.path != "CHANGELOG.md") {
        for span in code_spans(&document.text) {
            let names =
                span.split([' ', ',', '=']).filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
            for name in names.filter(|name| !name.contains(['*', '<', '{']) && !MADE.contains(name)) {
                let beside = Path::new(&document.path).with_file_name(name);
                if !workspace().join(name).exists() && !workspace().join(beside).exists() {
                    problems.push(format!("{}: {name}", document.path));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_front_page_is_short() {
    let readme = documents().into_iter().find(|document| document.path == "README.md").expect("a front page");
    assert!(readme.text.lines().count() <= 200);
}

//! The documents of the repository: README, changelog and the book in `docs/`.

use std::fs;

use crate::binaries::workspace;

/// Documents outside of the book.
const BESIDE_THE_BOOK: [&str; 4] = ["README.md", "CHANGELOG.md", "certs/README.md", "webhook-tests/README.md"];
/// The table of contents of the book.
pub const SUMMARY: &str = "docs/SUMMARY.md";

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its path in the repository.
    pub path: String,
    /// What it says, as Markdown.
    pub text: String,
}

/// A fenced block of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The language behind the fence.
    pub language: String,
    /// The text between the fences.
    pub text: String,
}

/// All documents, those of the book by name.
///
/// # Panics
///
/// If one of them cannot be read.
#[must_use]
pub fn documents() -> Vec<Document> {
    let pages = ["docs", "docs/runbooks"].into_iter().flat_map(|folder| {
        fs::read_dir(workspace().join(folder)).expect("the book").filter_map(move |entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            name.strip_suffix(".md").map(|page| format!("{folder}/{page}.md"))
        })
    });
    let mut paths: Vec<String> = BESIDE_THE_BOOK.map(str::to_owned).into_iter().chain(pages).collect();
    paths[BESIDE_THE_BOOK.len()..].sort();
    paths.into_iter().map(|path| Document { text: document(&path), path }).collect()
}

/// The text of one document.
///
/// # Panics
///
/// If it cannot be read.
#[must_use]
pub fn document(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a text.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_open = !is_open;
            if is_open {
                blocks.push(Block { language: language.to_owned(), text: String::new() });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| is_open) {
            block.text += line;
            block.text += "\n";
        }
    }
    blocks
}

/// The commands that a document shows in the section of that heading, block by
/// block.
///
/// # Panics
///
/// If there is no such section.
#[must_use]
pub fn commands_of(path: &str, heading: &str) -> Vec<String> {
    let text = document(path);
    let section = text.split("\n## ").flat_map(|section| section.split("\n### "));
    let mut section = section.filter(|section| section.lines().next() == Some(heading));
    let section = section.next().unwrap_or_else(|| panic!("{path} has no section {heading:?}"));
    blocks(section).into_iter().filter(|block| block.language == "sh").map(|block| block.text).collect()
}

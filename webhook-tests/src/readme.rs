use std::fs;

use crate::binaries::workspace;

/// The commands that the README shows in the section of that heading, block by
/// block.
///
/// # Panics
///
/// If there is no such section.
#[must_use]
pub fn readme_commands(heading: &str) -> Vec<String> {
    commands_of("README.md", heading)
}

/// As [`readme_commands`], of another document in the repository.
///
/// # Panics
///
/// If there is no such section.
#[must_use]
pub fn commands_of(document: &str, heading: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(document)).expect("a document");
    let section = text.split("\n## ").flat_map(|section| section.split("\n### "));
    let mut section = section.filter(|section| section.lines().next() == Some(heading));
    let section = section.next().unwrap_or_else(|| panic!("{document} has no section {heading:?}"));
    let blocks = section.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

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
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a README");
    let section = readme.split("\n## ").flat_map(|section| section.split("\n### "));
    let mut section = section.filter(|section| section.lines().next() == Some(heading));
    let section = section.next().unwrap_or_else(|| panic!("README.md has no section {heading:?}"));
    let blocks = section.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

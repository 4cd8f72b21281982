//! The source code of the controller, as text.

use std::fs;
use std::path::Path;

use webhook_tests::binaries::workspace;

/// The code below a folder, without comments and tests.
pub fn code(folder: &str) -> String {
    let mut text = String::new();
    read(&workspace().join(folder), &mut text);
    text
}

fn read(path: &Path, text: &mut String) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            read(&entry.expect("an entry").path(), text);
        }
        return;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_code = path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests.rs");
    if !is_code || path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "model_tests") {
        return;
    }
    let file = fs::read_to_string(path).expect("a file");
    let file = file.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    for line in file.lines().filter(|line| !line.trim_start().starts_with("//")) {
        *text += line;
        *text += "\n";
    }
}

/// The texts between double quotes, joined where a line break is escaped.
pub fn literals(code: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut current: Option<String> = None;
    let mut characters = code.chars().peekable();
    while let Some(c) = characters.next() {
        match (&mut current, c) {
            (None, '\'') => skip_character(&mut characters),
            (None, '"') => current = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => literals.extend(current.take()),
            (Some(text), '\\') => match characters.next() {
                Some('\n') => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            (Some(text), other) => text.push(other),
        }
    }
    literals
}

/// Skips a literal of one character; a lifetime is none.
fn skip_character(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut ahead = characters.clone();
    let is_escaped = ahead.next() == Some('\\');
    let closes = if is_escaped { ahead.nth(1) } else { ahead.next() };
    if closes == Some('\'') {
        characters.nth(if is_escaped { 2 } else { 1 });
    }
}

#[test]
fn literals_are_read_over_escaped_line_breaks_and_characters() {
    let code = "let a: &'static str = \"one \\\n    two\"; let b = '\"'; let c = '\\\\'; let d = \"\\\"x\\\"\";";
    assert_eq!(literals(code), ["one two", "\"x\""]);
}

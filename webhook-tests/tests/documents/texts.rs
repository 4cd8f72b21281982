//! Texts by which the documents let a user find help are those of the code.

use webhook_tests::documents::document;

use crate::markdown::{code_spans, rows};
use crate::source::{code, literals};

/// Sections whose tables quote texts, and in which column.
const QUOTED: [(&str, usize); 3] = [("Answers over gRPC", 1), ("A controller that is not ready", 0), ("Log lines", 0)];

#[test]
fn every_text_that_is_quoted_is_one_of_the_code() {
    let page = document("docs/troubleshooting.md");
    let texts = literals(&code("src"));
    let mut problems = Vec::new();
    let of_kubectl =
        rows(&page, "Answers of kubectl").into_iter().skip_while(|row| row[0] != "other answers of the webhooks");
    let of_tables = QUOTED.iter().flat_map(|(heading, column)| {
        rows(&page, heading).into_iter().map(|row| row.get(*column).cloned().unwrap_or_default())
    });
    for cell in of_tables.chain(of_kubectl.map(|row| row[0].clone())) {
        for quoted in code_spans(&cell) {
            // Values are left out.
            let parts = quoted.split("...").map(str::trim).filter(|part| part.len() > 2);
            for part in parts.filter(|part| !texts.iter().any(|text| text.contains(part))) {
                problems.push(format!("{quoted}: {part}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// What stands before the rule in a message, and what stands between.
const KINDS: [&str; 4] = ["Invalid value: ", "Forbidden: ", "Required value: ", "Too long: "];

/// Rules that the code makes of a list.
const LISTS: [&str; 1] = ["one of raft, backup, log"];

/// The rule of a message such as `size: Invalid value: 22: must be less than or equal to 21`, if it has one.
fn rule(message: &str) -> Option<&str> {
    let (kind, rest) = KINDS.iter().find_map(|kind| Some((kind, message.split_once(kind)?.1)))?;
    let value_ends = if rest.starts_with('"') { "\": " } else { ": " };
    let rule = if *kind == KINDS[0] { rest.split_once(value_ends)?.1 } else { rest };
    Some(rule.trim_end_matches("...").trim_end_matches(": "))
}

/// Whether a text of the code, with values in the places of its braces, is in `rule`, which the documents may cut off.
fn makes(text: &str, rule: &str) -> bool {
    let mut rest = rule;
    let mut known = 0;
    for (at, part) in text.split('{').enumerate() {
        let part = if at == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) };
        if let Some(found) = rest.find(part) {
            rest = &rest[found + part.len()..];
            known += part.len();
        } else {
            return part.starts_with(rest) && known + rest.len() >= 12;
        }
    }
    known >= 12 || known * 2 >= rule.len()
}

#[test]
fn every_rule_that_rejects_is_one_of_the_code() {
    let texts = [code("src/rules"), code("src/admission")].concat();
    let texts = literals(&texts);
    let table = rows(&document("docs/rejections.md"), "What is rejected");
    let messages = table.iter().flat_map(|row| code_spans(&row[0]));
    let rules: Vec<String> = messages.filter_map(|message| rule(&message).map(str::to_owned)).collect();
    assert!(rules.len() > 25, "{rules:#?}");
    let rules = rules.iter().filter(|rule| !LISTS.contains(&rule.as_str()));
    let unknown: Vec<_> = rules.filter(|rule| !texts.iter().any(|text| makes(text, rule))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn values_take_the_places_of_braces() {
    assert!(makes("must be at most {longest}h, or else", "must be at most 12h, or else"));
    assert!(!makes("must be at most {longest}h, or else", "must be at least 12h, or else"));
    assert_eq!(rule("a: Invalid value: \"b\": must not be"), Some("must not be"));
}

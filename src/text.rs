//! Texts of bounded length, and on one line.

/// A text of at most `most` bytes, at least 3, with dots in the place of the rest.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The first `most` of some names, and how many more there are: `a, b and 3 more`.
pub(crate) fn listed(mut names: Vec<String>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    names.truncate(most);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

/// A text of several lines on one: messages of the API server may have several.
pub(crate) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let note = shortened("é".repeat(600), 1024);
        assert!(note.len() <= 1024 && note.ends_with("é..."), "{}", note.len());
        assert_eq!(shortened("short".to_owned(), 1024), "short");
    }

    #[test]
    fn long_lists_say_how_many_more_there_are() {
        let names = |count: usize| ["a", "b", "c", "d"][..count].iter().map(ToString::to_string).collect();
        let lists = [0, 1, 2, 3, 4].map(|count| listed(names(count), 2));
        assert_eq!(lists, ["", "a", "a, b", "a, b and 1 more", "a, b and 2 more"]);
    }
}

//! Texts that have to fit somewhere.

/// A text of at most `most` bytes, with dots in the place of what is left out. `most` is at least 3.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
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
}

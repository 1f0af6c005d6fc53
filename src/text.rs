//! Validation of topics and texts.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::error::{ApiError, Result};

/// The most characters that a discussion's topic may have.
pub(crate) const TOPIC_CHARACTERS: usize = 200;
/// The most characters that the text of a discussion or a comment may have.
pub(crate) const TEXT_CHARACTERS: usize = 50_000;

/// Validates a topic and returns it trimmed: 1 to [`TOPIC_CHARACTERS`] characters on one line. 422 for the field `topic` if it is
/// not valid.
pub(crate) fn topic(value: &str) -> Result<String> {
    let topic = validate("topic", value, TOPIC_CHARACTERS)?;
    let problem = topic.chars().find_map(|letter| match letter {
        // These would change the order in which the topic, and the text around it in a list, is displayed.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("has a character that overrides the direction of text")
        }
        '\u{2028}' | '\u{2029}' => Some("has more than one line"),
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' => Some("has more than one line"),
        _ if letter.is_control() => Some("has a control character"),
        _ => None,
    });
    match problem {
        Some(problem) => Err(ApiError::invalid_field("topic", problem)),
        None => Ok(topic),
    }
}

/// Validates the text of a discussion or comment and returns it trimmed: 1 to [`TEXT_CHARACTERS`] characters. 422 for the field
/// `text` if it is not valid.
pub(crate) fn text(value: &str) -> Result<String> {
    validate("text", value, TEXT_CHARACTERS)
}

fn validate(field: &str, value: &str, limit: usize) -> Result<String> {
    let trimmed = value.trim();
    let count = trimmed.chars().count();
    let problem = if trimmed.is_empty() {
        "is empty".to_owned()
    } else if trimmed.contains('\0') {
        // PostgreSQL's type text cannot store it.
        "has a NUL character".to_owned()
    } else if count > limit {
        format!("has {count} characters; the limit is {limit}")
    } else if !trimmed.chars().any(is_visible) {
        "has no visible character".to_owned()
    } else {
        return Ok(trimmed.to_owned());
    };
    Err(ApiError::invalid_field(field, problem))
}

/// Whether a character is visible on its own. Spaces, joiners, variation selectors and other format characters are not. Marks are
/// not either, because they belong to another character.
fn is_visible(letter: char) -> bool {
    use GeneralCategory as G;
    match letter.general_category() {
        G::Control | G::Format | G::Surrogate | G::Unassigned => false,
        G::SpaceSeparator | G::LineSeparator | G::ParagraphSeparator => false,
        G::NonspacingMark | G::EnclosingMark | G::SpacingMark => false,
        // These count as letters and symbols but are blank: the Hangul fillers, and a Braille cell without dots.
        _ => !matches!(letter, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' | '\u{1d159}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn texts_are_trimmed_and_counted_in_characters() {
        assert_eq!(text("  a b ").unwrap(), "a b");
        assert_eq!(topic(&"ü".repeat(200)).unwrap().chars().count(), 200);
        for bad in ["", " \n\t ", "a\0b", &"x".repeat(50_001)] {
            assert_eq!(text(bad).unwrap_err().code(), ErrorCode::InvalidFields);
        }
        assert!(topic(&"x".repeat(201)).is_err());
    }

    #[test]
    fn something_must_be_visible() {
        let blank = [
            "\u{200b}",
            "\u{3164}",
            "\u{2800}",
            "\u{feff}",
            "\u{ad}",
            "\u{200d}",
            "\u{2060}",
            "\u{180e}",
            "\u{115f}\u{1160}",
            "\u{ffa0}",
            "\u{fe0f}",
            "\u{e0100}",
            "\u{e0041}",
            "\u{202e}",
            "\u{34f}",
            "\u{61c}",
            "\u{17b4}",
            "\u{301}",
            "\u{1}",
            "\u{85}",
            "\u{2028}",
            "\u{fff9}",
            "\u{378}",
            "\u{200b} \u{3164}\n\u{2800}",
            "\u{1d159}",
            "\u{20dd}",
            "\u{206a}",
        ];
        for blank in blank {
            assert!(text(blank).is_err() && topic(blank).is_err(), "{blank:?}");
        }
        // Joiners and variation selectors inside visible text stay.
        for real in ["👩‍🔬", "❤️", "می‌خواهم", "क्‍ष", "1", "-", "…", "\u{e000}", "e\u{301}", "ㅋㅋ", "\u{feff}a", "⠃"]
        {
            assert_eq!(text(real).unwrap(), real);
            assert_eq!(topic(real).unwrap(), real);
        }
    }

    #[test]
    fn a_topic_is_one_line_in_one_direction() {
        for bad in
            ["a\nb", "a\r\nb", "a\u{2028}b", "a\u{85}b", "a\tb", "a\u{7f}b", "a\u{202e}b", "a\u{2066}b", "a\u{b}b"]
        {
            assert!(topic(bad).is_err(), "{bad:?}");
            assert!(text(bad).is_ok(), "{bad:?}");
        }
        for good in ["عنوان", "Ein Titel", "\u{200e}mixed עברית\u{200f}"] {
            assert!(topic(good).is_ok(), "{good:?}");
        }
    }
}

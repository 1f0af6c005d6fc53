//! Finds the handles that a text may mention.
//!
//! Only what people read as text counts: not code, formulas, raw HTML, the descriptions of images, and addresses. Who is called by a handle
//! is for the database to say ([`super::store`]).

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The most places of a text that may mention somebody. It bounds what the database is asked.
const MAX_PLACES: usize = 50;
/// The most places that are looked at, repetitions included.
const MAX_LOOKED_AT: usize = 1_000;
/// The most characters of a handle.
pub(super) const MAX_HANDLE: usize = 150;
/// The most handles that a place may mean.
const MAX_PREFIXES: usize = 8;
/// Stands for what is no text. It is no part of a handle, and no letter before one.
const OBJECT: char = '\u{fffc}';

/// The places of a text that may mention somebody, without repetitions, with the handles that each may mean, the longest first.
pub(super) fn places(text: &str) -> Vec<Vec<String>> {
    let mut places: Vec<Vec<String>> = Vec::new();
    if !text.contains('@') {
        return places;
    }
    let visible = composed(&visible(text));
    let mut looked_at = 0;
    for word in visible.split_whitespace() {
        // What follows is an address.
        let address = ["://", "www."].iter().filter_map(|start| word.find(start)).min().unwrap_or(word.len());
        for (at, _) in word[..address].match_indices('@') {
            let after = &word[at + 1..];
            // A name may begin with marks.
            let first = after.chars().take(MAX_HANDLE).find(|letter| !is_mark(*letter));
            let is_in_word = word[..at].ends_with(|letter| is_letter(letter) && !is_unspaced(letter));
            if is_in_word || after.starts_with('@') || !first.is_some_and(char::is_alphanumeric) {
                continue;
            }
            let handles = handles(after);
            if !handles.is_empty() && !places.contains(&handles) {
                places.push(handles);
            }
            looked_at += 1;
            if places.len() == MAX_PLACES || looked_at == MAX_LOOKED_AT {
                return places;
            }
        }
    }
    places
}

/// A text in the form that names have: `e` and an accent after it are one character (NFC).
pub(super) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// What people read of a Markdown text. Blocks and lines are divided by spaces.
fn visible(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_MATH;
    let mut visible = String::with_capacity(text.len());
    let mut hidden = 0_usize;
    let mut is_in_address = false;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::Image { .. } | Tag::HtmlBlock) => {
                hidden += 1;
                visible.push(OBJECT);
            }
            Event::End(TagEnd::CodeBlock | TagEnd::Image | TagEnd::HtmlBlock) => hidden = hidden.saturating_sub(1),
            Event::Start(Tag::Link { link_type: LinkType::Autolink | LinkType::Email, .. }) => is_in_address = true,
            Event::End(TagEnd::Link) => is_in_address = false,
            Event::Text(part) if hidden == 0 && !is_in_address => visible.push_str(&part),
            Event::Code(_) | Event::InlineMath(_) | Event::DisplayMath(_) | Event::InlineHtml(_) => {
                visible.push(OBJECT)
            }
            Event::FootnoteReference(_) => visible.push(OBJECT),
            Event::SoftBreak | Event::HardBreak | Event::Rule => visible.push('\n'),
            // What is inside of a word: the word goes on.
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. })
            | Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough) => {}
            Event::Start(_) | Event::End(_) => visible.push('\n'),
            Event::Text(_) | Event::Html(_) | Event::TaskListMarker(_) => {}
        }
    }
    visible
}

/// The handles that the beginning of `after`, which follows an `@`, may mean: all of it, and each shorter part at whose end a word or
/// an address may end. A handle with `_` or `+` is one word. Where words have no spaces between them, a name may end at each letter. Of
/// the parts that end so, the shortest count, as such names are short.
fn handles(after: &str) -> Vec<String> {
    let is_part = |letter: char| is_letter(letter) || is_mark(letter);
    // One more shows where the longest handle ends.
    let letters: Vec<(usize, char)> =
        after.char_indices().take_while(|(_, letter)| is_part(*letter)).take(MAX_HANDLE + 1).collect();
    let mut handles: Vec<String> = Vec::new();
    if let Some((at, letter)) = letters.last().filter(|_| letters.len() <= MAX_HANDLE) {
        let all = &after[..at + letter.len_utf8()];
        add(&mut handles, all);
        add_without_sentence(&mut handles, all);
    }
    for pair in letters.windows(2).rev() {
        let [(_, before), (at, letter)] = pair else { continue };
        if matches!(letter, '.' | '@' | '-') || is_between_scripts(*before, *letter) {
            add_without_sentence(&mut handles, &after[..*at]);
        }
    }
    let unspaced = letters.iter().take_while(|(_, letter)| is_unspaced(*letter)).count();
    let next = letters.iter().take(unspaced + 1).skip(1);
    let ends = next.filter(|(_, letter)| !is_combining(*letter)).map(|(at, _)| *at);
    let ends: Vec<usize> = ends.take(MAX_PREFIXES - handles.len()).collect();
    for end in ends.into_iter().rev() {
        add(&mut handles, &after[..end]);
    }
    handles
}

/// Adds a handle if it is shorter than those before, and they are not too many.
fn add(handles: &mut Vec<String>, handle: &str) {
    let is_shorter = handles.last().is_none_or(|last| handle.len() < last.len());
    if !handle.is_empty() && is_shorter && handles.len() < MAX_PREFIXES {
        handles.push(handle.to_owned());
    }
}

/// Adds what remains of a handle without the marks at its end.
fn add_without_sentence(handles: &mut Vec<String>, handle: &str) {
    add(handles, handle.trim_end_matches(ends_sentence));
    add(handles, handle.trim_end_matches(is_mark));
}

/// Whether one letter is of a script with spaces between words, and the next of one without.
fn is_between_scripts(before: char, letter: char) -> bool {
    is_letter(before) && is_letter(letter) && !is_combining(letter) && is_unspaced(before) != is_unspaced(letter)
}

/// Whether its script has no spaces where a mention begins or ends: Thai, Lao, Myanmar, Khmer, Han, Hiragana and Katakana have none
/// between words, and Hangul has none before a particle.
fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{9fff}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{a9e0}'..='\u{a9ff}'
        | '\u{aa60}'..='\u{aa7f}'
        | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ffdc}'
        | '\u{1aff0}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Whether it is a letter or a digit, or an accent or a vowel of one that stands before it.
fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || is_combining(letter)
}

/// Whether it changes the letter before it. A variation selector or an enclosing mark makes an emoji instead.
fn is_combining(letter: char) -> bool {
    let is_mark = matches!(letter.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark);
    is_mark && !matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a handle may have this character, which is no letter and no digit.
fn is_mark(letter: char) -> bool {
    matches!(letter, '_' | '.' | '+' | '-' | '@')
}

/// Whether a mark at the end may be that of the sentence. A name may end with `_`, and a sentence does not.
fn ends_sentence(letter: char) -> bool {
    is_mark(letter) && letter != '_'
}

/// Whether a handle may be a shorter one with a mark of the sentence.
pub(super) fn ends_like_a_sentence(handle: &str) -> bool {
    handle.ends_with(ends_sentence)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// The longest handle of each place.
    fn longest(text: &str) -> Vec<String> {
        places(text).into_iter().map(|mut handles| handles.remove(0)).collect()
    }

    #[test]
    fn a_mention_is_in_text_and_nowhere_else() {
        for text in [
            "@ada",
            "Thanks, @ada!",
            "(@ada)",
            "**@ada**: yes",
            "*@ada*",
            "> said @ada",
            "> > - 1. @ada",
            "# @ada",
            "[@ada](https://example.org/@grace)",
            "[see @ada][1]\n\n[1]: /@grace",
            "| a | @ada |\n| - | - |\n| `@grace` | $@grace$ |",
            "~~@ada~~",
            "text[^1]\n\n[^1]: @ada",
            "<b>@ada</b>",
            "`code`@ada",
            "\u{201c}@ada\u{201d}",
            "a / @ada",
            "@ada @ada",
            "@@ada",
            ".@ada",
            "\u{2764}\u{fe0f}@ada",
            "1\u{fe0f}\u{20e3}@ada",
            "@ada\u{2764}\u{fe0f}",
            "谢谢@ada",
            "ありがとう@ada",
            "감사@ada",
            "ขอบคุณ@ada",
            "ครับที่@ada",
            "ຂອບໃຈ@ada",
            "ကျေးဇူး@ada",
            "អរគុណ@ada",
        ] {
            assert_eq!(longest(text), ["ada"], "{text}");
        }
        for text in [
            "",
            "ada",
            "@",
            "@ ada",
            "`@ada`",
            "``` \n@ada\n```",
            "~~~md\n> @ada\n~~~",
            "    @ada",
            "> ```\n> @ada\n> ```",
            ">     @ada",
            "- x\n\n      @ada",
            "<!-- @ada -->",
            "<div title=\"@ada\">\n@ada\n</div>",
            "<i title='@ada'></i>",
            "![@ada](/@ada \"@ada\")",
            "[a](/@ada \"@ada\")",
            "[a]: /@ada '@ada'",
            "<https://example.org/@ada>",
            "<ada@example.org>",
            "https://example.org/@ada",
            "www.example.org/@ada",
            "ada@example.org",
            "é@ada",
            "9@ada",
            "e\u{301}@ada",
            "q\u{303}@ada",
            "\u{915}\u{94d}@ada",
            "@\u{301}ada",
            "谢谢a@ada",
            "д@ada",
            "foo**b**@ada",
            "@@",
            "@.",
            "@_",
            "@-.!",
            "$@ada$",
            "$$\n@ada\n$$",
        ] {
            assert_eq!(longest(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_place_may_mean_several_handles() {
        for (text, expected) in [
            ("@ada.lovelace.", &["ada.lovelace.", "ada.lovelace", "ada"][..]),
            ("@Quiet-Heron-123", &["Quiet-Heron-123", "Quiet-Heron", "Quiet"]),
            ("@ada@uni.edu", &["ada@uni.edu", "ada@uni", "ada"]),
            ("@ada_b_", &["ada_b_", "ada_b"]),
            ("@ada_.b", &["ada_.b", "ada_", "ada"]),
            ("@ada+b.c", &["ada+b.c", "ada+b"]),
            ("@ada_.", &["ada_.", "ada_", "ada"]),
            ("@ada's", &["ada"]),
            ("@_ada", &["_ada"]),
            ("@.ada.", &[".ada.", ".ada"]),
            ("@-ada-b", &["-ada-b", "-ada"]),
            ("@@+ada", &["+ada"]),
            ("@ada............", &["ada............", "ada"]),
            ("@\u{e9}l\u{e9}onore,", &["\u{e9}l\u{e9}onore"]),
            ("@ada谢谢", &["ada谢谢", "ada"]),
            ("@ada谢谢你的帮助我们会再看一下", &["ada谢谢你的帮助我们会再看一下", "ada"]),
            ("@adaさん。", &["adaさん", "ada"]),
            ("@ada.b님-c", &["ada.b님-c", "ada.b님", "ada.b", "ada"]),
            ("@adaครับ", &["adaครับ", "ada"]),
            ("请@李明看", &["李明看", "李明", "李"]),
            ("请@李明看data", &["李明看data", "李明看", "李明", "李"]),
            ("@李明_看", &["李明_看", "李明", "李"]),
            ("@ที่นี", &["ที่นี", "ที่"]),
            ("@zoe\u{308}", &["zo\u{eb}"]),
            ("@**zoe**\u{308}", &["zo\u{eb}"]),
            ("@q\u{303}.ada", &["q\u{303}.ada", "q\u{303}"]),
            ("@\u{915}\u{94d}\u{92f}\u{93e}!", &["\u{915}\u{94d}\u{92f}\u{93e}"]),
        ] {
            assert_eq!(places(text), [expected], "{text}");
        }
        assert_eq!(places("@a-b-c-d-e-f-g-h-i-j")[0].len(), MAX_PREFIXES);
        assert_eq!(places(&format!("@{}", "a".repeat(MAX_HANDLE + 1))), Vec::<Vec<String>>::new());
        assert_eq!(places(&format!("@ada.{}", "a".repeat(MAX_HANDLE))), [["ada"]]);
        assert_eq!(places(&format!("@{}", "\u{e9}".repeat(MAX_HANDLE))), [["\u{e9}".repeat(MAX_HANDLE)]]);
        let long = places(&format!("@{}", "李".repeat(MAX_HANDLE + 1)));
        assert_eq!((long[0].len(), long[0][0].as_str()), (MAX_PREFIXES, "李".repeat(MAX_PREFIXES).as_str()));
        let many: String = (0..100).map(|number| format!("@user{number} ")).collect();
        assert_eq!(places(&many).len(), MAX_PLACES);
    }

    #[test]
    fn any_text_takes_a_bounded_time() {
        for part in [
            "@",
            "@a",
            "@a.",
            ">",
            "> ",
            "- ",
            "*",
            "**a ",
            "_a_",
            "[",
            "![",
            "[a](",
            "[a][",
            "`",
            "``a`",
            "<",
            "<a ",
            "&",
            "\\",
            "$",
            "$$a",
            "|",
            "|-\n",
            "~~",
            "[^a]: ",
            "[a]: b\n",
            "1. ",
            "<!--",
            "\n",
            "(",
            "@a@",
            "[@a](",
            "<?",
            "<![CDATA[",
            "a\n===\n",
            "\u{301}",
            "\u{301}\u{327}",
            "李",
            "@李",
            "@李a",
            "李@",
            "@-",
            "e\u{301}@",
        ] {
            let text = format!("{}@ada", part.repeat(50_000 / part.len()));
            let start = Instant::now();
            places(&text);
            // Without optimisation it takes up to 0.1 s on a busy machine.
            assert!(start.elapsed() < Duration::from_secs(5), "{part:?}: {:?}", start.elapsed());
        }
    }
}

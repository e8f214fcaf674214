//! Text from mail, made harmless to look at: control characters and those that reorder, hide or
//! imitate other text are shown by number, long text is cut. Escaping for HTML is maud's work.

use std::time::{Duration, SystemTime};

use maud::{Markup, Render, html};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Longest text of one field shown in a message's page, in characters.
pub(super) const FIELD: usize = 4_000;

/// Longest text shown in a line of the list.
pub(super) const LINE: usize = 200;

/// A piece of hostile text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Characters that show themselves.
    Plain(&'a str),
    /// One that does not.
    Hidden(char),
    /// So many characters were cut off here.
    Cut(usize),
}

/// Cuts a text into pieces, of at most so many characters altogether. Line ends and tabs are plain.
pub(super) fn pieces(text: &str, limit: usize) -> Vec<Piece<'_>> {
    let (shown, cut) = match text.char_indices().nth(limit) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let mut pieces = vec![];
    let mut rest = shown;
    while let Some(at) = rest.find(is_hidden) {
        if at > 0 {
            pieces.push(Piece::Plain(&rest[..at]));
        }
        let hidden = rest[at..].chars().next().expect("find gave a character's place");
        pieces.push(Piece::Hidden(hidden));
        rest = &rest[at + hidden.len_utf8()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    if !cut.is_empty() {
        pieces.push(Piece::Cut(cut.chars().count()));
    }
    pieces
}

/// Whether a character does something else than show itself: controls, bidirectional controls
/// (Unicode Standard Annex 9), zero-width and other default-ignorable ones, tags, line separators.
fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// Hostile text of at most so many characters, ready for a page.
pub(super) struct Hostile<'a>(pub(super) &'a str, pub(super) usize);

impl Render for Hostile<'_> {
    fn render(&self) -> Markup {
        html! {
            @for piece in pieces(self.0, self.1) {
                @match piece {
                    Piece::Plain(text) => (text),
                    Piece::Hidden(c) => span.hidden-character { (format!("U+{:04X}", u32::from(c))) },
                    Piece::Cut(more) => span.cut { "… " (grouped(more as u64)) " more characters" },
                }
            }
        }
    }
}

/// Bytes as a person reads them.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let bytes_f = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes_f / 1e3),
        _ => format!("{:.1} MB", bytes_f / 1e6),
    }
}

/// A number with a comma for each thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as a person reads it.
pub(super) fn length(time: Duration) -> String {
    match time.as_millis() {
        0 => format!("{} µs", time.as_micros()),
        ms @ 1..1_000 => format!("{ms} ms"),
        ms @ 1_000..60_000 => match ms % 1_000 / 100 {
            0 => format!("{} s", ms / 1_000),
            tenths => format!("{}.{tenths} s", ms / 1_000),
        },
        ms => match ms % 60_000 / 1_000 {
            0 => format!("{} min", ms / 60_000),
            seconds => format!("{} min {seconds} s", ms / 60_000),
        },
    }
}

/// A point in time: hours to seconds, or to milliseconds; the rest in its tooltip.
pub(super) fn clock(at: SystemTime, milliseconds: bool) -> Markup {
    let at = OffsetDateTime::from(at);
    let (hour, minute, second, milli) = at.to_hms_milli();
    let full = at.format(&Rfc3339).unwrap_or_default();
    html! {
        time datetime=(full) title=(full) {
            (format!("{hour:02}:{minute:02}:{second:02}"))
            @if milliseconds { span.milli { (format!(".{milli:03}")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_hides_is_shown() {
        let cases = [
            ("plain & <b>", "plain &amp; &lt;b&gt;"),
            ("\"quoted\" 'so'", "&quot;quoted&quot; 'so'"),
            ("a\u{202e}b", "a<span class=\"hidden-character\">U+202E</span>b"),
            (
                "\0\u{1b}[31m",
                "<span class=\"hidden-character\">U+0000</span><span class=\"hidden-character\">U+001B</span>[31m",
            ),
            ("\u{e0041}", "<span class=\"hidden-character\">U+E0041</span>"),
            ("line\nend\ttab", "line\nend\ttab"),
            ("éß日本", "éß日本"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(Hostile(text, 100).render().into_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let text = "é".repeat(100_000);
        assert_eq!(pieces(&text, 3), [Piece::Plain("ééé"), Piece::Cut(99_997)]);
        assert_eq!(
            Hostile(&text, 1).render().into_string(),
            "é<span class=\"cut\">… 99,999 more characters</span>"
        );
    }

    #[test]
    fn numbers_are_readable() {
        let sizes = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (40_000_000, "40.0 MB")];
        for (bytes, expected) in sizes {
            assert_eq!(size(bytes), expected);
        }
        let numbers = [(1, "1"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")];
        for (number, expected) in numbers {
            assert_eq!(grouped(number), expected);
        }
        let lengths = [
            (0, "250 µs"),
            (12, "12 ms"),
            (1_250, "1.2 s"),
            (30_000, "30 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
        ];
        for (ms, expected) in lengths {
            let time = Duration::from_millis(ms) + Duration::from_micros(250);
            assert_eq!(length(time), expected);
        }
    }

    proptest! {
        /// Nothing of a text is lost or invented, and nothing that hides is among the plain pieces.
        #[test]
        fn pieces_hold_the_text(text in any::<String>(), limit in 0_usize..40) {
            let mut shown = String::new();
            let mut cut = 0;
            for piece in pieces(&text, limit) {
                match piece {
                    Piece::Plain(text) => {
                        prop_assert!(!text.contains(is_hidden));
                        shown.push_str(text);
                    }
                    Piece::Hidden(c) => shown.push(c),
                    Piece::Cut(more) => cut = more,
                }
            }
            prop_assert!(text.starts_with(&shown));
            prop_assert_eq!(shown.chars().count() + cut, text.chars().count());
        }

        /// No text can open a tag, an attribute or an entity.
        #[test]
        fn nothing_escapes(text in "[<>&\"'a\u{0}\u{202e}]{0,40}") {
            let rendered = Hostile(&text, 100).render().into_string();
            let without = rendered
                .replace("<span class=\"hidden-character\">", "")
                .replace("</span>", "");
            prop_assert!(!without.contains(['<', '>', '"']), "{}", rendered);
        }
    }
}

//! Text that strangers wrote, made fit to show: on one line, of bounded length, and reading as it
//! stands.
//!
//! Not attempted: telling look-alike letters apart. A notice is read next to S3 addresses and error
//! names, not trusted for who a sender is.

use std::borrow::Cow;

use mail_parser::MessageParser;

/// Most characters of an address: 64 in front of the `@`, 255 behind it (RFC 5321 section 4.5.3.1).
const ADDRESS_MAX: usize = 320;

/// One line of at most `limit` characters without control characters and without characters that
/// turn the direction of what follows or can't be seen.
pub fn plain(text: &str, limit: usize) -> String {
    let visible = text.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_control() { ' ' } else { c });
    let mut line = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in visible {
        if c.is_whitespace() {
            gap = length > 0;
            continue;
        }
        let needed = 1 + usize::from(gap);
        if length + needed > limit.saturating_sub(1) {
            line.push('…');
            break;
        }
        if gap {
            line.push(' ');
            gap = false;
        }
        line.push(c);
        length += needed;
    }
    line
}

/// The text of a header value: its encoded-words (RFC 2047) decoded, then [`plain`].
pub fn header_text(value: &str, limit: usize) -> String {
    plain(&decoded(value), limit)
}

/// At most `limit` bytes of `text`, cut at a character.
pub fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// `word` as one word of a POSIX shell (IEEE 1003.1 section 2.2.2), whatever it holds.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let harmless = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b':' | b'=' | b'@' | b'+')
    };
    if !word.is_empty() && word.bytes().all(harmless) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// An address as the last argument of a command: one that begins with a hyphen is no option of it.
pub fn shell_address(address: &str) -> String {
    let address = plain(address, ADDRESS_MAX);
    let options_end = if address.starts_with('-') { "-- " } else { "" };
    format!("{options_end}{}", shell_word(&address))
}

fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains("=?") {
        return Cow::Borrowed(value);
    }
    // A header block of one field: the library decodes encoded-words in fields only. The line can't
    // be left, as nothing in it ends a line any more.
    let one_line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    MessageParser::new()
        .parse_headers(format!("Subject: {one_line}\r\n\r\n").as_bytes())
        .and_then(|message| message.subject().map(|subject| Cow::Owned(subject.to_owned())))
        .unwrap_or(Cow::Borrowed(value))
}

/// Characters without a glyph that change how their neighbours are shown: bidirectional controls
/// (UAX #9), zero-width ones, the byte order mark, variation selectors and tags. Joiners stay:
/// emoji and several scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_is_one_readable_line() {
        let cases = [
            ("as it is", "Lunch on Friday", "Lunch on Friday"),
            ("line breaks", "a\r\nBcc: x@y.example\n\tb", "a Bcc: x@y.example b"),
            ("controls", "a\0b\u{1b}[31mc\u{7f}\u{85}d", "a b [31mc d"),
            ("line separators", "a\u{2028}b\u{2029}c", "a b c"),
            ("bidirectional", "invoice \u{202e}cod.exe\u{2066}", "invoice cod.exe"),
            ("zero width", "pay\u{200b}pal\u{feff}", "paypal"),
            ("white space around", "  \u{a0}a  b ", "a b"),
            ("other scripts", "Grüße, 你好, שלום, 👩\u{200d}🚀", "Grüße, 你好, שלום, 👩\u{200d}🚀"),
            ("nothing", "", ""),
            ("nothing to see", "\u{200f}\r\n", ""),
        ];
        for (name, text, expected) in cases {
            assert_eq!(plain(text, 100), expected, "{name}");
        }
    }

    #[test]
    fn plain_is_cut_at_a_character() {
        assert_eq!(plain("äöüäöü", 4), "äöü…");
        assert_eq!(plain("ab cdef", 4), "ab…");
        assert_eq!(plain("abc", 4), "abc");
    }

    #[test]
    fn header_text_is_decoded_first() {
        let cases = [
            ("=?utf-8?q?Ren=C3=A9e?= <r@x.example>", "Renée <r@x.example>"),
            ("=?utf-8?b?8J+mgA==?= crab", "🦀 crab"),
            ("=?utf-8?q?a=0D=0ABcc:_x@y.example?=", "a Bcc: x@y.example"),
            ("=?iso-8859-1?q?=FC?= and Zoë", "ü and Zoë"),
            ("a =?broken", "a =?broken"),
            ("=?utf-8?q?=E2=80=AEexe?=", "exe"),
        ];
        for (value, expected) in cases {
            assert_eq!(header_text(value, 100), expected, "{value}");
        }
    }

    #[test]
    fn shell_words() {
        let cases = [
            ("s3://bucket/index/2026/01/02/id.json", "s3://bucket/index/2026/01/02/id.json"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(rm -rf ~)", "'$(rm -rf ~)'"),
            ("it's", r"'it'\''s'"),
            ("a;b|c`d`", "'a;b|c`d`'"),
        ];
        for (word, expected) in cases {
            assert_eq!(shell_word(word), expected, "{word}");
        }
        for (address, expected) in [
            ("ann@out.example", "ann@out.example"),
            ("it's@out.example", r"'it'\''s@out.example'"),
            ("--yes@out.example", "-- --yes@out.example"),
        ] {
            assert_eq!(shell_address(address), expected);
        }
    }

    proptest! {
        #[test]
        fn plain_holds_for_any_text(text: String, limit in 1usize..60) {
            let line = plain(&text, limit);
            prop_assert!(line.chars().count() <= limit);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(plain(&line, limit), line);
        }

        #[test]
        fn header_text_holds_for_any_bytes(bytes: Vec<u8>) {
            let line = header_text(&format!("=?utf-8?b?{}?=", String::from_utf8_lossy(&bytes)), 80);
            prop_assert!(line.chars().count() <= 80);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)));
        }

        #[test]
        fn a_shell_word_is_one_word(word in "[ -~]{0,40}") {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", shell_word(&word)))
                .output()
                .unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}

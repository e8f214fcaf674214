//! Where the header block of a message ends, and its fields (RFC 5322 section 2.2), read with the
//! tolerance mail needs and no more:
//!
//! - Lines end in CRLF or LF; a CR alone is content.
//! - The block ends with the first empty line, or before the first line that is no field, no
//!   continuation and no mbox line: that line belongs to the body, as with Postfix.
//! - `From …` and `>From …` lines of mbox files are no part of any field, wherever they stand: SES
//!   prepends its fields to whatever a broken relay left at the top. `From : …` is a field.
//! - A continuation needs a field to continue; one of nothing but white space means nothing.
//!
//! Nothing is allocated: fields are found again on every walk, which costs less than a list of them.

use memchr::memchr;

use crate::steps;

/// A message's header block, and where its body starts.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBlock<'a> {
    message: &'a [u8],
    /// The lines of the block, without the empty line that ends it.
    lines: &'a [u8],
    /// Offset of the first body byte in the message, behind the empty line if there is one.
    pub body_at: usize,
}

/// One field as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name, as written, without white space before the colon.
    pub name: &'a [u8],
    /// Everything behind the colon up to the last line end: folding included, and mbox lines and
    /// blank continuations that stand in it.
    pub value: &'a [u8],
}

/// Finds the header block.
///
/// ```
/// use ses_forwarder::header::split;
///
/// let message = b"Subject: Hello\nX-Long: a\n b\n\nHi\n";
/// let block = split(message);
/// let names: Vec<_> = block.fields().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
/// assert_eq!(names, ["Subject", "X-Long"]);
/// assert_eq!(&message[block.body_at..], b"Hi\n");
/// ```
pub fn split(message: &[u8]) -> HeaderBlock<'_> {
    let block = |lines, body_at| HeaderBlock { message, lines, body_at };
    let mut at = 0;
    let mut any_field = false;
    while at < message.len() {
        let line = Line::at(message, at);
        match line.kind(any_field) {
            Kind::Empty => return block(&message[..at], line.next),
            Kind::Body => return block(&message[..at], at),
            Kind::Field { .. } => any_field = true,
            Kind::Continuation | Kind::Mbox => {}
        }
        at = line.next;
    }
    block(message, message.len())
}

impl<'a> HeaderBlock<'a> {
    /// The fields in order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { lines: self.lines, at: 0 }
    }

    /// What follows the block.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.message[self.body_at..]
    }

    /// Size of the block in bytes, without the empty line that ends it.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether the message has no header block.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Walks the fields of a block.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    lines: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let mut field = None;
        let mut end = 0;
        while self.at < self.lines.len() {
            let line = Line::at(self.lines, self.at);
            match line.kind(true) {
                Kind::Field { .. } if field.is_some() => break,
                Kind::Field { name, colon } => {
                    field = Some((name, self.at + colon + 1));
                    end = self.at + line.content.len();
                }
                Kind::Continuation => end = self.at + line.content.len(),
                Kind::Mbox | Kind::Empty | Kind::Body => {}
            }
            self.at = line.next;
        }
        field.map(|(name, start)| Field { name, value: &self.lines[start..end] })
    }
}

impl<'a> Field<'a> {
    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The lines of the value without line ends, mbox lines and blank continuations.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let value = self.value;
        let mut at = Some(0);
        std::iter::from_fn(move || {
            loop {
                let start = at?;
                let line = Line::at(value, start);
                at = (line.next > start + line.content.len()).then_some(line.next);
                let continues = line.content.first().is_some_and(|&byte| is_space(byte));
                if start == 0 || (continues && !is_blank(line.content)) {
                    return Some(line.content);
                }
            }
        })
    }
}

/// White space inside a line (RFC 5234 WSP).
pub(super) fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether a text is nothing but white space.
pub(super) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|&byte| is_space(byte))
}

/// A line of the message.
struct Line<'a> {
    /// Without its end.
    content: &'a [u8],
    /// Offset of the next line.
    next: usize,
}

/// What a line is in a header block.
enum Kind<'a> {
    Field { name: &'a [u8], colon: usize },
    Continuation,
    Mbox,
    Empty,
    Body,
}

impl<'a> Line<'a> {
    fn at(text: &'a [u8], start: usize) -> Line<'a> {
        let rest = &text[start..];
        let Some(line_feed) = memchr(b'\n', rest) else {
            steps::count(rest.len());
            return Line { content: rest, next: text.len() };
        };
        steps::count(line_feed);
        let content = &rest[..line_feed];
        Line { content: content.strip_suffix(b"\r").unwrap_or(content), next: start + line_feed + 1 }
    }

    fn kind(&self, after_field: bool) -> Kind<'a> {
        let line = self.content;
        match line.first() {
            None => Kind::Empty,
            Some(&first) if is_space(first) => {
                if after_field {
                    Kind::Continuation
                } else {
                    Kind::Body
                }
            }
            Some(_) => match field_name(line) {
                Some((name, colon)) => Kind::Field { name, colon },
                None if line.starts_with(b"From ") || line.starts_with(b">From ") => Kind::Mbox,
                None => Kind::Body,
            },
        }
    }
}

/// The name of a field and the offset of its colon, if the line starts one: printable ASCII
/// (RFC 5322 section 3.6.8), then white space that section 4.5 tells us to expect.
fn field_name(line: &[u8]) -> Option<(&[u8], usize)> {
    let name_end = line.iter().position(|&byte| !IN_NAME[usize::from(byte)])?;
    let colon = name_end + line[name_end..].iter().position(|&byte| !is_space(byte))?;
    (name_end > 0 && line[colon] == b':').then_some((&line[..name_end], colon))
}

/// The octets that a field name may hold, by value.
static IN_NAME: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        allowed[byte as usize] = byte != b':';
        byte += 1;
    }
    allowed
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields as `name=lines joined by |`, and the body.
    fn read(message: &str) -> (Vec<String>, String) {
        let block = split(message.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = block.fields().map(|field| {
            format!("{}={}", text(field.name), field.lines().map(text).collect::<Vec<_>>().join("|"))
        });
        (fields.collect(), message[block.body_at..].to_owned())
    }

    #[test]
    fn block_ends_where_it_should() {
        for (case, message, fields, body) in [
            ("CRLF", "A: 1\r\nB: 2\r\n\r\nbody\r\n", &["A= 1", "B= 2"][..], "body\r\n"),
            ("LF", "A: 1\nB: 2\n\nbody\n", &["A= 1", "B= 2"], "body\n"),
            ("mixed line ends", "A: 1\nB: 2\r\n\nbody", &["A= 1", "B= 2"], "body"),
            ("0 bytes", "", &[], ""),
            ("only an empty line", "\r\n", &[], ""),
            ("starts with an empty line", "\r\nA: 1\r\n\r\n", &[], "A: 1\r\n\r\n"),
            ("no end", "A: 1\r\nB: 2", &["A= 1", "B= 2"], ""),
            ("no body", "A: 1\r\n\r\n", &["A= 1"], ""),
            ("empty line is the last", "A: 1\r\n\n", &["A= 1"], ""),
            ("bare CR is content", "A: 1\r2\r\n\r\nb", &["A= 1\r2"], "b"),
            ("CR before the end of the message", "A: 1\r", &["A= 1\r"], ""),
            ("CR CR LF is no empty line", "A: 1\r\r\n\r\r\nb", &["A= 1\r"], "\r\r\nb"),
            (
                "a line that is no field",
                "A: 1\r\nhello\r\nB: 2\r\n\r\nb",
                &["A= 1"],
                "hello\r\nB: 2\r\n\r\nb",
            ),
            ("only a body", "hello\r\nA: 1\r\n", &[], "hello\r\nA: 1\r\n"),
            ("no name", "A: 1\r\n: 2\r\n\r\nb", &["A= 1"], ": 2\r\n\r\nb"),
            ("space in a name", "A: 1\r\nB C: 2\r\n", &["A= 1"], "B C: 2\r\n"),
            ("control in a name", "A: 1\r\nB\0: 2\r\n", &["A= 1"], "B\0: 2\r\n"),
            ("8-bit name", "A: 1\r\nBé: 2\r\n", &["A= 1"], "Bé: 2\r\n"),
            ("odd name", "A: 1\r\n!#$=/: 2\r\n", &["A= 1", "!#$=/= 2"], ""),
            ("space before the colon", "A \t : 1\r\n\r\n", &["A= 1"], ""),
            ("two colons", "A:: 1\r\n\r\n", &["A=: 1"], ""),
            ("empty value", "A:\r\nB:\r\n\r\n", &["A=", "B="], ""),
            ("folded", "A: 1\r\n 2\r\n\t3\r\nB: 4\r\n\r\n", &["A= 1| 2|\t3", "B= 4"], ""),
            ("blank continuations", "A: 1\r\n \r\n 2\r\n\t\r\nB: 3\r\n\r\n", &["A= 1| 2", "B= 3"], ""),
            ("blank continuation at the end", "A: 1\r\n ", &["A= 1"], ""),
            ("starts with a continuation", " 1\r\nA: 2\r\n", &[], " 1\r\nA: 2\r\n"),
            ("starts with a blank continuation", " \r\nA: 2\r\n", &[], " \r\nA: 2\r\n"),
            ("mbox line first", "From a@x Mon\r\nA: 1\r\n\r\nb", &["A= 1"], "b"),
            ("mbox line with a time", "From a@x Mon Jan  1 10:00:00\r\nA: 1\r\n\r\nb", &["A= 1"], "b"),
            ("mbox lines between", "A: 1\nFrom a@x Mon\n>From b@x\nB: 2\n\nb", &["A= 1", "B= 2"], "b"),
            ("mbox line in a field", "A: 1\nFrom a@x Mon\n 2\n\nb", &["A= 1| 2"], "b"),
            ("mbox line last", "A: 1\nFrom a@x Mon\n\nb", &["A= 1"], "b"),
            ("only an mbox line", "From a@x Mon\n\nb", &[], "b"),
            ("continuation of an mbox line", "From a@x Mon\n 2\nA: 1\n", &[], " 2\nA: 1\n"),
            ("From with space before the colon", "From : a@x\n\nb", &["From= a@x"], "b"),
            ("quoted twice", "A: 1\n>>From a@x\n\nb", &["A= 1"], ">>From a@x\n\nb"),
            ("small from", "A: 1\nfrom a@x\n\nb", &["A= 1"], "from a@x\n\nb"),
        ] {
            let (found, rest) = read(message);
            assert_eq!(
                (found.as_slice(), rest.as_str()),
                (&fields.iter().map(ToString::to_string).collect::<Vec<_>>()[..], body),
                "{case}"
            );
        }
    }
}

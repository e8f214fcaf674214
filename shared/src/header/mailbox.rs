//! Lists of mailboxes as headers hold them (RFC 5322 sections 3.4 and 4.4): where each mailbox
//! begins and ends, its display name and its address, and whether SES can read it as it stands.
//!
//! mail-parser reads addresses too, but does not say where they stand, and one mailbox of a To field
//! must be replaced while every other byte stays. This reader accepts whatever mail holds: display
//! names with dots and commas, mailboxes without brackets behind a name, nested and stray brackets, routes,
//! `mailto:`, white space and comments around dots, quotes and comments without an end. What is no address
//! by any of these it calls [`Entry::Junk`], and it never puts an address together of what does not belong
//! together: `<john smith@x.example>` is none.
//!
//! It does not recurse, keeps no list, and its time is linear.

use std::ops::Range;

use super::{
    address_spec::{self, HeaderAddress, MAILBOX_OCTETS, Spec},
    encoded_word,
    text::{is_white, trim, unfold},
    token::{Cursor, Token, push_unquoted},
};

/// What a list holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Mailbox(Mailbox),
    /// A group begins: its name and the colon.
    Group {
        span: Range<usize>,
        name: Range<usize>,
        readable: bool,
    },
    /// A group ends: the semicolon, or nothing where the list ends before.
    GroupEnd {
        span: Range<usize>,
    },
    /// What is no mailbox.
    Junk {
        span: Range<usize>,
        /// Where its first `<` stands.
        opened: Option<usize>,
    },
}

/// One mailbox of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// Without white space around it.
    pub(super) span: Range<usize>,
    /// What stands before the address and may be its display name, comments included.
    pub(super) phrase: Range<usize>,
    pub(super) address: HeaderAddress,
    /// The address as written, without brackets.
    pub(super) written: Range<usize>,
    /// Whether SES can read it as it stands.
    pub(super) readable: bool,
    /// Whether words beside it belong to no mailbox.
    pub(super) loses: bool,
    /// Whether its address is in brackets, and no separator stands before it, but another mailbox's bracket.
    pub(super) continues: bool,
}

/// Walks the entries of a list, in clean text in UTF-8.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    cursor: Cursor<'a>,
    at: usize,
    in_group: bool,
    /// What is left of an element without brackets, which may hold more than one address.
    rest: Range<usize>,
    queued: Option<Entry>,
    /// Whether the next element stands directly behind a mailbox.
    continues: bool,
    /// Whether SES can read what stands between the mailboxes so far.
    pub(super) readable: bool,
}

/// What stands between two separators.
struct Element {
    span: Range<usize>,
    /// Where its first `<` stands.
    opened: Option<usize>,
    /// Where its first `<` or `>` stands.
    bracket: Option<usize>,
    /// Behind its last bracket, if that is a `>`.
    behind: Option<usize>,
    /// The last address in brackets, and the phrase before it.
    angle: Option<(Spec, Range<usize>)>,
    /// Holds more than its mailbox: an address before the last, words behind it.
    loses: bool,
    has_at: bool,
    /// Behind a `mailto:` without brackets.
    begins: usize,
    /// Nothing in it but comments.
    is_comment: bool,
    /// Nothing in it but a phrase, one pair of brackets, comments.
    regular: bool,
    /// The separator that ends it.
    ended_by: Option<Token>,
}

impl<'a> Entries<'a> {
    pub(super) fn of(text: &'a [u8]) -> Entries<'a> {
        Entries {
            cursor: Cursor::over(text),
            at: 0,
            in_group: false,
            rest: 0..0,
            queued: None,
            continues: false,
            readable: true,
        }
    }

    /// The next element; `None` at the end of the list, or before a semicolon that stands alone.
    fn element(&mut self) -> Option<Element> {
        let text = self.cursor.text;
        while self.at < text.len() && (is_white(text[self.at]) || text[self.at] == b',') {
            self.at += 1;
        }
        let start = self.at;
        if start == text.len() || text[start] == b';' {
            return None;
        }
        let mut element = Element {
            span: start..start,
            opened: None,
            bracket: None,
            behind: None,
            angle: None,
            loses: false,
            has_at: false,
            begins: start,
            is_comment: true,
            regular: true,
            ended_by: None,
        };
        // Behind the `<` that is open.
        let mut open: Option<usize> = None;
        // The phrase before the `<` that is open: what stands before the first, or else between two.
        let mut phrase = start..start;
        // Behind the last bracket.
        let mut behind = start;
        let (mut closed, mut may_be_route, mut route) = (false, false, false);
        // What stands behind a bracket that held an address, and whether all was regular up to there.
        let mut behind_address: Option<(usize, bool)> = None;
        let mut at = start;
        while at < text.len() {
            let (token, end) = self.cursor.token(at);
            if closed
                && element.angle.is_some()
                && !matches!(token, Token::White | Token::Comment | Token::Close)
            {
                behind_address.get_or_insert((at, element.regular));
            }
            match token {
                Token::White => {
                    at = end;
                    continue;
                }
                // Another address: the comma between two mailboxes is missing.
                Token::At if let Some((next, regular)) = behind_address => {
                    self.readable = false;
                    self.at = next;
                    self.continues = true;
                    element.span.end = trimmed(text, start..next).end;
                    (element.regular, element.loses) = (regular, false);
                    return Some(element);
                }
                Token::Comma if route && route_goes_on(text, end) => {}
                Token::Comma | Token::Semicolon => {
                    element.ended_by = Some(token);
                    break;
                }
                Token::Colon if open.is_some() => route = false,
                Token::Colon if !element.has_at && element.opened.is_none() => {
                    if text[start..at].eq_ignore_ascii_case(b"mailto") {
                        element.begins = end;
                        element.regular = false;
                    } else {
                        element.ended_by = Some(token);
                        break;
                    }
                }
                Token::Open => {
                    if let Some(from) = open.replace(end) {
                        self.bracketed(&mut element, from..at, &phrase);
                    }
                    element.regular &= element.opened.is_none();
                    element.opened.get_or_insert(at);
                    element.bracket.get_or_insert(at);
                    if phrase.is_empty() {
                        phrase = trimmed(text, behind..at);
                    }
                    behind = end;
                    element.behind = None;
                    (may_be_route, route) = (true, false);
                }
                Token::Close => {
                    element.regular &= open.is_some();
                    element.bracket.get_or_insert(at);
                    if let Some(from) = open.take() {
                        self.bracketed(&mut element, from..at, &phrase);
                    }
                    (closed, route, behind) = (true, false, end);
                    element.behind = Some(end);
                }
                Token::At => {
                    element.has_at = true;
                    route |= may_be_route;
                }
                Token::Encoded => element.regular &= !has_specials(&text[at..end]),
                Token::Other | Token::HalfEncoded | Token::Colon => element.regular = false,
                Token::Comment | Token::Quoted | Token::Atom | Token::Dot | Token::Literal => {}
            }
            if closed && !matches!(token, Token::Open | Token::Close | Token::Comment) {
                element.regular = false;
                element.loses = true;
            }
            element.is_comment &= token == Token::Comment;
            may_be_route &= matches!(token, Token::Open | Token::Comment);
            at = end;
            element.span.end = end;
        }
        if let Some(from) = open {
            element.regular = false;
            self.bracketed(&mut element, from..at, &phrase);
        }
        self.at = at;
        Some(element)
    }

    /// Takes what stands in brackets as the element's address, if it is one: the last counts.
    fn bracketed(&mut self, element: &mut Element, inside: Range<usize>, phrase: &Range<usize>) {
        if let Some(mut spec) = address_spec::read(&mut self.cursor, inside.clone()) {
            spec.strict &= spec.written == inside;
            element.loses |= element.angle.is_some();
            element.angle = Some((spec, phrase.clone()));
        }
    }

    /// The next mailbox of what is left of an element without brackets: a run without white space.
    fn bare(&mut self) -> Option<Mailbox> {
        let phrase = self.rest.start;
        let mut at = phrase;
        while at < self.rest.end {
            let run = at;
            let mut has_at = false;
            while at < self.rest.end {
                let (token, end) = self.cursor.token(at);
                has_at |= token == Token::At;
                if matches!(token, Token::White | Token::Comment | Token::Close) {
                    if at == run {
                        at = end;
                    }
                    break;
                }
                at = end;
            }
            if !has_at {
                continue;
            }
            if let Some(spec) = address_spec::read(&mut self.cursor, run..at) {
                let end = self.behind_comments(at);
                self.rest.start = end;
                return Some(Mailbox {
                    span: phrase..end,
                    phrase: trimmed(self.cursor.text, phrase..run),
                    address: spec.address,
                    written: spec.written,
                    readable: false,
                    loses: false,
                    continues: false,
                });
            }
        }
        self.rest = 0..0;
        None
    }

    /// Behind the comments that follow an address at once: they count for its length.
    fn behind_comments(&mut self, address_end: usize) -> usize {
        let (mut end, mut at) = (address_end, address_end);
        while at < self.rest.end {
            let (token, next) = self.cursor.token(at);
            match token {
                Token::White => {}
                Token::Comment => end = next,
                _ => break,
            }
            at = next;
        }
        end
    }

    /// The mailbox of an element; `phrase` is where its display name may begin.
    fn mailbox(&mut self, element: Element, phrase: Option<usize>, continues: bool) -> Option<Mailbox> {
        let text = self.cursor.text;
        let is_short = element.span.len() <= MAILBOX_OCTETS;
        if let Some((spec, mut name)) = element.angle {
            let readable = element.regular && spec.strict && is_short && phrase.is_none();
            if let Some(phrase) = phrase {
                name.start = phrase;
            }
            let span = phrase.unwrap_or(element.span.start)..element.span.end;
            return Some(Mailbox {
                readable: readable && text[span.clone()].is_ascii(),
                span,
                phrase: trimmed(text, name),
                address: spec.address,
                written: spec.written,
                loses: element.loses,
                continues,
            });
        }
        if !element.has_at {
            return None;
        }
        let bare = element.begins..element.bracket.unwrap_or(element.span.end).max(element.begins);
        if let Some(spec) = address_spec::read(&mut self.cursor, bare) {
            let readable = element.regular && spec.strict && is_short && element.bracket.is_none();
            return Some(Mailbox {
                readable: readable && text[element.span.clone()].is_ascii(),
                phrase: element.span.start..element.span.start,
                span: element.span,
                address: spec.address,
                written: spec.written,
                loses: element.opened.is_some() || element.loses,
                continues: false,
            });
        }
        self.rest = element.begins..element.opened.unwrap_or(element.span.end);
        self.bare().or_else(|| {
            // Behind brackets that hold none; of what stands in them no part is one either.
            self.rest = element.behind?..element.span.end;
            let mailbox = self.bare()?;
            let named_before = mailbox.phrase.is_empty();
            let before = element.span.start..element.opened?.max(element.span.start);
            let phrase = if named_before { trimmed(text, before) } else { mailbox.phrase };
            Some(Mailbox { span: element.span.start..mailbox.span.end, phrase, loses: true, ..mailbox })
        })
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if let Some(entry) = self.queued.take() {
            return Some(entry);
        }
        if let Some(mailbox) = self.bare() {
            return Some(Entry::Mailbox(mailbox));
        }
        // Elements without an address, which a comma may have cut off the name of the next.
        let mut before: Option<Range<usize>> = None;
        loop {
            let continues = std::mem::take(&mut self.continues);
            let Some(element) = self.element() else {
                if let Some(span) = before {
                    return Some(self.junk(span, None));
                }
                let at = self.at;
                let is_end = at == self.cursor.text.len();
                self.at = (at + 1).min(self.cursor.text.len());
                if self.in_group {
                    self.in_group = false;
                    self.readable &= !is_end;
                    return Some(Entry::GroupEnd { span: at..self.at });
                }
                if is_end {
                    return None;
                }
                self.readable = false;
                continue;
            };
            if element.is_comment && element.ended_by != Some(Token::Colon) {
                continue;
            }
            let (span, opened, ended_by) = (element.span.clone(), element.opened, element.ended_by);
            if ended_by == Some(Token::Colon) {
                self.at += 1;
                if element.is_comment {
                    self.readable = false;
                    continue;
                }
                let text = &self.cursor.text[span.clone()];
                let readable = element.regular && text.is_ascii() && text.len() <= MAILBOX_OCTETS;
                self.readable &= readable;
                let entry = if self.in_group {
                    self.junk(span, None)
                } else {
                    self.in_group = true;
                    Entry::Group { span: span.start..self.at, name: span, readable }
                };
                return Some(match before {
                    Some(before) => {
                        self.queued = Some(entry);
                        self.junk(before, None)
                    }
                    None => entry,
                });
            }
            let joins = ended_by == Some(Token::Comma) && !element.has_at && opened.is_none();
            if joins {
                before = Some(before.map_or(span.start, |before| before.start)..span.end);
                continue;
            }
            let in_brackets = element.angle.is_some();
            let phrase = before.as_ref().filter(|_| in_brackets).map(|before| before.start);
            let entry = match self.mailbox(element, phrase, continues) {
                Some(mailbox) => Entry::Mailbox(mailbox),
                None => self.junk(span, opened),
            };
            return Some(match before.filter(|_| !in_brackets) {
                Some(before) => {
                    self.queued = Some(entry);
                    self.junk(before, None)
                }
                None => entry,
            });
        }
    }
}

impl Entries<'_> {
    fn junk(&mut self, span: Range<usize>, opened: Option<usize>) -> Entry {
        self.readable = false;
        Entry::Junk { span, opened }
    }
}

/// Whether a route's next domain follows a comma: `@a,@b:` (RFC 5322 section 4.4).
fn route_goes_on(text: &[u8], at: usize) -> bool {
    text[at..].iter().find(|&&byte| !is_white(byte)).is_some_and(|&byte| byte == b'@')
}

/// Whether an encoded-word holds what ends a phrase for those who look for encoded-words only later.
fn has_specials(word: &[u8]) -> bool {
    word.iter().any(|&byte| is_white(byte) || b"()<>[]:;@\\,\"".contains(&byte))
}

pub(super) fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let start = range.start + text[range.clone()].iter().take_while(|&&byte| is_white(byte)).count();
    let end = start + trim(&text[start..range.end.max(start)]).len();
    start..end
}

/// A display name, and the comments beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// Quotes and encoded-words undone, on one line. Empty if there is none.
    pub(super) text: String,
    /// The content of each comment as written, but for one that serves as the name.
    pub(super) comments: Vec<Vec<u8>>,
}

/// The display name of a mailbox. Where nothing stands before the address, the first comment is it, as
/// some mailers write it there.
pub(super) fn name_of(text: &[u8], mailbox: &Mailbox) -> Name {
    name(text, mailbox.phrase.clone(), mailbox.span.clone(), mailbox.written.clone())
}

/// The display name that stands in what is no mailbox: before a bracket, in quotes, in an encoded-word or
/// in a comment. A mere word may be anything.
pub(super) fn name_in_junk(text: &[u8], span: Range<usize>, opened: Option<usize>) -> String {
    let named = opened.is_some() || {
        let mut cursor = Cursor::over(&text[span.clone()]);
        matches!(cursor.text.first().map(|_| cursor.token(0).0), Some(Token::Quoted | Token::Encoded))
    };
    let end = opened.unwrap_or(span.end);
    let phrase = if named { trimmed(text, span.start..end) } else { span.start..span.start };
    name(text, phrase, span.clone(), span.end..span.end).text
}

fn name(text: &[u8], phrase: Range<usize>, span: Range<usize>, skipped: Range<usize>) -> Name {
    let mut name = encoded_word::decode(&unquoted_phrase(&unfold(&text[phrase])));
    let trimmed = name.trim();
    if trimmed.len() < name.len() {
        name = trimmed.to_owned();
    }
    let mut comments = Vec::new();
    for part in [span.start..skipped.start, skipped.end..span.end] {
        if !text[part.clone()].contains(&b'(') {
            continue;
        }
        let mut cursor = Cursor::over(&text[part]);
        let mut at = 0;
        while at < cursor.text.len() {
            let (token, end) = cursor.token(at);
            if token == Token::Comment {
                comments.push(unfold(&cursor.text[at + 1..end - 1]).into_owned());
            }
            at = end;
        }
    }
    if name.is_empty() && !comments.is_empty() {
        name = encoded_word::decode(&comments.remove(0)).trim().to_owned();
    }
    Name { text: name, comments }
}

/// A phrase as its reader sees it, apart from encoded-words: without quotes and comments, on one line, one
/// space between words.
pub(super) fn unquoted_phrase(phrase: &[u8]) -> Vec<u8> {
    let mut cursor = Cursor::over(phrase);
    let mut out = Vec::with_capacity(phrase.len());
    let mut at = 0;
    while at < phrase.len() {
        let (token, end) = cursor.token(at);
        match token {
            Token::White | Token::Comment => {
                if !out.is_empty() && out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            Token::Quoted => push_unquoted(&mut out, &phrase[at..end]),
            _ => out.extend_from_slice(&phrase[at..end]),
        }
        at = end;
    }
    out
}

//! What must hold of every rewritten message, checked by code that shares nothing with the rewriter
//! but its types: for tests, fuzz targets, and whatever wants to know what SES would be given.
//!
//! It is written to be obvious, not fast: a message becomes a list of fields of a list of lines.

use std::{collections::HashSet, iter::Peekable, slice};

use mail_parser::{HeaderValue, parsers::MessageStream};

use ses_forwarder::header::Rewrite;

/// Everything that is wrong with `output`, the message that came of `message`; empty if nothing is.
///
/// `output` is header block and body, `from` the address that SES is told to send from.
pub fn violations(message: &[u8], output: &[u8], from: &str, how: &Rewrite<'_>) -> Vec<String> {
    let input = Parts::read(message);
    let mut found = Vec::new();
    let Some(header) = output.strip_suffix(input.body).and_then(|header| header.strip_suffix(b"\r\n")) else {
        return vec!["the output does not end in an empty line and the body".into()];
    };
    check_lines(header, &mut found);
    let written = Parts::read(output);
    if written.body != input.body {
        found.push("the body starts elsewhere".into());
    }
    if found.is_empty() {
        check_names(&written.fields, &mut found);
        check_from(&written.fields, from, how, &mut found);
        check_lists(&written.fields, &mut found);
        check_fields(&input.fields, &written.fields, how, &mut found);
    }
    found
}

/// A message as a list of fields.
struct Parts<'a> {
    fields: Vec<Field<'a>>,
    body: &'a [u8],
}

/// A field as a list of lines without their ends; the first begins behind the colon.
#[derive(Debug, Clone)]
struct Field<'a> {
    name: String,
    lines: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Parts<'a> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut rest = message;
        while !rest.is_empty() {
            let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(length);
            let content = match line {
                [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => content,
                content => content,
            };
            match content.split_first() {
                None => return Parts { fields, body: behind },
                Some((b' ' | b'\t', more)) => match fields.last_mut() {
                    None => break,
                    Some(field) => {
                        if more.iter().any(|byte| !b" \t".contains(byte)) {
                            field.lines.push(content);
                        }
                    }
                },
                Some(_) => match name_and_value(content) {
                    Some((name, value)) => fields.push(Field { name, lines: vec![value] }),
                    None if content.starts_with(b"From ") || content.starts_with(b">From ") => {}
                    None => break,
                },
            }
            rest = behind;
        }
        Parts { fields, body: rest }
    }
}

fn name_and_value(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end_matches([' ', '\t']);
    let allowed = !name.is_empty() && name.bytes().all(|byte| (33..=126).contains(&byte));
    allowed.then(|| (name.to_owned(), &line[colon + 1..]))
}

impl Field<'_> {
    fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The value with controls as spaces, on one line.
    fn unfolded(&self) -> Vec<u8> {
        let control = |byte: &u8| *byte < 32 || *byte == 127;
        self.lines.concat().iter().map(|byte| if control(byte) { b' ' } else { *byte }).collect()
    }

    /// The value without any white space.
    fn solid(&self) -> Vec<u8> {
        solid(&self.unfolded())
    }

    /// Whether the field may be sent as it came.
    fn is_plain(&self, name: &str) -> bool {
        self.lines
            .iter()
            .all(|line| line.len() <= 998 && line.iter().all(|byte| matches!(byte, 32..=126 | b'\t')))
            && name.len() + 1 + self.lines[0].len() <= 998
    }

    fn text(&self) -> String {
        let value = [self.unfolded().as_slice(), b"\n"].concat();
        match MessageStream::new(&value).parse_unstructured() {
            HeaderValue::Text(text) => {
                text.chars().filter(|char| !char.is_whitespace() && !char.is_control()).collect()
            }
            _ => String::new(),
        }
    }

    fn addresses(&self) -> Option<Vec<String>> {
        let value = [self.unfolded().as_slice(), b"\n"].concat();
        let HeaderValue::Address(addresses) = MessageStream::new(&value).parse_address() else {
            return None;
        };
        addresses.into_list().into_iter().map(|entry| entry.address.map(String::from)).collect()
    }
}

/// Whether text is what it seems. With an escape it may be in ISO-2022-JP.
fn is_ascii(text: &[u8]) -> bool {
    text.is_ascii() && !text.contains(&0x1b)
}

fn solid(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect()
}

/// Every line is a field or a continuation, ASCII, at most 998 octets, in CRLF.
fn check_lines(header: &[u8], found: &mut Vec<String>) {
    let Some(lines) = header.strip_suffix(b"\r\n") else {
        found.push("the last field has no CRLF".into());
        return;
    };
    let mut any_field = false;
    for line in lines.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        if line.len() > 998 {
            found.push(format!("a line of {} octets: {shown}", line.len()));
        }
        if line.iter().any(|byte| !matches!(byte, 32..=126 | b'\t')) {
            found.push(format!("a byte that is not printable ASCII: {shown:?}"));
        }
        let is_field = name_and_value(line).is_some_and(|(name, _)| line[name.len()] == b':');
        let starts_white = line.starts_with(b" ") || line.starts_with(b"\t");
        let continues = any_field && starts_white && !solid(line).is_empty();
        if !is_field && !continues {
            found.push(format!("neither a field nor a continuation: {shown:?}"));
        }
        any_field = true;
    }
    let line_feeds = lines.iter().filter(|&&byte| byte == b'\n').count();
    if lines.windows(2).filter(|pair| pair == b"\r\n").count() != line_feeds {
        found.push("a line end that is no CRLF".into());
    }
}

fn is_removed(key: &str) -> bool {
    matches!(key, "return-path" | "dkim-signature" | "domainkey-signature" | "sender" | "bcc" | "resent-bcc")
        || key.starts_with("x-ses-")
}

/// <https://docs.aws.amazon.com/ses/latest/dg/header-fields.html>
fn is_once_only(key: &str) -> bool {
    const NAMES: &str = " accept-language acceptlanguage archived-at auto-submitted bounces-to comments date delivered-to dkim-signature \
        domainkey-signature errors-to from importance in-reply-to keywords list-archive list-help list-id \
        list-owner list-post list-subscribe list-unsubscribe list-unsubscribe-post message-context message-id mime-version \
        organization precedence priority references reply-to return-path return-receipt-to sender sensitivity \
        solicitation subject thread-index thread-topic user-agent vbr-info ";
    let family = ["content-", "disposition-notification-", "original-"];
    NAMES.contains(&format!(" {key} ")) || family.iter().any(|prefix| key.starts_with(prefix))
}

/// No removed field survives, no once-only field repeats.
fn check_names(written: &[Field<'_>], found: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for field in written {
        let key = field.key();
        if is_removed(&key) || key.starts_with("resent-") {
            found.push(format!("{} survives", field.name));
        }
        if is_once_only(&key) && !seen.insert(key) {
            found.push(format!("{} repeats", field.name));
        }
    }
}

/// To, Cc, Reply-To and From are lists that a strict reader reads, and hold something.
fn check_lists(written: &[Field<'_>], found: &mut Vec<String>) {
    for field in written.iter().filter(|field| ["to", "cc", "reply-to", "from"].contains(&&*field.key())) {
        let value = String::from_utf8(field.lines.concat()).unwrap_or_default();
        if let Err(why) = read_strictly(&value) {
            found.push(format!("{} {why}: {value:?}", field.name));
        }
    }
}

/// Reads a list as RFC 5322 section 3.4 has it, without obsolete forms, in the plainest way: first everything
/// that may hold separators is taken out, then it is split at them.
fn read_strictly(value: &str) -> Result<(), &'static str> {
    let mut plain = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        // A route (section 4.4) means nothing any more, but is read.
        if let Some(colon) =
            rest.find(':').filter(|colon| rest.starts_with("<@") && !rest[..*colon].contains('>'))
        {
            plain.push('<');
            plain.extend(std::iter::repeat_n('\u{0}', colon));
            rest = &rest[colon + 1..];
            continue;
        }
        let (close, stands_for) = match first {
            '"' => ('"', "q"),
            '(' => (')', " "),
            '[' => (']', "[l]"),
            _ => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        let (mut depth, mut escaped) = (1, false);
        let end = rest.char_indices().skip(1).find(|(_, char)| {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                char if *char == close => depth -= 1,
                '(' if first == '(' => depth += 1,
                _ => {}
            }
            depth == 0
        });
        let (end, _) = end.ok_or("has a bracket without an end")?;
        // What was quoted or said in a comment counts for the length of its mailbox.
        plain.push_str(stands_for);
        plain.extend(std::iter::repeat_n('\u{0}', end));
        rest = &rest[end + 1..];
    }
    let mut any = false;
    let mut in_group = false;
    for part in plain.split_inclusive([',', ';', ':']) {
        let separator = part.chars().next_back();
        let entry = part.trim_end_matches([',', ';', ':']).trim_matches([' ', '\t', '\u{0}']);
        match separator {
            Some(':') if in_group || entry.is_empty() => {
                return Err("has a group in a group, or one without a name");
            }
            Some(':') => {
                in_group = true;
                continue;
            }
            Some(';') if !in_group => return Err("has a semicolon outside of a group"),
            _ => {}
        }
        if !entry.is_empty() {
            read_mailbox(entry)?;
            any = true;
        }
        if separator == Some(';') {
            (in_group, any) = (false, true);
        }
    }
    match (in_group, any) {
        (true, _) => Err("has a group without an end"),
        (false, false) => Err("holds no address"),
        (false, true) => Ok(()),
    }
}

/// A mailbox, in which NULs stand for what was taken out.
fn read_mailbox(entry: &str) -> Result<(), &'static str> {
    if entry.chars().count() > 320 {
        return Err("has a mailbox of over 320 characters");
    }
    let entry = entry.replace('\u{0}', "");
    let address = match entry.trim().split_once('<') {
        None => entry.trim(),
        Some((_, address)) => address.strip_suffix('>').ok_or("has text behind a bracket, or no bracket")?,
    };
    let (local, domain) = address.split_once('@').ok_or("has an address without a domain")?;
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !local.split('.').all(is_atom) {
        return Err("has an address with a local part that needs quotes");
    }
    if domain != "[l]" && !domain.split('.').all(is_label) {
        return Err("has an address with a domain that is none");
    }
    Ok(())
}

/// Exactly one From, one mailbox, at EMAIL_DOMAIN, local part 1 to 64 octets, no `@` in the name.
fn check_from(written: &[Field<'_>], from: &str, how: &Rewrite<'_>, found: &mut Vec<String>) {
    let all: Vec<&Field<'_>> = written.iter().filter(|field| field.key() == "from").collect();
    let [field] = all.as_slice() else {
        found.push(format!("{} From fields", all.len()));
        return;
    };
    let value = String::from_utf8(field.lines.concat()).unwrap_or_default();
    let value = value.trim();
    let (name, address) = match value.strip_suffix('>').and_then(|value| value.rsplit_once('<')) {
        Some((name, address)) => (name.trim_end(), address),
        None => ("", value),
    };
    let local =
        address.strip_suffix(how.email_domain).and_then(|rest| rest.strip_suffix('@')).unwrap_or_default();
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    if !(1..=64).contains(&local.len()) || !local.split('.').all(is_atom) {
        found.push(format!("From has the address {address}"));
    }
    if address != from {
        found.push(format!("From has the address {address}, SES is told {from}"));
    }
    let wire = field.lines.iter().map(|line| line.len() + 2).sum::<usize>();
    if wire - 3 >= 320 {
        found.push(format!("the mailbox of From has {wire} octets"));
    }
    let is_quoted = name.len() > 1 && name.starts_with('"') && {
        let inner = name[1..name.len() - 1].replace("\\\\", "").replace("\\\"", "");
        name.ends_with('"') && !inner.contains(['"', '\\'])
    };
    if !name.is_empty() && !is_quoted && !name.split(' ').all(is_atom) {
        found.push(format!("From has the display name {name}"));
    }
    let value = format!("{name}\n");
    let decoded = match MessageStream::new(value.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    };
    let directions = |char: char| matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if decoded.contains('@') || decoded.chars().any(|char| char.is_control() || directions(char)) {
        found.push(format!("From has a display name that says {decoded:?}"));
    }
}

/// All other fields: what is added, in its order, then what came, in its order.
fn check_fields(input: &[Field<'_>], written: &[Field<'_>], how: &Rewrite<'_>, found: &mut Vec<String>) {
    let recipients = how.recipients.iter().map(ToString::to_string).collect();
    let left = written.iter().peekable();
    Walk { input, written, how, recipients, left, replies: 0, found }.check();
}

/// The fields of a message, and beside them those that were written, as far as they are not accounted for.
struct Walk<'a> {
    input: &'a [Field<'a>],
    written: &'a [Field<'a>],
    how: &'a Rewrite<'a>,
    recipients: Vec<String>,
    left: Peekable<slice::Iter<'a, Field<'a>>>,
    /// Fields of the name Reply-To so far.
    replies: usize,
    found: &'a mut Vec<String>,
}

impl<'a> Walk<'a> {
    fn first(&self, key: &str) -> Option<&'a Field<'a>> {
        self.input.iter().find(|field| field.key() == key)
    }

    fn has(&self, key: &str) -> bool {
        self.first(key).is_some()
    }

    /// Whether the first field of this name holds anything.
    fn holds(&self, key: &str) -> bool {
        self.first(key).is_some_and(|field| !field.solid().is_empty())
    }

    /// `None`, as of each step, if nothing can be told of what follows.
    fn check(mut self) -> Option<()> {
        self.check_added()?;
        let again = self.has("x-loop") && self.has("x-original-from");
        let mut seen = HashSet::new();
        for field in self.input {
            let key = field.key();
            let ours = ["x-original-to", "x-original-from", "x-original-message-id", "x-forwarder-verdict"];
            let repeats = is_once_only(&key) && key != "reply-to" && !seen.insert(key.clone());
            let value = field.unfolded();
            let is_said = |said: &String| value.trim_ascii().eq_ignore_ascii_case(said.as_bytes());
            let said = key == "x-loop" && self.recipients.iter().any(is_said);
            if is_removed(&key) || repeats || said || (again && ours.contains(&key.as_str())) {
                continue;
            }
            let name = if key.starts_with("resent-") {
                format!("X-Original-{}", field.name)
            } else {
                field.name.clone()
            };
            match key.as_str() {
                "references" if !self.holds("references") && self.holds("message-id") => {}
                "to" | "cc" | "reply-to" if field.solid().is_empty() => {}
                "to" | "cc" | "reply-to" => self.check_list(field, &key, &name)?,
                _ => self.check_kept(field, &key, &name)?,
            }
        }
        if self.replies > 1 {
            self.found.push(format!("{} Reply-To", self.replies));
        }
        let has_subject = self.has("subject");
        self.left.next_if(|next| !has_subject && next.name == "Subject");
        if let Some(field) = self.left.next() {
            self.found.push(format!("{} was not there", field.name));
        }
        Some(())
    }

    /// What is put before the fields of the message.
    fn check_added(&mut self) -> Option<()> {
        let value = |name: &str| {
            let is_told = |field: &Field<'_>| is_ascii(&field.lines.concat());
            let told = |field: &Field<'_>| String::from_utf8_lossy(&field.unfolded()).into_owned();
            self.first(name).map(|field| if is_told(field) { told(field) } else { "\u{fffd}".to_owned() })
        };
        let mut added: Vec<(&str, String)> = Vec::new();
        added.extend(self.recipients.iter().map(|recipient| ("X-Original-To", recipient.clone())));
        added.extend(value("from").map(|from| ("X-Original-From", from)));
        added.extend(value("message-id").map(|id| ("X-Original-Message-ID", id)));
        added.extend(self.recipients.iter().map(|recipient| ("X-Loop", recipient.clone())));
        if !self.how.tags.is_empty() {
            added.push(("X-Forwarder-Verdict", "\u{fffd}".into()));
        }
        if !self.has("from") {
            added.push(("From", "\u{fffd}".into()));
        }
        for (name, value) in added {
            let Some(field) = self.left.next().filter(|field| field.name == name) else {
                self.found.push(format!("{name} is not where it belongs"));
                return None;
            };
            if value.is_ascii() && field.solid() != solid(value.as_bytes()) {
                let told = String::from_utf8_lossy(&field.unfolded()).into_owned();
                self.found.push(format!("{name} is {told:?}, expected {value:?}"));
            }
        }
        if !self.has("from") {
            self.take_reply_to();
        }
        Some(())
    }

    /// Behind From stands a Reply-To if none of the message's holds an address.
    fn take_reply_to(&mut self) {
        self.replies += usize::from(self.left.next_if(|field| field.name == "Reply-To").is_some());
    }

    /// A list of mailboxes is there, mended or not, and what SES could not read of it is kept.
    fn check_list(&mut self, field: &'a Field<'a>, key: &str, name: &str) -> Option<()> {
        let original = format!("X-Original-{name}-Field");
        let value = field.lines.concat();
        let is_clear = |text: &&str| is_ascii(&value) || !(text.contains("=?") || text.contains('\u{1b}'));
        let text = std::str::from_utf8(&value).ok().filter(is_clear);
        let is_like_it = |other: &&Field<'_>| {
            other.key() == key && (other.solid() == field.solid() || other.text() == field.text())
        };
        let may_be_it = |other: &Field<'_>| other.name == original && other.solid() == field.solid();
        let cannot_be_told = text.is_none()
            || self.input.iter().filter(is_like_it).count() > 1
            || self.input.iter().any(may_be_it);
        if cannot_be_told && self.written.iter().any(|field| field.name == original) {
            // In which charset it is read can't be told from here, and so not which of several was kept; nor
            // which of two that differ in white space alone, one of them kept by who had it before.
            return None;
        }
        let says_the_same = |next: &Field<'_>| match text {
            Some(_) if is_ascii(&value) => next.solid() == field.solid(),
            _ => next.text() == field.text(),
        };
        let keeps = |next: &&Field<'_>| next.name == original && says_the_same(next);
        let kept = self.left.next_if(keeps).is_some();
        let written = if kept { None } else { self.left.next_if(|next| next.name == name) };
        if let Some(written) = written {
            self.replies += usize::from(key == "reply-to");
            check_recipients(field, written, self.how, self.found);
            self.left.next_if(keeps);
        } else if !kept && key != "reply-to" {
            self.found.push(format!("{name} is gone"));
        }
        Some(())
    }

    /// Any other field is where it was and says the same, unless it can't be written.
    fn check_kept(&mut self, field: &'a Field<'a>, key: &str, name: &str) -> Option<()> {
        if may_go(field) && !is_ascii(&field.lines.concat()) {
            // Whether it could be written depends on the length of destinations or encoded-words.
            return None;
        }
        let brings_references = key == "message-id" && !self.holds("references");
        if must_go(field, name) && key != "from" {
            if self.left.peek().is_some_and(|next| next.name == name && next.solid() == field.solid()) {
                self.found.push(format!("{name} can't be folded, but was not dropped"));
            }
            self.left.next_if(|next| brings_references && next.name == "References");
            return Some(());
        }
        let is_it = |next: &&Field<'_>| next.name == name || (key == "from" && next.name == "From");
        let Some(written) = self.left.next_if(is_it) else {
            let instead = self.left.peek().map_or("nothing", |next| next.name.as_str());
            self.found.push(format!("expected {name}, but found {instead}"));
            return None;
        };
        match key {
            "from" => self.take_reply_to(),
            "references" => check_references(Some(field), written, self.first("message-id"), self.found),
            "subject" if !self.how.subject_prefix.trim().is_empty() || !self.how.tags.is_empty() => {}
            _ => check_same(key, field, written, self.found),
        }
        if brings_references && self.holds("message-id") {
            let (before, id) = (self.first("in-reply-to"), self.first("message-id"));
            match self.left.next_if(|next| next.name == "References") {
                Some(written) => check_references(before, written, id, self.found),
                None => self.found.push("References is missing".into()),
            }
        }
        Some(())
    }
}

/// Whether a field can't be written: a line too long that has no white space where it is needed.
fn must_go(field: &Field<'_>, name: &str) -> bool {
    let longest_word = field
        .lines
        .iter()
        .flat_map(|line| line.split(|&byte| byte <= 32 || byte == 127))
        .map(<[u8]>::len)
        .max();
    let cut = name.to_ascii_lowercase().starts_with("x-") || name.eq_ignore_ascii_case("references");
    let too_long = !field.is_plain(name) && field.lines.concat().is_ascii() && longest_word >= Some(998);
    name.len() > 997 || (too_long && !cut)
}

/// Whether it depends on the encoding if a field can be written.
fn may_go(field: &Field<'_>) -> bool {
    field.lines.iter().any(|line| line.len() >= 900)
}

/// What is plain is the same byte for byte; what is not says the same.
fn check_same(key: &str, field: &Field<'_>, written: &Field<'_>, found: &mut Vec<String>) {
    let name = &written.name;
    if field.is_plain(name) {
        if field.lines != written.lines {
            found.push(format!("{name} changed"));
        }
    } else if is_ascii(&field.lines.concat()) {
        if field.solid() != written.solid() {
            found.push(format!("{name} says something else"));
        }
    } else if std::str::from_utf8(&field.lines.concat())
        .is_ok_and(|text| !text.contains("=?") && !text.is_ascii())
        && (key == "subject" || (key.starts_with("x-") && !key.starts_with("x-original-")))
        && field.text() != written.text()
    {
        found.push(format!("{name} says {:?}, but said {:?}", written.text(), field.text()));
    }
}

/// References holds what it held, and the Message-ID.
fn check_references(
    field: Option<&Field<'_>>,
    written: &Field<'_>,
    id: Option<&Field<'_>>,
    found: &mut Vec<String>,
) {
    let ascii = |text: Vec<u8>| -> Vec<u8> {
        text.iter().map(|&byte| if byte < 128 { byte } else { b'?' }).collect()
    };
    let old = match field {
        Some(field) if field.key() == "in-reply-to" => {
            let value = ascii(field.unfolded());
            let ids = value.split(|&byte| byte == b'<').skip(1).filter(|rest| rest.contains(&b'>'));
            let ids = ids.map(|rest| rest.split(|&byte| byte == b'>').next().unwrap_or_default());
            let is_id = |id: &&[u8]| !id.is_empty() && solid(id) == *id;
            ids.filter(is_id).flat_map(|id| [b"<", id, b">"].concat()).collect()
        }
        Some(field) => ascii(field.solid()),
        None => Vec::new(),
    };
    let id = id.map(|field| ascii(field.solid())).unwrap_or_default();
    let new = written.solid();
    if new != old && new != [old.as_slice(), &id].concat() {
        found.push("References is neither the old one nor that and the Message-ID".into());
    }
    if !id.is_empty() && !new.windows(id.len()).any(|part| part == id) {
        found.push("References lacks the Message-ID".into());
    }
    if let Some(field) =
        field.filter(|field| field.key() == "references" && new == old && field.is_plain(&written.name))
    {
        check_same("references", field, written, found);
    }
}

/// Each recipient that leads to one destination gave way to it, every other address stands where it stood, once.
fn check_recipients(field: &Field<'_>, written: &Field<'_>, how: &Rewrite<'_>, found: &mut Vec<String>) {
    // Where mail is odd, what mail-parser reads is no measure.
    let value = field.unfolded();
    let is_odd = |byte: &u8| !byte.is_ascii() || b"\\\"()[]:;=".contains(byte);
    // Each `>` closes one `<`, and what follows it is a comma or the end.
    let parts: Vec<&[u8]> = value.split(|&byte| byte == b'>').map(<[u8]>::trim_ascii_start).collect();
    let opened = |part: &[u8]| part.iter().filter(|&&byte| byte == b'<').count();
    let pairs = parts.iter().enumerate().all(|(at, part)| {
        opened(part) == usize::from(at + 1 < parts.len())
            && (at == 0 || part.is_empty() || part.starts_with(b","))
    });
    // Where the brackets hold no address, one that stands openly before them counts, which mail-parser takes for a
    // name.
    let names_none = |part: &&[u8]| {
        let element = part.rsplit(|&byte| byte == b',').next().unwrap_or_default();
        element.split(|&byte| byte == b'<').map(|text| text.contains(&b'@')).eq([true, false])
    };
    let pairs = pairs && !parts.iter().any(names_none);
    let Some(before) = field.addresses().filter(|_| pairs && !value.iter().any(is_odd)) else {
        return;
    };
    if field.lines.concat().contains(&0x1b) {
        return;
    }
    // What no mail system would write is read in more than one way.
    let is_plain = |address: &String| {
        let dotted = |text: &str, others: &[u8]| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
            text.split('.').all(|part| !part.is_empty() && part.bytes().all(allowed))
        };
        match address.split_once('@') {
            Some((local, domain)) => dotted(local, b"+-_=") && dotted(domain, b"-_"),
            None => address.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        }
    };
    if !before.iter().all(is_plain) {
        return;
    }
    let mut expected = Vec::new();
    for address in before {
        let is_it = |recipient: &str| recipient.eq_ignore_ascii_case(&address);
        match how.deliveries.iter().find(|delivery| is_it(&delivery.recipient.to_string())) {
            Some(delivery) if !how.hide_destinations && delivery.destinations.len() == 1 => {
                expected.push(delivery.destinations[0].to_string());
            }
            _ => expected.push(address),
        }
    }
    let mut seen = HashSet::new();
    expected.retain(|address| seen.insert(address.to_ascii_lowercase()));
    // SES takes no domain with an underscore, and no mailbox of 320 octets.
    expected.retain(|address| address.len() < 320);
    expected.retain(|address| address.split_once('@').is_some_and(|(_, domain)| !domain.contains('_')));
    // A Reply-To without an address that SES takes gives way to another.
    if expected.is_empty() && field.key() == "reply-to" {
        return;
    }
    if written.addresses().as_ref() != Some(&expected) {
        found.push(format!("{} leads to {:?}, expected {expected:?}", written.name, written.addresses()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_lists() {
        for list in [
            "a@x.example",
            " Jane <a@x.example>, \"Doe, J. (x)\" <\"a b\"@y.example>,",
            "a@x.example (Jane (of x), \\) <b>)",
            "a@[IPv6:2001:db8::1], Friends: b@x.example, Bob <c@x.example>;, d@x",
            "undisclosed-recipients:;",
            "(Empty) Hidden :(nobody)  ; (of all)",
            "<@r.example,@s.example:a@x.example>",
        ] {
            assert_eq!(read_strictly(list), Ok(()), "{list}");
        }
        assert_eq!(read_strictly(&format!("{} <a@x>", "n".repeat(314))), Ok(()));
    }

    #[test]
    fn err_lists() {
        let long = format!("\"{}\" <a@x.example>", "n".repeat(310));
        for list in [
            "",
            " , ",
            "root",
            "Jane <root>",
            "a b@x.example",
            "a@x .example",
            "a@x..example",
            "a..b@x.example",
            "a@x_y.example",
            "a@b@x.example",
            "<a@x.example",
            "a@x.example>",
            "<<a@x.example>>",
            "<a@x.example> b",
            "\"a@x.example",
            "a@x.example (b",
            "Friends: a@x.example",
            "a@x.example; b@x.example",
            ":;",
            "A: B: a@x.example;",
            "<@r.example>",
            &long,
        ] {
            assert!(read_strictly(list).is_err(), "{list}");
        }
    }
}

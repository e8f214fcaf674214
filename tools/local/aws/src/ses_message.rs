//! What SES asks of a raw message before it sends it, and what it changes in one that it sends.
//!
//! Not checked: whether multipart bodies are well formed, attachments by content or by a name in base64, the
//! total length of the header. Where SES's own words for a refusal are not known, ours say what is wrong.
//!
//! Sources: <https://docs.aws.amazon.com/ses/latest/dg/header-fields.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/send-email-raw.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/mime-types.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>

use crate::ses_address::{parse_list, parse_one};

/// Longest message, in bytes.
pub const MESSAGE_LIMIT: usize = 40 << 20;
/// Longest line without its end, in bytes (RFC 5322 section 2.1.1).
pub const LINE_LIMIT: usize = 998;
/// MIME parts of a message. SES quotas, "Message quotas".
const PART_LIMIT: usize = 500;

/// Fields that may be there only once, in lower case. One that ends in `-` stands for all that begin so.
const ONCE: &[&str] = &[
    "accept-language",
    "acceptlanguage",
    "archived-at",
    "auto-submitted",
    "bounces-to",
    "comments",
    "content-",
    "date",
    "delivered-to",
    "disposition-notification-",
    "dkim-signature",
    "domainkey-signature",
    "errors-to",
    "from",
    "importance",
    "in-reply-to",
    "keywords",
    "list-archive",
    "list-help",
    "list-id",
    "list-owner",
    "list-post",
    "list-subscribe",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-context",
    "message-id",
    "mime-version",
    "organization",
    "original-",
    "precedence",
    "priority",
    "references",
    "reply-to",
    "return-path",
    "return-receipt-to",
    "sender",
    "sensitivity",
    "solicitation",
    "subject",
    "thread-index",
    "thread-topic",
    "user-agent",
    "vbr-info",
];

/// File name extensions that SES does not send.
const UNSUPPORTED: &[&str] = &[
    "ade", "adp", "app", "asp", "bas", "bat", "cer", "chm", "cmd", "com", "cpl", "crt", "csh", "der", "exe",
    "fxp", "gadget", "hlp", "hta", "inf", "ins", "isp", "its", "js", "jse", "ksh", "lib", "lnk", "mad",
    "maf", "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw", "mda", "mdb", "mde", "mdt", "mdw",
    "mdz", "msc", "msh", "msh1", "msh1xml", "msh2", "msh2xml", "mshxml", "msi", "msp", "mst", "ops", "pcd",
    "pif", "plg", "prf", "prg", "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "reg", "scf", "scr", "sct",
    "shb", "shs", "sys", "tmp", "url", "vb", "vbe", "vbs", "vps", "vsmacros", "vss", "vst", "vsw", "vxd",
    "ws", "wsc", "wsf", "wsh", "xnk",
];

/// A message that SES would send, if its identities are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SesMessage<'a> {
    /// Fields in order.
    fields: Vec<Field<'a>>,
    /// After the blank line.
    body: &'a [u8],
    /// Addresses of From, Sender and Return-Path, which must be verified; From's first.
    pub senders: Vec<String>,
    /// Addresses of To, Cc and Bcc, unread: they count only if the request has no destination.
    recipients: Vec<String>,
    /// `X-SES-CONFIGURATION-SET`.
    pub configuration_set: Option<String>,
}

/// A field as it stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field<'a> {
    name: &'a str,
    /// Unfolded only by what reads it; without the last line end.
    value: &'a str,
}

/// Why SES refuses a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `BadRequestException`.
    #[error("{0}")]
    BadRequest(String),
    /// `MessageRejected`.
    #[error("{0}")]
    Rejected(String),
}

/// Checks a raw message.
pub fn check(raw: &[u8]) -> Result<SesMessage<'_>, Refused> {
    let bad = |text: String| Err(Refused::BadRequest(text));
    if raw.len() > MESSAGE_LIMIT {
        return bad(format!("Message length is more than {MESSAGE_LIMIT} bytes long: '{}'.", raw.len()));
    }
    if let Some((number, length)) = long_line(raw) {
        return bad(format!(
            "Line {number} is {length} bytes long, but a line must not exceed {LINE_LIMIT}."
        ));
    }
    let Some((header, body)) = split(raw) else {
        return bad("Missing blank line between header and body.".to_owned());
    };
    let fields = fields(header).map_err(Refused::BadRequest)?;
    check_recipients(&fields).map_err(Refused::BadRequest)?;
    if let Some(name) = duplicate(&fields) {
        return bad(format!("Duplicate header '{name}'."));
    }
    let senders = senders(&fields).map_err(Refused::BadRequest)?;
    let recipients = ["to", "cc", "bcc"].iter().flat_map(|name| values(&fields, name)).collect();
    let configuration_set = values(&fields, "x-ses-configuration-set").next();
    let message = SesMessage { fields, body, senders, recipients, configuration_set };
    let parts = parts(raw);
    if parts > PART_LIMIT {
        return bad(format!("The message has {parts} MIME parts, but at most {PART_LIMIT} are allowed."));
    }
    if let Some(name) = unsupported_attachment(raw) {
        return Err(Refused::Rejected(format!("Illegal filename '{name}'.")));
    }
    Ok(message)
}

impl SesMessage<'_> {
    /// The recipients that the header names, for a request that names none.
    pub fn recipients(&self) -> Result<Vec<String>, Refused> {
        let mut all = Vec::new();
        for list in &self.recipients {
            all.extend(parse_list(list).map_err(Refused::BadRequest)?);
        }
        if all.is_empty() {
            return Err(Refused::BadRequest("Missing required header 'To'.".to_owned()));
        }
        Ok(all)
    }

    /// What goes out: Date and Message-ID are SES's own, its own and secret fields are gone. Line ends in
    /// the header are CRLF; the body is as it was.
    pub fn outgoing(&self, message_id: &str, date: &str) -> Vec<u8> {
        let header: usize = self.fields.iter().map(|field| field.name.len() + field.value.len() + 16).sum();
        let mut out = Vec::with_capacity(header + self.body.len() + 200);
        let mut put = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            for line in value.lines() {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        };
        for Field { name, value } in &self.fields {
            let lower = name.to_ascii_lowercase();
            let replaced = ["date", "message-id", "return-path", "bcc"].contains(&lower.as_str());
            if !replaced && !lower.starts_with("x-ses-") {
                // A field without a value has no line, but needs one.
                put(name, if value.is_empty() { " " } else { value });
            }
        }
        put("Date", &format!(" {date}"));
        put("Message-ID", &format!(" <{message_id}>"));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body);
        out
    }
}

/// Number, from 1, and length of the first line that is too long.
fn long_line(raw: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    for (index, end) in memchr::memchr_iter(b'\n', raw).chain([raw.len()]).enumerate() {
        // Most lines are short enough to be not looked at.
        if end - start > LINE_LIMIT {
            let line = &raw[start..end];
            let length = line.strip_suffix(b"\r").unwrap_or(line).len();
            if length > LINE_LIMIT {
                return Some((index + 1, length));
            }
        }
        start = end + 1;
    }
    None
}

/// The header with its last line end, and the body.
fn split(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', raw) {
        if matches!(&raw[start..end], b"" | b"\r") {
            return Some((&raw[..start], &raw[end + 1..]));
        }
        start = end + 1;
    }
    None
}

fn fields(header: &[u8]) -> Result<Vec<Field<'_>>, String> {
    let Some(header) = std::str::from_utf8(header).ok().filter(|header| header.is_ascii()) else {
        return Err(refusal_of_8_bit(header));
    };
    if header.bytes().any(|byte| byte == 0) || header.replace("\r\n", "").contains('\r') {
        return Err("The header contains illegal control characters.".to_owned());
    }
    read(header)
}

/// What SES says of 8-bit text in a header: where it is part of an address, what is wrong with that.
fn refusal_of_8_bit(header: &[u8]) -> String {
    let header = String::from_utf8_lossy(header);
    let refused = read(&header).and_then(|fields| check_recipients(&fields).and(senders(&fields)));
    refused.err().unwrap_or_else(|| {
        "The header contains non-ASCII characters; encode them as RFC 2047 says.".to_owned()
    })
}

fn read(header: &str) -> Result<Vec<Field<'_>>, String> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let end = field_end(rest);
        let (field, after) = rest.split_at(end);
        rest = after;
        let (name, value) = field.split_once(':').ok_or_else(|| {
            format!("Header line without a colon: '{}'.", field.lines().next().unwrap_or_default())
        })?;
        if name.is_empty() {
            return Err("Empty header names are illegal".to_owned());
        }
        // RFC 5322 section 2.2: printable ASCII without colon.
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("Header name '{}' contains illegal characters.", name.escape_debug()));
        }
        fields.push(Field { name, value: value.trim_end_matches(['\r', '\n']) });
    }
    Ok(fields)
}

/// Where the first field of a header ends: after the line that no continuation follows.
fn field_end(header: &str) -> usize {
    let bytes = header.as_bytes();
    memchr::memchr_iter(b'\n', bytes)
        .map(|end| end + 1)
        .find(|end| !matches!(bytes.get(*end), Some(b' ' | b'\t')))
        .unwrap_or(bytes.len())
}

fn duplicate<'a>(fields: &[Field<'a>]) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    fields.iter().map(|field| field.name).find(|name| {
        let name = name.to_ascii_lowercase();
        let once =
            ONCE.iter().any(|once| if once.ends_with('-') { name.starts_with(once) } else { name == *once });
        once && !seen.insert(name)
    })
}

/// Values of the fields of a name, in lower case, unfolded and trimmed.
fn values<'a>(fields: &'a [Field<'_>], name: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.replace(['\r', '\n'], "").trim().to_owned())
}

/// Reads what the recipients' fields hold. SES refuses the whole message for one of them that it can't read,
/// even where the request names the recipients.
/// <https://github.com/marlam/msmtp/issues/185>, <https://github.com/bulwarkmail/webmail/issues/973>
fn check_recipients(fields: &[Field<'_>]) -> Result<(), String> {
    for name in ["To", "Cc", "Bcc", "Reply-To"] {
        for value in values(fields, &name.to_ascii_lowercase()) {
            // Those are SES's words for To: <https://github.com/fewlinesco/bamboo_smtp/issues/110>
            if value.is_empty() && name != "Bcc" {
                return Err(format!("Empty required header '{name}'."));
            }
            parse_list(&value)?;
        }
    }
    Ok(())
}

/// The addresses that must be verified.
fn senders(fields: &[Field<'_>]) -> Result<Vec<String>, String> {
    let from = values(fields, "from").next().filter(|from| !from.is_empty());
    let mut senders = parse_list(&from.ok_or("Missing required header 'From'.")?)?;
    if senders.is_empty() {
        return Err("Missing required header 'From'.".to_owned());
    }
    for name in ["sender", "return-path"] {
        if let Some(value) = values(fields, name).next()
            && value != "<>"
        {
            senders.push(parse_one(&value)?);
        }
    }
    Ok(senders)
}

/// The first file name in a Content-Type or Content-Disposition field of any part that SES does not send.
fn unsupported_attachment(raw: &[u8]) -> Option<String> {
    let finder = memchr::memmem::Finder::new(b"name");
    finder.find_iter(raw).find_map(|at| {
        // RFC 2231 has it as `name*=`, or in pieces: `name*0=`, `name*1*=`.
        let rest = &raw[at + b"name".len()..];
        let equals = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'*')?;
        let value = rest[equals..].strip_prefix(b"=")?;
        let value = &value[..value.iter().position(|byte| b"\r\n;".contains(byte)).unwrap_or(value.len())];
        let value = String::from_utf8_lossy(value);
        let name = value.trim().trim_matches('"');
        let (_, extension) = name.trim_end_matches("?=").rsplit_once('.')?;
        let refused = UNSUPPORTED.contains(&extension.to_ascii_lowercase().as_str());
        (refused && is_in_content_field(raw, at)).then(|| name.to_owned())
    })
}

/// How many MIME parts there are: lines that begin with the boundary of a multipart (RFC 2046 section 5.1.1),
/// or the message itself. A boundary that a part in text form names counts, too.
fn parts(raw: &[u8]) -> usize {
    let finder = memchr::memmem::Finder::new(b"boundary=");
    let boundaries: std::collections::HashSet<&[u8]> = finder
        .find_iter(raw)
        .filter(|at| is_in_content_field(raw, *at))
        .map(|at| {
            let value = &raw[at + b"boundary=".len()..];
            let (value, ends): (_, &[u8]) = match value.strip_prefix(b"\"") {
                Some(quoted) => (quoted, b"\"\r\n"),
                None => (value, b"; \t\r\n"),
            };
            &value[..value.iter().position(|byte| ends.contains(byte)).unwrap_or(value.len())]
        })
        .collect();
    let lines = memchr::memmem::find_iter(raw, b"\n--");
    let delimiters = lines.filter(|at| {
        let line = &raw[at + b"\n--".len()..];
        let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
        boundaries.contains(line.trim_ascii_end())
    });
    delimiters.count().max(1)
}

/// Whether what stands there belongs to a field that begins with `Content-`, on its line or before.
fn is_in_content_field(raw: &[u8], mut at: usize) -> bool {
    loop {
        let start = memchr::memrchr(b'\n', &raw[..at]).map_or(0, |end| end + 1);
        match raw.get(start) {
            Some(b' ' | b'\t') if start > 0 => at = start - 1,
            _ => {
                return raw.get(start..start + 8).is_some_and(|name| name.eq_ignore_ascii_case(b"Content-"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "From: Jane <jane_x.example@in.example>\r\nTo: info@in.example\r\nSubject: Hi\r\n";

    fn refusal(header: &str, body: &str) -> Option<String> {
        check(format!("{header}\r\n{body}").as_bytes()).err().map(|refused| match refused {
            Refused::BadRequest(text) => format!("BadRequest: {text}"),
            Refused::Rejected(text) => format!("Rejected: {text}"),
        })
    }

    #[test]
    fn ok_messages() {
        let line = "x".repeat(LINE_LIMIT);
        let cases = [
            ("plain", PLAIN.to_owned(), "Hi\r\n".to_owned()),
            ("LF only", PLAIN.replace("\r\n", "\n"), "Hi\n".to_owned()),
            ("no body", PLAIN.to_owned(), String::new()),
            ("no To", "From: a@in.example\r\n".to_owned(), String::new()),
            (
                "longest line",
                format!("{PLAIN}X: {}\r\n", "y".repeat(LINE_LIMIT - 3)),
                format!("{line}\r\n{line}"),
            ),
            ("Received twice", format!("{PLAIN}Received: a\r\nReceived: b\r\n"), String::new()),
            ("X-Loop twice", format!("{PLAIN}X-Loop: a\r\nX-Loop: b\r\n"), String::new()),
            (
                "a group without members",
                PLAIN.replace("info@in.example", "undisclosed-recipients:;"),
                String::new(),
            ),
            (
                "many mailboxes, in every field",
                format!(
                    "{PLAIN}Cc: A <a@x.example>, b@x.example (B)\r\nReply-To: <a@x.example>, Jane Doe\r\n <j@x.example>\r\n\
                     Bcc:\r\nTo: \"Ticket 4711\" <t@x.example>\r\n"
                ),
                String::new(),
            ),
            ("folded", PLAIN.replace("Jane ", "Jane\r\n\t"), String::new()),
            ("8-bit body", PLAIN.to_owned(), "Grüße\r\n".to_owned()),
            ("a name in the text", PLAIN.to_owned(), "say name=x.exe\r\n".to_owned()),
            (
                "a harmless attachment",
                PLAIN.to_owned(),
                "Content-Type: a/b;\r\n name=\"x.pdf\"\r\n".to_owned(),
            ),
        ];
        for (case, header, body) in cases {
            assert_eq!(refusal(&header, &body), None, "{case}");
        }
    }

    #[test]
    fn err_messages() {
        let long = "x".repeat(LINE_LIMIT + 1);
        let with = |field: &str| format!("{PLAIN}{field}\r\n");
        let no_from = PLAIN.replace("From:", "X-From:");
        let cases = [
            (no_from.clone(), String::new(), "BadRequest: Missing required header 'From'."),
            (no_from.clone() + "From: \r\n", String::new(), "BadRequest: Missing required header 'From'."),
            (
                no_from.clone() + "From: nobody:;\r\n",
                String::new(),
                "BadRequest: Missing required header 'From'.",
            ),
            (no_from + "From: Jane\r\n", String::new(), "BadRequest: Missing final '@domain'"),
            (with("Sender: Jane"), String::new(), "BadRequest: Missing final '@domain'"),
            (with("To: root"), String::new(), "BadRequest: Missing final '@domain'"),
            (with("To:"), String::new(), "BadRequest: Empty required header 'To'."),
            (with("Cc: \r\n "), String::new(), "BadRequest: Empty required header 'Cc'."),
            (with("Reply-To: noreply"), String::new(), "BadRequest: Missing final '@domain'"),
            (with("Reply-To:"), String::new(), "BadRequest: Empty required header 'Reply-To'."),
            (with("Bcc: <b@x.example"), String::new(), "BadRequest: Missing '>'"),
            (
                with(
                    "Cc: <First Last <first@x.example, Second <second@x.example>,\r\n \"Third\" <third@x.example>",
                ),
                String::new(),
                "BadRequest: Local address contains control or whitespace",
            ),
            (with("Cc: a@\u{fc}.example"), String::new(), "BadRequest: Domain contains illegal character"),
            (
                with("Reply-To: j\u{f6}rg@x.example"),
                String::new(),
                "BadRequest: Local address contains control or whitespace",
            ),
            (with("subject: twice"), String::new(), "BadRequest: Duplicate header 'subject'."),
            (
                with("Content-ID: a\r\nContent-Id: b"),
                String::new(),
                "BadRequest: Duplicate header 'Content-Id'.",
            ),
            (
                with("DKIM-Signature: a\r\nDKIM-Signature: b"),
                String::new(),
                "BadRequest: Duplicate header 'DKIM-Signature'.",
            ),
            (with(": a"), String::new(), "BadRequest: Empty header names are illegal"),
            (with("X A: a"), String::new(), "BadRequest: Header name 'X A' contains illegal characters."),
            (with("nonsense"), String::new(), "BadRequest: Header line without a colon: 'nonsense'."),
            (
                with("X: ü"),
                String::new(),
                "BadRequest: The header contains non-ASCII characters; encode them as RFC 2047 says.",
            ),
            (with("X: a\rb"), String::new(), "BadRequest: The header contains illegal control characters."),
            (with("X: a\0b"), String::new(), "BadRequest: The header contains illegal control characters."),
            (
                PLAIN.to_owned(),
                format!("a\r\n{long}\r\n"),
                "BadRequest: Line 6 is 999 bytes long, but a line must not exceed 998.",
            ),
            (PLAIN.to_owned(), long, "BadRequest: Line 5 is 999 bytes long, but a line must not exceed 998."),
            (
                PLAIN.to_owned(),
                "--x\r\ncontent-disposition: attachment;\r\n\tfilename=\"a.EXE\"\r\n".to_owned(),
                "Rejected: Illegal filename 'a.EXE'.",
            ),
            (
                PLAIN.to_owned(),
                "Content-Disposition: attachment; filename*=utf-8''a.js\r\n".to_owned(),
                "Rejected: Illegal filename 'utf-8''a.js'.",
            ),
            (
                PLAIN.to_owned(),
                "Content-Type: a/b; name*0=a; name*1=\"b.scr\"\r\n".to_owned(),
                "Rejected: Illegal filename 'b.scr'.",
            ),
            (
                with("Content-Type: a/b; name=\"=?utf-8?q?a.vbs?=\""),
                String::new(),
                "Rejected: Illegal filename '=?utf-8?q?a.vbs?='.",
            ),
        ];
        for (header, body, expected) in cases {
            assert_eq!(refusal(&header, &body).as_deref(), Some(expected), "{header}");
        }
        let unsplit = check(PLAIN.as_bytes());
        assert_eq!(
            unsplit,
            Err(Refused::BadRequest("Missing blank line between header and body.".to_owned()))
        );
    }

    #[test]
    fn each_field_of_the_list_is_taken_once() {
        for once in ONCE {
            let name = if once.ends_with('-') { format!("{once}x") } else { (*once).to_owned() };
            let header: String = PLAIN
                .split_inclusive("\r\n")
                .filter(|line| !line.to_ascii_lowercase().starts_with(&format!("{name}:")))
                .collect();
            let twice = format!("{header}{name}: a@in.example\r\n{name}: a@in.example\r\n");
            assert_eq!(refusal(&twice, ""), Some(format!("BadRequest: Duplicate header '{name}'.")));
        }
    }

    #[test]
    fn each_mailbox_has_a_limit() {
        let address = format!("{} <a@in.example>", "n".repeat(320));
        for name in ["From", "To", "Cc", "Bcc", "Reply-To", "Return-Path", "Sender"] {
            let header: String =
                PLAIN.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
            let expected =
                format!("BadRequest: Address length is more than 320 characters long: '{address}'.");
            assert_eq!(refusal(&format!("{header}{name}: {address}\r\n"), ""), Some(expected), "{name}");
        }
    }

    #[test]
    fn part_limit() {
        for (declared, boundary) in [("boundary=b-1", "b-1"), ("a=b; boundary=\"b 1\"; c=d", "b 1")] {
            let header = format!("{PLAIN}Content-Type: multipart/mixed;\r\n {declared}\r\n");
            let body =
                |parts| format!("{}--{boundary}--\r\n", format!("--{boundary}\r\n\r\nx\r\n").repeat(parts));
            assert_eq!(refusal(&header, &body(PART_LIMIT)), None, "{declared}");
            let refused = "BadRequest: The message has 501 MIME parts, but at most 500 are allowed.";
            assert_eq!(refusal(&header, &body(PART_LIMIT + 1)).as_deref(), Some(refused), "{declared}");
        }
        let not_parts = "--b\r\n\r\nboundary=b\r\n".repeat(PART_LIMIT + 1);
        assert_eq!(refusal(PLAIN, &not_parts), None);
    }

    #[test]
    fn size_limit() {
        let mut raw = format!("{PLAIN}\r\n").into_bytes();
        let line = format!("{}\r\n", "x".repeat(76));
        raw.extend(line.bytes().cycle().take(MESSAGE_LIMIT - raw.len()));
        assert!(check(&raw).is_ok());
        raw.push(b'x');
        let refused = "Message length is more than 41943040 bytes long: '41943041'.".to_owned();
        assert_eq!(check(&raw), Err(Refused::BadRequest(refused)));
    }

    #[test]
    fn senders_and_recipients() {
        let header = "From: A <a@in.example>\r\nSender: s@in.example\r\nReturn-Path: <r@in.example>\r\n\
                      To: t@x.example,\r\n u@x.example\r\nCc: c@x.example\r\nBcc: b@x.example\r\n\r\n";
        let message = check(header.as_bytes()).unwrap();
        assert_eq!(message.senders, ["a@in.example", "s@in.example", "r@in.example"]);
        let recipients = ["t@x.example", "u@x.example", "c@x.example", "b@x.example"];
        assert_eq!(message.recipients().unwrap(), recipients);
        let none = check(b"From: a@in.example\r\n\r\n").unwrap().recipients();
        assert_eq!(none, Err(Refused::BadRequest("Missing required header 'To'.".to_owned())));
    }

    #[test]
    fn outgoing_has_the_date_and_message_id_of_ses() {
        let raw = "From: a@in.example\r\nX-SES-CONFIGURATION-SET: c\r\nReturn-Path: <a@in.example>\r\n\
                   Bcc: b@x.example\r\nDate: yesterday\r\nMessage-Id: <old@x.example>\r\nX-Empty:\r\n\
                   Subject: a\r\n b\r\n\r\nBody\n";
        let message = check(raw.as_bytes()).unwrap();
        assert_eq!(message.configuration_set.as_deref(), Some("c"));
        let outgoing = message.outgoing("new@email.amazonses.com", "Wed, 25 Nov 2026 01:00:00 +0000");
        assert_eq!(
            String::from_utf8(outgoing).unwrap(),
            "From: a@in.example\r\nX-Empty: \r\nSubject: a\r\n b\r\n\
             Date: Wed, 25 Nov 2026 01:00:00 +0000\r\nMessage-ID: <new@email.amazonses.com>\r\n\r\nBody\n"
        );
    }
}

//! What a function's log must not hold: whole addresses, and what stands in subject and body of a mail.

use std::{collections::BTreeSet, ops::Deref};

use mail_parser::MessageParser;
use ses_forwarder_local_stack::Stack;

/// Parts of a mail shorter than this stand in many a line by chance.
const SHORTEST: usize = 5;

/// The lines that hold an address, or text of the message.
pub fn leaks<L: AsRef<str>>(lines: impl IntoIterator<Item = L>, message: &[u8]) -> Vec<String> {
    let private = texts(message);
    let leaks = |line: &str| holds_address(line) || private.iter().any(|text| line.contains(text.as_str()));
    let lines = lines.into_iter().filter(|line| leaks(line.as_ref()));
    lines.map(|line| line.as_ref().to_owned()).collect()
}

/// Subject, as it stands there and as it reads, and body lines.
fn texts(message: &[u8]) -> BTreeSet<String> {
    let Some(parsed) = MessageParser::new().parse(message) else { return BTreeSet::new() };
    let subject = parsed.header_raw("Subject").into_iter().chain(parsed.subject());
    let body = parsed.body_text(0).unwrap_or_default();
    let texts = subject.chain(body.lines()).map(str::trim).filter(|text| text.len() >= SHORTEST);
    texts.map(str::to_owned).collect()
}

/// Whether there is an `@` with a local part before it and a name of several labels behind it; logs have
/// `…@` instead.
fn holds_address(line: &str) -> bool {
    let in_local = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let in_domain = |c: char| c.is_alphanumeric() || "-.".contains(c);
    line.match_indices('@').any(|(at, _)| {
        let domain = line[at + 1..].split(|c| !in_domain(c)).next().unwrap_or_default();
        line[..at].ends_with(in_local) && domain.trim_end_matches('.').contains('.')
    })
}

/// A stack for a test, which fails if its functions have logged what is private of this message.
#[derive(Debug)]
pub struct Watched {
    stack: Stack,
    message: &'static [u8],
}

impl Watched {
    /// Watches a stack until it is dropped.
    pub fn new(stack: Stack, message: &'static [u8]) -> Watched {
        Watched { stack, message }
    }
}

impl Deref for Watched {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let lines = self.stack.logs();
            let found = leaks(lines.iter().map(|(_, line)| line), self.message);
            assert!(found.is_empty(), "logged what is private: {found:#?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_subjects_and_bodies_are_private() {
        let message = b"From: a@x.example\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n\r\nAt noon.\r\nOK\r\n";
        for (line, leaks_it) in [
            ("forwarded to …@out.example", false),
            (r#"allowed are \"user@domain\", \"@domain.example\""#, false),
            ("forwarded OK", false),
            ("forwarded to ann@out.example", true),
            ("ann+tag@in.example", true),
            ("subject: Café", true),
            ("subject: =?utf-8?q?Caf=C3=A9?=", true),
            ("says At noon.", true),
        ] {
            assert_eq!(!leaks([line], message).is_empty(), leaks_it, "{line}");
        }
    }
}

//! What SES's scanners say of a message. Here they say what they are told: by the stack's setting, by a
//! label of the recipient, or by a field of the message, the later over the earlier.
//!
//! A label holds `check=WORD` pairs joined by `+`, as in `info+spam=FAIL+dmarc=FAIL@in.example`; the field
//! `X-Local-Verdict: spam=FAIL, dmarc=FAIL, dmarc-policy=reject` has them apart by commas. Checks are `spam`,
//! `virus`, `spf`, `dkim` and `dmarc`, and `dmarc-policy` is the sender's DMARC policy, which SES tells
//! only of mail that fails DMARC.

use std::{collections::BTreeMap, str::FromStr};

/// The field that sets verdicts.
pub(super) const FIELD: &str = "X-Local-Verdict";

const CHECKS: [&str; 5] = ["spam", "virus", "spf", "dkim", "dmarc"];
const POLICY: &str = "dmarc-policy";

/// Verdicts by check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts(BTreeMap<String, String>);

impl FromStr for Verdicts {
    type Err = String;

    /// Reads `check=WORD` pairs apart by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let pairs: Result<_, String> = text.split(',').map(|pair| parse_pair(pair.trim())).collect();
        pairs.map(Verdicts)
    }
}

impl Verdicts {
    /// The verdict on a check, `PASS` if nothing was said.
    pub fn get(&self, check: &str) -> &str {
        self.0.get(check).map_or("PASS", String::as_str)
    }

    /// The DMARC policy of the sender's domain, which is told if DMARC failed.
    pub fn dmarc_policy(&self) -> Option<&str> {
        (self.get("dmarc") == "FAIL").then(|| self.0.get(POLICY).map_or("none", String::as_str))
    }

    /// Each check with its verdict.
    pub fn words(&self) -> Vec<(String, String)> {
        CHECKS.iter().map(|check| ((*check).to_owned(), self.get(check).to_owned())).collect()
    }

    /// These, overridden by what a message to these recipients asks for. Without scanning there is no word
    /// on spam and viruses.
    pub fn for_message(&self, recipients: &[String], message: &[u8], scan: bool) -> Verdicts {
        let mut verdicts = self.0.clone();
        let labels = recipients.iter().filter_map(|recipient| recipient.rsplit_once('@')?.0.split_once('+'));
        // A label or field that says something else is none of ours.
        verdicts
            .extend(labels.flat_map(|(_, label)| label.split('+')).filter_map(|pair| parse_pair(pair).ok()));
        if let Some(Verdicts(asked)) = field(message).and_then(|value| value.parse().ok()) {
            verdicts.extend(asked);
        }
        if !scan {
            verdicts.extend(["spam", "virus"].map(|check| (check.to_owned(), "DISABLED".to_owned())));
        }
        Verdicts(verdicts)
    }
}

fn parse_pair(pair: &str) -> Result<(String, String), String> {
    let known = || format!("{} or {POLICY}", CHECKS.join(", "));
    let (check, word) =
        pair.split_once('=').ok_or_else(|| format!("{pair:?} should be CHECK=WORD, as spam=FAIL"))?;
    if check == POLICY {
        return Ok((check.to_owned(), word.to_ascii_lowercase()));
    }
    if !CHECKS.contains(&check) {
        return Err(format!("{check:?} should be {}", known()));
    }
    Ok((check.to_owned(), word.to_ascii_uppercase()))
}

/// The value of our field, if the message has it.
fn field(message: &[u8]) -> Option<String> {
    let header = super::header::header_block(message);
    header.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case(FIELD).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_can_ask_for_its_verdicts() {
        for (setting, recipient, message, scan, expected) in [
            (
                "spam=PASS",
                "info@in.example",
                "Subject: x\r\n\r\n",
                true,
                ["PASS", "PASS", "PASS", "PASS", "PASS", "-"],
            ),
            (
                "spam=GRAY",
                "info@in.example",
                "\r\nX-Local-Verdict: spam=FAIL",
                true,
                ["GRAY", "PASS", "PASS", "PASS", "PASS", "-"],
            ),
            (
                "spam=PASS",
                "info+spam=FAIL+dkim=gray@in.example",
                "",
                true,
                ["FAIL", "PASS", "PASS", "GRAY", "PASS", "-"],
            ),
            ("spam=PASS", "info+sales@in.example", "", true, ["PASS", "PASS", "PASS", "PASS", "PASS", "-"]),
            (
                "dmarc-policy=reject",
                "info+dmarc=FAIL@in.example",
                "",
                true,
                ["PASS", "PASS", "PASS", "PASS", "FAIL", "reject"],
            ),
            (
                "spam=PASS",
                "info+dmarc=FAIL@in.example",
                "",
                true,
                ["PASS", "PASS", "PASS", "PASS", "FAIL", "none"],
            ),
            (
                "spam=PASS",
                "info+spam=FAIL@in.example",
                "A: b\nx-local-verdict: spam=GRAY, dmarc=FAIL, dmarc-policy=quarantine\n\n",
                true,
                ["GRAY", "PASS", "PASS", "PASS", "FAIL", "quarantine"],
            ),
            (
                "spam=PASS",
                "info+spam=FAIL@in.example",
                "",
                false,
                ["DISABLED", "DISABLED", "PASS", "PASS", "PASS", "-"],
            ),
        ] {
            let setting: Verdicts = setting.parse().unwrap();
            let verdicts = setting.for_message(&[recipient.to_owned()], message.as_bytes(), scan);
            let mut words: Vec<_> = verdicts.words().into_iter().map(|(_, word)| word).collect();
            words.push(verdicts.dmarc_policy().unwrap_or("-").to_owned());
            assert_eq!(words, expected, "{recipient} {message:?}");
        }
    }

    #[test]
    fn err_unknown_checks() {
        let error = Verdicts::from_str("spam=FAIL, arc=FAIL").unwrap_err();
        assert_eq!(error, "\"arc\" should be spam, virus, spf, dkim, dmarc or dmarc-policy");
        let error = Verdicts::from_str("spam").unwrap_err();
        assert_eq!(error, "\"spam\" should be CHECK=WORD, as spam=FAIL");
    }
}

//! A routes file: what is wrong with it, and which of its lines decides on an address.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;
use ses_forwarder::{
    address::Address,
    domains::Domains,
    routes::{
        Problem, Routes,
        senders::{Claim, SenderAction, SenderMatch},
    },
    settings::EmailSettings,
};

/// What is wrong with a routes file, and what is odd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The file, as it was named.
    pub file: String,
    /// Whether it can be used: it has no errors.
    pub ok: bool,
    /// How many lines it has that decide something; absent if it has errors.
    pub lines: Option<usize>,
    /// Errors and warnings, in the order of the file.
    pub problems: Vec<Located>,
}

/// An error or a warning, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    /// Whether it keeps the file from being used.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found and what is allowed.
    pub message: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file can't be used.
    Error,
    /// It can, but does what its writer may not expect.
    Warning,
}

/// Which line decides on an address, and where its mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The address, as a sender writes it.
    pub address: String,
    /// The keys that were looked for, up to the one that decides.
    pub keys: Vec<Key>,
    /// Where its mail goes; empty if it is dropped.
    pub destinations: Vec<String>,
    /// Why it is dropped: `no-route`, `discarded`, `refused` or `sender`; absent if it goes somewhere.
    pub dropped: Option<&'static str>,
    /// What the lines for senders say; absent if no sender was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<SenderExplained>,
    /// Who may answer from it; absent where answering is off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
}

/// Which lines decide on mail from a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SenderExplained {
    /// The sender's address.
    pub address: String,
    /// The line, if SPF, DKIM or DMARC vouch for the sender; absent if there is none.
    pub authenticated: Option<SenderKey>,
    /// The line, if they do not.
    pub unauthenticated: Option<SenderKey>,
}

/// A line for senders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SenderKey {
    /// The table's key, if it is one for a recipient.
    pub recipient: Option<String>,
    /// The sender's key as it stands in the file.
    pub key: String,
    /// Its line in the file.
    pub line: usize,
    /// What it says: `forward`, `tag`, `drop` or `refuse`.
    pub action: &'static str,
}

/// A key that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// As a file writes it.
    pub key: String,
    /// Whether there is such a line; it then decides.
    pub found: bool,
    /// Its line in the file; absent for the default and where there is none.
    pub line: Option<usize>,
    /// What of the address it names.
    pub names: String,
}

/// Checks the text of a routes file; `name` is what problems are told to be in.
pub fn check(name: &str, file: &[u8], domains: &Domains, destination_domain: Option<&str>) -> Checked {
    let checked = Routes::check(file, domains, destination_domain);
    let errors = checked.routes.as_ref().err().map_or(&[][..], Vec::as_slice);
    let located = |severity: Severity| {
        move |problem: &Problem| Located {
            severity,
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
        }
    };
    let errors = errors.iter().map(located(Severity::Error));
    let mut problems: Vec<_> =
        errors.chain(checked.warnings.iter().map(located(Severity::Warning))).collect();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let lines = checked.routes.as_ref().ok().map(Routes::lines);
    Checked { file: name.to_owned(), ok: lines.is_some(), lines, problems }
}

/// Checks a routes file on disk.
pub fn check_file(
    path: &Path,
    domains: &Domains,
    destination_domain: Option<&str>,
) -> anyhow::Result<Checked> {
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(check(&path.display().to_string(), &file, domains, destination_domain))
}

/// The routes of a file, or the default if none is named. The error lists what is wrong with the file.
pub fn load(path: Option<&PathBuf>, settings: &EmailSettings) -> anyhow::Result<Result<Routes, Checked>> {
    let domains = &settings.common.domains;
    let destination_domain = settings.destination_domain.as_deref();
    let Some(path) = path else {
        return Ok(Ok(Routes::default_for(domains, destination_domain)));
    };
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(Routes::parse(&file, domains, destination_domain)
        .map_err(|_| check(&path.display().to_string(), &file, domains, destination_domain)))
}

/// Looks an address up, and whether mail from a sender gets there.
pub fn explain(routes: &Routes, recipient: &Address, from: Option<&Address>) -> Explained {
    let found = routes.lookup(recipient);
    let mut keys = Vec::new();
    for (key, how) in Routes::keys(recipient) {
        let here = found.as_ref().filter(|line| line.how == how);
        keys.push(Key {
            key,
            found: here.is_some(),
            line: here.and_then(|line| line.line),
            names: how.to_string(),
        });
        if here.is_some() {
            break;
        }
    }
    let destinations: Vec<_> = found
        .as_ref()
        .map_or_else(Vec::new, |line| line.destinations.iter().map(Address::to_string).collect());
    let line = |address, authenticated| {
        let claim = Some(Claim { address, authenticated });
        routes.senders().lookup(recipient, claim, None)
    };
    let action = from.and_then(|from| line(from, true)).map(|line| line.action);
    let dropped = match &found {
        None => Some("no-route"),
        Some(line) if line.refused => Some("refused"),
        Some(line) if line.destinations.is_empty() => Some("discarded"),
        Some(_) => match action {
            Some(SenderAction::Drop) => Some("sender"),
            Some(SenderAction::Refuse) => Some("refused"),
            Some(SenderAction::Forward | SenderAction::Tag) | None => None,
        },
    };
    let sender = from.map(|from| SenderExplained {
        address: from.to_string(),
        authenticated: line(from, true).map(SenderKey::from),
        unauthenticated: line(from, false).map(SenderKey::from),
    });
    Explained { address: recipient.to_string(), keys, destinations, dropped, sender, owners: Vec::new() }
}

impl From<SenderMatch<'_>> for SenderKey {
    fn from(line: SenderMatch<'_>) -> SenderKey {
        SenderKey {
            recipient: line.recipient.map(str::to_owned),
            key: line.key.to_owned(),
            line: line.line,
            action: line.action.word(),
        }
    }
}

/// `line 3: "@x.example" = "drop"`, and whose table it is.
impl fmt::Display for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SenderKey { recipient, key, line, action } = self;
        write!(f, "line {line}: {key:?} = {action:?}")?;
        match recipient {
            Some(recipient) => write!(f, ", for mail to {recipient:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SenderExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SenderExplained { address, authenticated, unauthenticated } = self;
        let said = |line: &Option<SenderKey>| {
            line.as_ref().map_or_else(|| "no line for senders".to_owned(), ToString::to_string)
        };
        writeln!(f, "  from {address}: {}", said(authenticated))?;
        if authenticated != unauthenticated {
            writeln!(f, "    unless DMARC, SPF or DKIM vouch for it: {}", said(unauthenticated))?;
        }
        Ok(())
    }
}

impl Checked {
    /// Its errors alone, a line each, as compilers write them.
    pub fn errors(&self) -> String {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors.map(|problem| problem.in_file(&self.file) + "\n").collect()
    }
}

impl Located {
    /// As compilers write it, so that editors find the place.
    fn in_file(&self, file: &str) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("{file}:{}:{}: {severity}: {}", self.line, self.column, self.message)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}", problem.in_file(&self.file))?;
        }
        write!(f, "{}: ", self.file)?;
        if let Some(lines) = self.lines {
            write!(f, "{}, ", count(lines, "line"))?;
        }
        let of = |severity| self.problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        writeln!(f, "{}, {}", count(errors, "error"), count(warnings, "warning"))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.address)?;
        for Key { key, found, line, names } in &self.keys {
            let place = match (found, line) {
                (false, _) => "no line".to_owned(),
                (true, Some(number)) => format!("line {number}: {names}"),
                (true, None) => format!("the default: {names}"),
            };
            writeln!(f, "  {:<40} {place}", format!("{key:?}"))?;
        }
        if let Some(sender) = &self.sender {
            write!(f, "{sender}")?;
        }
        match self.dropped {
            Some(why) => writeln!(f, "  dropped: {why}")?,
            None => writeln!(f, "  goes to {}", self.destinations.join(", "))?,
        }
        match self.owners.as_slice() {
            [] => Ok(()),
            owners => writeln!(f, "  answered by {}", owners.join(", ")),
        }
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

//! Reading a routes file: what is wrong, with its line and column. An error keeps the file from being
//! used; a warning tells of a line that can't do what its writer may expect.
//!
//! The TOML parser bounds nesting (80 levels), and [`FILE_MAX`] bounds everything else.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    odd,
    pattern::{Pattern, whole_domain},
    problem::{Found, PROBLEMS_MAX, Places, Problem, Problems, quoted},
    replies::{PER_HOUR_MAX, ReplyRules},
    senders::{SenderAction, Senders, Table},
    table::{Destination, Leads, Line, Routes},
};
use crate::{address::Address, domains::Domains};

/// The largest routes file, in bytes: some 150,000 lines of ordinary length. Reading takes about
/// twelve times the file in memory, so up to 2 MB (40,000 lines) fit beside a message of 40 MB into
/// the 128 MB that the template gives; a larger table needs a larger `MemorySize`.
pub const FILE_MAX: usize = 8 << 20;

/// Up to this size, in bytes, all syntax errors are listed, beyond it only the first: the parser
/// keeps a record of each, and a large file that is no TOML at all has millions.
const LISTED_SYNTAX_MAX: usize = 256 << 10;

/// What may stand in front of a `=` in `[routes]`.
const KEYS: &str = r#""user+tag@domain", "user@domain", "user", "@domain", "@*.domain" or "@""#;

/// What may stand behind it.
const DESTINATIONS: &str =
    r#"allowed are "user@domain", "@domain", a list of these, [] to discard and "refuse""#;

/// What may stand in front of a `=` in `[senders]`.
const SENDERS: &str = r#""user@domain", "@domain", "@*.domain" or "@""#;

/// What may stand behind it.
const ACTIONS: &str = r#"allowed are "forward", "tag", "drop" and "refuse""#;

/// The tables of a file.
const TABLES: &str = "[routes], [senders] and [replies]";

/// What may stand in the table.
const LINES: &str = r#"; a line is such as "user@domain" = "user@domain", each key once"#;

/// What may stand in `[replies]`.
const REPLIES: &str = r#"there are "enabled", "per-hour" and "allow""#;

/// The route that refuses, which is no address.
const REFUSE: &str = "refuse";

/// A routes file, read.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The table, or what is wrong, in the order of the file.
    pub routes: Result<Routes, Vec<Problem>>,
    /// What is allowed but odd, in the order of the file.
    pub warnings: Vec<Problem>,
}

impl Routes {
    /// Reads a routes file. Every error is reported, not only the first.
    pub fn parse(
        file: &[u8],
        domains: &Domains,
        destination_domain: Option<&str>,
    ) -> Result<Routes, Vec<Problem>> {
        Routes::check(file, domains, destination_domain).routes
    }

    /// Reads a routes file, and says besides what is odd about it though allowed.
    ///
    /// ```
    /// use ses_forwarder::{address::Address, domains::Domains, routes::Routes};
    ///
    /// let file = br#"
    /// [routes]
    /// "sales@in.example" = ["ann@out.example", "bob@else.example"]
    /// "noreply" = []
    /// "#;
    /// let domains = Domains::parse("in.example").expect("a domain");
    /// let routes = Routes::check(file, &domains, Some("out.example")).routes.expect("nothing is wrong");
    /// let goes_to = |recipient: &str| {
    ///     let line = routes.lookup(&Address::parse(recipient).ok()?)?;
    ///     Some(line.destinations.iter().map(ToString::to_string).collect::<Vec<_>>())
    /// };
    /// assert_eq!(goes_to("Sales+shop@in.example"), Some(vec!["ann@out.example".into(), "bob@else.example".into()]));
    /// assert_eq!(goes_to("noreply@in.example"), Some(vec![]), "discarded");
    /// assert_eq!(goes_to("info+a@in.example"), Some(vec!["info+a@out.example".into()]), "by default");
    /// assert_eq!(goes_to("info@other.example"), None);
    /// ```
    pub fn check(file: &[u8], domains: &Domains, destination_domain: Option<&str>) -> Checked {
        check(file, domains, destination_domain)
    }
}

fn check(file: &[u8], domains: &Domains, destination_domain: Option<&str>) -> Checked {
    let text = match text(file) {
        Ok(text) => text,
        Err(problem) => return Checked { routes: Err(vec![problem]), warnings: Vec::new() },
    };
    let mut reader = Reader {
        places: Places::of(text),
        domains,
        broken: HashSet::new(),
        errors: Problems::default(),
        warnings: Problems::default(),
    };
    let document = reader.document(text);
    let tables = reader.tables(&document);
    let lines = tables.routes.map(|table| reader.lines(table)).unwrap_or_default();
    let senders = tables.senders.map(|table| reader.senders(table)).unwrap_or_default();
    let replies = tables.replies.map(|table| reader.replies(table)).unwrap_or_default();
    for found in odd::lines(&lines, domains).chain(odd::senders(&senders)) {
        reader.warning(found.at, found.message);
    }
    let warnings = reader.warnings.placed(&reader.places);
    let errors = reader.errors.placed(&reader.places);
    if !errors.is_empty() {
        return Checked { routes: Err(errors), warnings };
    }
    let mut routes = Routes { lines, senders, replies, ..Routes::default() };
    routes.close(domains, destination_domain);
    Checked { routes: Ok(routes), warnings }
}

/// The file as text, without the byte order mark that some editors put in front.
fn text(file: &[u8]) -> Result<&str, Problem> {
    if file.len() > FILE_MAX {
        let message = format!("the file has {} bytes; at most {FILE_MAX} are read", file.len());
        return Err(Problem { line: 1, column: 1, message });
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    str::from_utf8(file).map_err(|error| {
        let (valid, rest) = file.split_at(error.valid_up_to());
        let valid = str::from_utf8(valid).expect("valid up to here");
        let message = format!("byte 0x{:02x} is no UTF-8; the file has to be stored as UTF-8", rest[0]);
        Places::of(valid).problem(Found { at: valid.len(), message })
    })
}

/// The tables of a file.
#[derive(Default)]
struct Tables<'d, 'a> {
    routes: Option<&'d DeTable<'a>>,
    senders: Option<&'d DeTable<'a>>,
    replies: Option<&'d DeTable<'a>>,
}

struct Reader<'a> {
    places: Places<'a>,
    domains: &'a Domains,
    /// Lines that are no TOML: what else is made of them is not worth a message.
    broken: HashSet<usize>,
    errors: Problems,
    warnings: Problems,
}

impl<'a> Reader<'a> {
    fn error(&mut self, at: usize, message: String) {
        if !self.broken.contains(&self.places.line(at)) {
            self.errors.push(at, message);
        }
    }

    fn warning(&mut self, at: usize, message: String) {
        if !self.broken.contains(&self.places.line(at)) {
            self.warnings.push(at, message);
        }
    }

    /// The file as TOML, as far as it is.
    fn document(&mut self, text: &'a str) -> DeTable<'a> {
        let (document, errors) = if text.len() <= LISTED_SYNTAX_MAX {
            DeTable::parse_recoverable(text)
        } else {
            DeTable::parse(text).map_or_else(
                |error| (Spanned::new(0..0, DeTable::new()), vec![error]),
                |document| (document, Vec::new()),
            )
        };
        for (index, error) in errors.into_iter().enumerate() {
            let at = error.span().map_or_else(|| deep_key(text), |span| span.start);
            let message = if index < PROBLEMS_MAX { no_toml(text, at, &error) } else { String::new() };
            self.error(at, message);
            self.broken.insert(self.places.line(at));
        }
        document.into_inner()
    }

    /// The tables `[routes]`, `[senders]` and `[replies]`, and nothing else beside them.
    fn tables<'d>(&mut self, document: &'d DeTable<'a>) -> Tables<'d, 'a> {
        let mut tables = Tables::default();
        for (key, value) in in_order(document) {
            let at = key.span().start;
            let name = quoted(key.get_ref());
            match (&**key.get_ref(), value.get_ref()) {
                ("routes", DeValue::Table(table)) => tables.routes = Some(table),
                ("senders", DeValue::Table(table)) => tables.senders = Some(table),
                ("replies", DeValue::Table(table)) => tables.replies = Some(table),
                (own @ ("routes" | "senders" | "replies"), other) => {
                    self.error(at, format!("{own} is {}; it has to be one table, [{own}]", kind(other)));
                }
                (_, DeValue::Table(_)) => {
                    self.error(at, format!("unknown table {name}; there are {TABLES}"));
                }
                _ => self.error(at, format!("{name} stands outside of the tables {TABLES}")),
            }
        }
        if tables.routes.is_none() && self.errors.found.is_empty() {
            self.warning(0, "there is no table [routes], so only the default applies".to_owned());
        }
        tables
    }

    fn lines(&mut self, table: &DeTable<'a>) -> HashMap<Pattern, Line> {
        let mut lines: HashMap<Pattern, Line> = HashMap::with_capacity(table.len());
        for (key, value) in in_order(table) {
            let at = key.span().start;
            let number = self.places.line(at);
            let key = key.get_ref();
            let pattern = Pattern::read(key);
            let leads = self.leads(value);
            match pattern.map(|pattern| lines.entry(pattern)) {
                Err(why) => self.error(at, format!("{why}; a line is for {KEYS}")),
                Ok(Entry::Occupied(first)) => {
                    let first = first.get().number.unwrap_or_default();
                    self.warning(at, format!("{} never matches: line {first} is for the same", quoted(key)));
                }
                Ok(Entry::Vacant(line)) => {
                    line.insert(Line { key: key.to_string(), number: Some(number), at, leads });
                }
            }
        }
        lines
    }

    /// Where a line leads: a destination, a list of them, or the word that refuses.
    fn leads(&mut self, value: &Spanned<DeValue<'a>>) -> Leads {
        let (list, in_list) = match value.get_ref() {
            DeValue::String(word) if word.eq_ignore_ascii_case(REFUSE) => return Leads::Refused,
            DeValue::Array(list) => (list.iter().collect(), true),
            _ => (vec![value], false),
        };
        let mut destinations: Vec<Destination> = Vec::with_capacity(list.len());
        let mut seen = HashSet::with_capacity(list.len());
        for item in list {
            let at = item.span().start;
            let DeValue::String(text) = item.get_ref() else {
                let place = if in_list { " in a list of destinations" } else { "" };
                self.error(at, format!("found {}{place}; {DESTINATIONS}", kind(item.get_ref())));
                continue;
            };
            match Destination::read(text) {
                Err(why) => self.error(at, format!("{why}; {DESTINATIONS}")),
                Ok(destination) if self.domains.contains(destination.domain()) => self.error(
                    at,
                    format!(
                        "{} leads back into {}, so mail would go round; allowed is any other domain",
                        quoted(text),
                        destination.domain()
                    ),
                ),
                Ok(destination) if !seen.insert(destination.to_string()) => {
                    self.warning(at, format!("{} stands in this list twice", quoted(text)));
                }
                Ok(destination) => destinations.push(destination),
            }
        }
        Leads::To(destinations)
    }

    /// Lines for senders, and tables of such lines, each for a recipient.
    fn senders(&mut self, table: &DeTable<'a>) -> Senders {
        let mut everyone = Table::default();
        let mut of_recipients: HashMap<Pattern, Table> = HashMap::new();
        for (key, value) in in_order(table) {
            let DeValue::Table(lines) = value.get_ref() else {
                self.sender(&mut everyone, key, value);
                continue;
            };
            let at = key.span().start;
            let key = key.get_ref();
            match Pattern::read(key) {
                Err(why) => self.error(at, format!("{why}; a table of senders is for {KEYS}")),
                Ok(pattern) => {
                    let new = || Table { key: key.to_string(), ..Table::default() };
                    let table = of_recipients.entry(pattern).or_insert_with(new);
                    for (key, value) in in_order(lines) {
                        self.sender(table, key, value);
                    }
                }
            }
        }
        Senders::new(everyone, of_recipients)
    }

    /// What is said of answers. What is wrong with it leaves the default.
    fn replies(&mut self, table: &DeTable<'a>) -> ReplyRules {
        let mut rules = ReplyRules::default();
        for (key, value) in in_order(table) {
            let (at, found) = (value.span().start, value.get_ref());
            match (&**key.get_ref(), found) {
                ("enabled", DeValue::Boolean(enabled)) => rules.enabled = *enabled,
                ("enabled", other) => {
                    self.error(at, format!("found {}; allowed are true and false", kind(other)));
                }
                ("per-hour", DeValue::Integer(number)) => {
                    match u32::from_str_radix(number.as_str(), number.radix()) {
                        Ok(number) if (1..=PER_HOUR_MAX).contains(&number) => rules.per_hour = number,
                        _ => self.error(at, format!("found {number}; allowed is 1 to {PER_HOUR_MAX}")),
                    }
                }
                ("per-hour", other) => {
                    self.error(at, format!("found {}; allowed is 1 to {PER_HOUR_MAX}", kind(other)));
                }
                ("allow", DeValue::Array(list)) => {
                    list.iter().for_each(|item| self.allowed(&mut rules, item));
                }
                ("allow", _) => self.allowed(&mut rules, value),
                _ => {
                    let message = format!("unknown key {}; {REPLIES}", quoted(key.get_ref()));
                    self.error(key.span().start, message);
                }
            }
        }
        rules
    }

    /// One who may answer from every alias.
    fn allowed(&mut self, rules: &mut ReplyRules, item: &Spanned<DeValue<'a>>) {
        const ALLOWED: &str = r#"allowed is "user@domain" or a list of these"#;
        let at = item.span().start;
        let read = match item.get_ref() {
            DeValue::String(text) => Address::parse(text).map_err(|error| error.to_string()),
            other => Err(format!("found {}", kind(other))),
        };
        match read {
            Ok(address) => rules.allow.push(address),
            Err(why) => self.error(at, format!("{why}; {ALLOWED}")),
        }
    }

    fn sender(&mut self, table: &mut Table, key: &Spanned<DeString<'a>>, value: &Spanned<DeValue<'a>>) {
        let (at, value_at) = (key.span().start, value.span().start);
        let number = self.places.line(at);
        let key = key.get_ref();
        let pattern = match Pattern::read(key) {
            Ok(Pattern::User(_)) => {
                let message = format!("expected an @ in {}; a sender is {SENDERS}", quoted(key));
                return self.error(at, message);
            }
            Err(why) => return self.error(at, format!("{why}; a sender is {SENDERS}")),
            Ok(pattern) => pattern,
        };
        let action = match value.get_ref() {
            DeValue::String(word) => SenderAction::read(word).ok_or_else(|| quoted(word)),
            other => Err(kind(other).to_owned()),
        };
        match action {
            Err(found) => self.error(value_at, format!("found {found}; {ACTIONS}")),
            Ok(action) => {
                if let Err(first) = table.insert(pattern, key.to_string(), number, at, action) {
                    let message = format!("{} never matches: line {first} is for the same", quoted(key));
                    self.warning(at, message);
                }
            }
        }
    }
}

impl Destination {
    /// An address, which may have a display name in front of it as in a header, or `@domain`. The name is
    /// for the file's readers only: a message keeps the one that it calls the recipient by.
    fn read(text: &str) -> Result<Destination, String> {
        if let Some(domain) = text.strip_prefix('@') {
            return whole_domain(text, domain).map(Destination::Domain);
        }
        let address = text.trim_end().strip_suffix('>').and_then(|rest| Some(rest.rsplit_once('<')?.1));
        let address = Address::parse(address.unwrap_or(text));
        address.map(Destination::Mailbox).map_err(|error| error.to_string())
    }
}

/// The first line that may have a key of more parts than the parser takes (80): of these alone it does not
/// say where they are.
fn deep_key(text: &str) -> usize {
    let mut lines = text.split_inclusive('\n').scan(0, |next, line| {
        let at = *next;
        *next += line.len();
        Some((at, line))
    });
    let is_deep = |line: &str| line.split('=').next().is_some_and(|key| key.matches('.').count() >= 80);
    lines.find(|(_, line)| is_deep(line)).map_or(text.len(), |(at, _)| at)
}

/// What the parser found, why it is none of TOML's, and what is allowed there, which it does not always say.
fn no_toml(text: &str, at: usize, error: &toml::de::Error) -> String {
    let found = match text[at..].lines().next() {
        None => "the end of the file".to_owned(),
        Some("") => "the end of the line".to_owned(),
        Some(line) => {
            let least = error.span().map_or(line.len(), |span| span.len()).clamp(1, line.len());
            let end = (least..=line.len()).find(|end| line.is_char_boundary(*end));
            quoted(&line[..end.unwrap_or(line.len())])
        }
    };
    let message = error.message();
    let allowed = if message.contains("expected") { "" } else { LINES };
    format!("not TOML: found {found}: {message}{}{allowed}", hint(text, at))
}

/// What most likely makes a line no TOML.
fn hint(text: &str, at: usize) -> &'static str {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default();
    if key.contains('@') && !key.contains(['"', '\'']) { " (a key with an @ needs quotes)" } else { "" }
}

/// The members of a table in the order of the file.
fn in_order<'d, 'a>(table: &'d DeTable<'a>) -> Vec<(&'d Spanned<DeString<'a>>, &'d Spanned<DeValue<'a>>)> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(key, _)| key.span().start);
    members
}

/// What a value is, for a sentence.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table (a key with a dot or @ needs quotes)",
    }
}

//! What SMTP took, held against what is there: records, mailboxes, notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::Read,
    path::Path,
};

use anyhow::Context;
use mail_parser::MessageParser;
use serde_json::Value;
use ses_forwarder_local_stack::Parts;

use super::{Accepted, Taken, is_refused, is_spam};

/// Where notices go by mail.
const OPERATOR: &str = "operator@out.example";

/// Tries after which a message is given up that SES may have taken in each: `handle-dead-letter`'s number.
const DOUBTS: usize = 3;

/// Bytes of a message that its header stands in.
const HEADER: u64 = 16 << 10;

/// What became of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Taken by SMTP.
    pub accepted: usize,
    /// Recorded as forwarded, and in the mailbox.
    pub forwarded: usize,
    /// Recorded as dropped, and in no mailbox.
    pub dropped: usize,
    /// Refused by SES for good, and told to the operator.
    pub refused: usize,
    /// Given up, as SES may have taken it each time, and told to the operator.
    pub given_up: usize,
    /// Of them, those that SES has not taken: the functions were killed before they sent them.
    pub unsent: usize,
    /// In its mailbox more than once, with a fault on its way.
    pub doubled: usize,
    /// On the queue for a time.
    pub dead_letters: usize,
    /// Invocations, retries included.
    pub invocations: usize,
    /// Faults met.
    pub faults: usize,
    /// Peak memory of the functions' processes in MB, over the first and the second half.
    pub memory_mb: [u64; 2],
    /// What must not be.
    pub problems: Vec<String>,
}

/// What is there in the end.
#[derive(Debug, Default)]
struct Found {
    /// Ids of the stored messages.
    stored: BTreeSet<String>,
    /// Ids of the archived notifications.
    archived: BTreeSet<String>,
    /// Recorded status, by id.
    status: BTreeMap<String, String>,
    /// Copies in the mailboxes, by number.
    copies: BTreeMap<usize, usize>,
    /// All that the operator was told.
    told: String,
}

impl Taken {
    /// Accounts for every message.
    pub async fn account(self, stack: &Parts) -> anyhow::Result<Account> {
        let found = Found::on(stack, &self.published).await?;
        let Taken { messages, invocations, memory_mb, problems, .. } = self;
        let mut account = Account { invocations, memory_mb, problems, ..Account::default() };
        for message in &messages {
            account.add(message, &found, || stack.story(&message.id));
        }
        let ids: BTreeSet<_> = messages.into_iter().map(|message| message.id).collect();
        let strangers = found.status.keys().chain(&found.stored).filter(|id| !ids.contains(*id));
        account.problems.extend(strangers.map(|id| format!("message {id} was never taken by SMTP")));
        Ok(account)
    }
}

impl Found {
    async fn on(stack: &Parts, published: &str) -> anyhow::Result<Found> {
        let mut found = Found { told: published.to_owned(), ..Found::default() };
        found.stored = ids(&stack.keys("messages/").await);
        found.archived = ids(&stack.keys("index/").await);
        for key in stack.keys("outcome/").await {
            let record = stack.object(&key).await.context("it was listed")?;
            let outcome: Value = serde_json::from_slice(&record).with_context(|| key.clone())?;
            let status = outcome["status"].as_str().unwrap_or_default().to_owned();
            found.status.insert(id(&key), status);
        }
        for mailbox in std::fs::read_dir(stack.data().join("maildir"))? {
            let mailbox = mailbox?;
            for mail in std::fs::read_dir(mailbox.path().join("new"))? {
                found.read(&mail?.path(), mailbox.file_name() == OPERATOR)?;
            }
        }
        Ok(found)
    }

    /// Reads a mail: a notice, or one of the messages.
    fn read(&mut self, path: &Path, is_notice: bool) -> anyhow::Result<()> {
        if is_notice {
            let mail = std::fs::read(path)?;
            let notice = MessageParser::new().parse(&mail).context("a notice is a mail")?;
            self.told.push_str(&notice.body_text(0).unwrap_or_default());
            return Ok(());
        }
        let mut header = Vec::new();
        File::open(path)?.take(HEADER).read_to_end(&mut header)?;
        let mail = MessageParser::new().parse_headers(&header).context("a message has a header")?;
        let number = mail.subject().and_then(|subject| subject.strip_prefix("Number ")?.parse().ok());
        *self.copies.entry(number.context("a message has a number")?).or_default() += 1;
        Ok(())
    }
}

/// The id that a key ends with.
fn id(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.strip_suffix(".json").unwrap_or(name).to_owned()
}

fn ids(keys: &[String]) -> BTreeSet<String> {
    keys.iter().map(|key| id(key)).collect()
}

impl Account {
    fn add(&mut self, message: &Accepted, found: &Found, story: impl Fn() -> String) {
        let Accepted { number, id, faults, doubts, queued } = message;
        self.accepted += 1;
        self.faults += faults;
        self.dead_letters += usize::from(*queued);
        let mut problem = |what: &str| {
            self.problems.push(format!("message {id} {what}:\n{}", story()));
        };
        if !found.stored.contains(id) {
            problem("is not in the bucket");
        }
        if !found.archived.contains(id) {
            problem("has no archived notification");
        }
        let copies = found.copies.get(number).copied().unwrap_or_default();
        if copies > 1 && *faults == 0 {
            problem("was sent twice without a fault");
        }
        let told = found.told.contains(id.as_str());
        match (found.status.get(id).map(String::as_str), copies) {
            (Some("forwarded"), 1..) if !is_spam(*number) && !is_refused(*number) => self.forwarded += 1,
            (Some("dropped"), 0) if is_spam(*number) => self.dropped += 1,
            (Some("rejected"), 0) if is_refused(*number) && told => self.refused += 1,
            (Some("failed"), 1..) if told => self.given_up += 1,
            // Nobody but SES knows that it was not.
            (Some("failed"), 0) if told && *doubts >= DOUBTS => {
                self.given_up += 1;
                self.unsent += 1;
            }
            (status, copies) => {
                let words = if told { "was told" } else { "was not told" };
                let status = status.unwrap_or("nothing");
                problem(&format!("is recorded as {status}, sent {copies} times, and {words}"));
            }
        }
        self.doubled += usize::from(copies > 1);
    }

    /// Whether every message is accounted for, and needs nobody.
    pub fn balances(&self) -> bool {
        let Account { accepted, forwarded, dropped, refused, given_up, .. } = self;
        self.problems.is_empty() && *accepted == forwarded + dropped + refused + given_up
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { accepted, forwarded, dropped, refused, given_up, doubled, dead_letters, .. } = self;
        let Account { unsent, invocations, faults, memory_mb: [first, second], .. } = self;
        writeln!(f, "accepted       {accepted}")?;
        writeln!(f, "forwarded      {forwarded}, of them {doubled} more than once")?;
        writeln!(f, "dropped        {dropped}")?;
        writeln!(f, "refused        {refused}, each told")?;
        writeln!(f, "given up       {given_up}, each told, of them {unsent} not sent")?;
        writeln!(f, "dead letters   {dead_letters}, of them 0 left in the queue")?;
        writeln!(f, "invocations    {invocations}, with {faults} faults")?;
        writeln!(f, "peak memory    {first} MB in the first half, {second} MB in the second")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that is neither spam nor refused, one that is spam, and one that SES refuses.
    const NUMBERS: [usize; 3] = [1, 7, 13];

    fn found(status: Option<&str>, copies: usize, told: bool) -> Found {
        let set = || BTreeSet::from(["m".to_owned()]);
        Found {
            stored: set(),
            archived: set(),
            status: status.map(|status| ("m".to_owned(), status.to_owned())).into_iter().collect(),
            copies: NUMBERS.map(|number| (number, copies)).into(),
            told: if told { "see messages/m".to_owned() } else { String::new() },
        }
    }

    fn account(number: usize, faults: usize, found: &Found) -> Account {
        account_in_doubt(number, faults, 0, found)
    }

    fn account_in_doubt(number: usize, faults: usize, doubts: usize, found: &Found) -> Account {
        let mut account = Account::default();
        let message = Accepted { number, id: "m".to_owned(), faults, doubts, queued: false };
        account.add(&message, found, String::new);
        account
    }

    #[test]
    fn only_what_is_where_it_belongs_is_accounted_for() {
        let [plain, spam, refused] = NUMBERS;
        let cases = [
            ("forwarded", plain, found(Some("forwarded"), 1, false), true),
            ("forwarded twice", plain, found(Some("forwarded"), 2, false), true),
            ("recorded, and not sent", plain, found(Some("forwarded"), 0, false), false),
            ("sent, and not recorded", plain, found(None, 1, false), false),
            ("lost", plain, found(None, 0, false), false),
            ("lost, and told", plain, found(None, 0, true), false),
            ("left to wait", plain, found(Some("failed"), 0, false), false),
            ("given up, and not sent", plain, found(Some("failed"), 0, true), false),
            ("given up, but sent", plain, found(Some("failed"), 1, true), true),
            ("given up, and not told", plain, found(Some("failed"), 1, false), false),
            ("claimed for ever", plain, found(Some("sending"), 1, false), false),
            ("dropped without a reason", plain, found(Some("dropped"), 0, false), false),
            ("spam", spam, found(Some("dropped"), 0, false), true),
            ("spam that went out", spam, found(Some("dropped"), 1, false), false),
            ("spam that was forwarded", spam, found(Some("forwarded"), 1, false), false),
            ("refused", refused, found(Some("rejected"), 0, true), true),
            ("refused, and not told", refused, found(Some("rejected"), 0, false), false),
        ];
        for (name, number, found, balances) in cases {
            assert_eq!(account(number, 1, &found).balances(), balances, "{name}");
        }
        let unsent = found(Some("failed"), 0, true);
        assert!(!account_in_doubt(plain, 3, DOUBTS - 1, &unsent).balances(), "given up too soon");
        let given_up = account_in_doubt(plain, 3, DOUBTS, &unsent);
        assert!(given_up.balances(), "given up, as nobody knows whether it was sent");
        assert_eq!((given_up.given_up, given_up.unsent), (1, 1));
        let untold = found(Some("failed"), 0, false);
        assert!(!account_in_doubt(plain, 3, DOUBTS, &untold).balances(), "the same, and not told");
        let twice = found(Some("forwarded"), 2, false);
        assert!(!account(plain, 0, &twice).balances(), "twice without a fault");
        for forget in [|found: &mut Found| found.stored.clear(), |found: &mut Found| found.archived.clear()] {
            let mut found = found(Some("forwarded"), 1, false);
            forget(&mut found);
            assert!(!account(plain, 1, &found).balances(), "not in the bucket");
        }
    }
}

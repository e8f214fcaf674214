//! Spam to names that somebody made up: the default route leads all of them to mailboxes that do not exist.
//!
//! Each name may bounce once; from then on its mail is held. An account says how often SES was sent to in vain.

use std::{fmt, ops::Range, time::Duration};

use anyhow::{Context, ensure};
use ses_forwarder::suspended::FRESH;
use ses_forwarder_local_stack::{Client, Config, Stack};
use tokio::task::JoinSet;

/// Time without anything happening after which everything has.
const QUIET: Duration = Duration::from_secs(3);

/// Real time after which a run is given up.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What comes.
#[derive(Debug, Clone, Copy)]
pub struct Dictionary {
    /// Messages.
    pub messages: usize,
    /// Names that they are for, one after the other and then from the first again.
    pub names: usize,
    /// SMTP connections at once.
    pub connections: usize,
    /// The routes file, if there is one.
    pub routes: Option<&'static str>,
    /// Whether no name comes again before it is known for what it is, however slow that goes.
    pub patient: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Taken by SMTP.
    pub accepted: usize,
    /// Refused by SMTP, as the receipt rule is not for their names.
    pub refused: usize,
    /// Dropped, as the routes lead their names nowhere.
    pub dropped: usize,
    /// Names that they were for.
    pub names: usize,
    /// Sent, and bounced.
    pub bounced: usize,
    /// Held, since the name is known.
    pub held: usize,
    /// Of the last half of all messages, those that bounced.
    pub late: usize,
    /// Names on the list in the end.
    pub listed: usize,
    /// Notices of them.
    pub notices: usize,
}

/// Runs it on a stack of its own.
pub async fn run(config: Config, dictionary: Dictionary) -> anyhow::Result<Account> {
    let Dictionary { messages, names, routes, patient, .. } = dictionary;
    ensure!(names > 0 && messages > 0, "there is nothing to send");
    let stack = Stack::start(config).await?;
    if let Some(routes) = routes {
        stack.put_object("config/routes.toml", routes).await;
    }
    stack.faults().add("ses:Deliver(made-up-)=bounce".parse().map_err(anyhow::Error::msg)?);
    let mut ids = Vec::new();
    let first = if patient { names.min(messages) } else { 0 };
    if patient {
        ids.extend(send(&stack, 0..first, dictionary).await?);
        tokio::time::timeout(LIMIT, all_known(&stack, first)).await.context("not all are listed")?;
    }
    ids.extend(send(&stack, first..messages, dictionary).await?);
    tokio::time::timeout(LIMIT, quiet(&stack, ids.len())).await.context("it never ends")?;
    account(&stack, dictionary, &ids).await
}

/// Sends these of the messages, and says which were taken, under which id.
async fn send(
    stack: &Stack,
    numbers: Range<usize>,
    Dictionary { names, connections, .. }: Dictionary,
) -> anyhow::Result<Vec<(usize, String)>> {
    let mut sending = JoinSet::new();
    for first in numbers.clone().take(connections.max(1)) {
        let (smtp, end) = (stack.smtp(), numbers.end);
        sending.spawn(async move {
            let mut client = Client::connect(smtp).await?;
            let mut ids = Vec::new();
            for number in (first..end).step_by(connections.max(1)) {
                let to = format!("made-up-{}@in.example", number % names);
                let message =
                    format!("From: Eve <eve@else.example>\r\nSubject: Number {number}\r\n\r\nBuy\r\n");
                match client.send(Some("eve@else.example"), &[&to], message.as_bytes()).await {
                    Ok(id) => ids.push((number, id)),
                    // The rule is for nobody of that name.
                    Err(error) if error.to_string().starts_with("550 ") => {
                        client = Client::connect(smtp).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::new();
    while let Some(sent) = sending.join_next().await {
        ids.extend(sent??);
    }
    Ok(ids)
}

/// Waits until so many names are listed, and whoever has read the list before reads it again.
async fn all_known(stack: &Stack, names: usize) {
    while listed(stack).await < names {
        tokio::time::sleep(QUIET).await;
    }
    tokio::time::sleep(FRESH).await;
}

/// How many names are listed.
async fn listed(stack: &Stack) -> usize {
    let Some(list) = stack.object("state/destinations.json").await else { return 0 };
    let list: Option<serde_json::Value> = serde_json::from_slice(&list).ok();
    list.and_then(|list| list["destinations"].as_object().map(serde_json::Map::len)).unwrap_or_default()
}

/// Waits until every message has an outcome, every queue is empty, and nothing is under way.
async fn quiet(stack: &Stack, messages: usize) {
    let mut before = 0;
    loop {
        let outcomes = stack.keys("outcome/").await.len();
        let empty = stack.deployment().queues.iter().all(|queue| stack.queue_depth(&queue.name) == (0, 0));
        if empty && outcomes >= messages && outcomes == before {
            return;
        }
        before = outcomes;
        tokio::time::sleep(QUIET).await;
    }
}

async fn account(
    stack: &Stack,
    Dictionary { messages, names, .. }: Dictionary,
    ids: &[(usize, String)],
) -> anyhow::Result<Account> {
    let mut account = Account {
        accepted: ids.len(),
        refused: messages - ids.len(),
        dropped: 0,
        names,
        bounced: 0,
        held: 0,
        late: 0,
        listed: listed(stack).await,
        notices: stack.published().len(),
    };
    for (number, id) in ids {
        let outcome = stack.outcome(id).await.with_context(|| format!("message {id} has no outcome"))?;
        match outcome["status"].as_str() {
            Some("held") => account.held += 1,
            Some("dropped") => account.dropped += 1,
            Some("forwarded") if outcome["delivery"][0]["event"] == "bounced" => {
                account.bounced += 1;
                account.late += usize::from(*number >= messages / 2);
            }
            _ => anyhow::bail!("message {id}: {outcome}\n{}", stack.story(id)),
        }
    }
    Ok(account)
}

impl Account {
    /// Whether each name bounced once at most, in the end none did, and nobody was told.
    pub fn holds(&self) -> bool {
        self.bounced <= self.names
            && self.bounced + self.held == self.accepted
            && self.late == 0
            && self.notices == 0
            && self.listed == self.names.min(self.accepted)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "accepted       {}, for {} names", self.accepted, self.names)?;
        writeln!(f, "bounced        {}, of them {} in the second half", self.bounced, self.late)?;
        writeln!(f, "held           {}", self.held)?;
        writeln!(f, "listed         {}", self.listed)?;
        writeln!(f, "notices        {}", self.notices)
    }
}

//! More mail than SES takes: sending is paused for days while messages arrive, or throttled while they all
//! come at once. Nobody types a command, and an account says what became of it all.
//!
//! Days pass in minutes, so the functions' own work takes longer, by the stack's clock, than it would on AWS:
//! a run shows that everything comes through once, not how soon.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ses_forwarder_local_aws::{journal::Event, pace::Pace};
use ses_forwarder_local_stack::{Client, Config, Stack};
use tokio::{sync::broadcast::error::RecvError, task::JoinSet};

/// SMTP connections for messages that come at once.
const CONNECTIONS: usize = 4;

/// SendEmail calls a message that are too many while SES throttles.
const MOST_ASKED: f64 = 3.0;

/// Real time after which a run is given up.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What comes, and what SES does not take.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Messages.
    pub messages: usize,
    /// Sending is paused for so many hours, over which the messages are spread; if 0 they all come at once.
    pub paused_hours: u32,
    /// Recipients a second that SES takes.
    pub rate: Option<u32>,
    /// Instances of functions at once.
    pub instances: usize,
    /// How much faster the clock runs than on AWS; as much as suits the rest if `None`.
    pub times: Option<u32>,
}

impl Backlog {
    /// Days of waiting pass in minutes. What SES takes in a second may not be more than the functions do in
    /// the part of a second that this is here.
    fn times(&self) -> u32 {
        self.times.unwrap_or(if self.rate.is_some() { 20 } else { 500 })
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Taken by SMTP.
    pub accepted: usize,
    /// Recorded as forwarded, with one send.
    pub forwarded: usize,
    /// Copies that SES took of them all.
    pub copies: usize,
    /// SendEmail calls, of notices too.
    pub asked: usize,
    /// Whether SES took a few a second only.
    pub throttled: bool,
    /// Subjects of notices, oldest first.
    pub notices: Vec<String>,
    /// What Lambda gave up and no queue kept.
    pub lost: Vec<String>,
    /// Hours that passed by the stack's clock.
    pub hours: u64,
}

/// Runs it on a stack of its own.
pub async fn run(config: Config, backlog: Backlog) -> anyhow::Result<Account> {
    let pace = Pace::times(backlog.times());
    let stack = Stack::start(Config { pace, concurrency: backlog.instances, ..config }).await?;
    let seen = collect(&stack);
    let started = Instant::now();
    let paused = backlog.paused_hours > 0;
    stack.services().ses().configure(|account| {
        account.max_send_rate = backlog.rate;
        account.sending_enabled = !paused;
    });
    if paused {
        let pause = pace.scale(Duration::from_secs(60 * 60) * backlog.paused_hours);
        let apart = pause.div_f64(backlog.messages.max(1) as f64);
        let mut client = Client::connect(stack.smtp()).await?;
        for number in 0..backlog.messages {
            tokio::time::sleep(
                apart.saturating_mul(u32::try_from(number)?).saturating_sub(started.elapsed()),
            )
            .await;
            client.send(Some("ann@else.example"), &["info@in.example"], &message(number)).await?;
        }
        tokio::time::sleep(pause.saturating_sub(started.elapsed())).await;
        stack.services().ses().configure(|account| account.sending_enabled = true);
    } else {
        // None begins before all are there.
        let hold = stack.lambda().hold().await;
        let mut connections = JoinSet::new();
        for first in 0..CONNECTIONS {
            let (smtp, messages) = (stack.smtp(), backlog.messages);
            connections.spawn(async move {
                let mut client = Client::connect(smtp).await?;
                for number in (first..messages).step_by(CONNECTIONS) {
                    client.send(Some("ann@else.example"), &["info@in.example"], &message(number)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(connection) = connections.join_next().await {
            connection??;
        }
        drop(hold);
    }
    through(&stack, backlog.messages).await?;
    let seen = seen.lock().expect("no holder of this lock panics").clone();
    account(&stack, backlog, started.elapsed(), seen).await
}

/// Waits until every message has an outcome and no letter is left.
async fn through(stack: &Stack, messages: usize) -> anyhow::Result<()> {
    let queue = stack.deployment().queues.first().context("the template has a queue")?;
    let all = async {
        loop {
            let outcomes = stack.keys("outcome/").await.len();
            if outcomes >= messages && stack.queue_depth(&queue.name) == (0, 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let depth = || stack.queue_depth(&queue.name);
    tokio::time::timeout(LIMIT, all).await.with_context(|| format!("letters are left: {:?}", depth()))
}

/// What the journal tells on the way. It forgets what is long past in a run like this.
#[derive(Debug, Default, Clone)]
struct Seen {
    notices: Vec<String>,
    lost: Vec<String>,
}

/// Collects from now on.
fn collect(stack: &Stack) -> Arc<Mutex<Seen>> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (_, mut live) = stack.journal().follow();
    let collected = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let received = live.recv().await;
            let mut seen = collected.lock().expect("no holder of this lock panics");
            match received {
                Ok(entry) => match &entry.event {
                    Event::Published { subject, .. } => seen.notices.push(subject.clone()),
                    Event::Lost { error, .. } => seen.lost.push(error.clone()),
                    _ => {}
                },
                Err(RecvError::Lagged(missed)) => seen.lost.push(format!("{missed} entries of the journal")),
                Err(RecvError::Closed) => return,
            }
        }
    });
    seen
}

async fn account(
    stack: &Stack,
    backlog: Backlog,
    took: Duration,
    Seen { notices, lost }: Seen,
) -> anyhow::Result<Account> {
    let mut forwarded = 0;
    for key in stack.keys("outcome/").await {
        let record = stack.object(&key).await.context("it was listed")?;
        let outcome: serde_json::Value = serde_json::from_slice(&record)?;
        let once = outcome["sent"].as_array().is_some_and(|sent| sent.len() == 1);
        forwarded += usize::from(outcome["status"] == "forwarded" && once);
    }
    let mailbox = stack.data().join("maildir/info@out.example/new");
    let copies = std::fs::read_dir(&mailbox).map_or(0, Iterator::count);
    ensure!(stack.keys("messages/").await.len() == backlog.messages, "messages are missing from the bucket");
    Ok(Account {
        accepted: backlog.messages,
        forwarded,
        copies,
        asked: stack.services().ses().asked(),
        throttled: backlog.rate.is_some(),
        notices,
        lost,
        hours: (took * backlog.times()).as_secs() / 3600,
    })
}

fn message(number: usize) -> Vec<u8> {
    format!("From: Ann <ann@else.example>\r\nSubject: Number {number}\r\n\r\nHi\r\n").into_bytes()
}

impl Account {
    /// Whether every message went out once, SES was asked less than three times a message while it took few
    /// of them, and nobody was told more than once an hour that mail waits, or that it goes out.
    pub fn holds(&self) -> bool {
        let kinds = ["Mail goes out again", "Mail is delayed"];
        let of = |kind: &str| self.notices.iter().filter(|subject| subject.contains(kind)).count();
        self.forwarded == self.accepted
            && self.copies == self.accepted
            && self.lost.is_empty()
            && (!self.throttled || self.asked_per_message() < MOST_ASKED)
            && kinds.iter().all(|kind| of(kind) as u64 <= self.hours + 1)
            && kinds.iter().map(|kind| of(kind)).sum::<usize>() == self.notices.len()
    }

    /// SendEmail calls a message.
    pub fn asked_per_message(&self) -> f64 {
        self.asked as f64 / self.accepted.max(1) as f64
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "accepted       {}", self.accepted)?;
        writeln!(f, "forwarded      {}, in {} copies", self.forwarded, self.copies)?;
        writeln!(f, "SendEmail      {:.2} calls a message", self.asked_per_message())?;
        writeln!(f, "notices        {}", self.notices.len())?;
        self.notices.iter().try_for_each(|subject| writeln!(f, "               {subject}"))?;
        self.lost.iter().try_for_each(|what| writeln!(f, "lost           {what}"))?;
        writeln!(f, "hours          {}", self.hours)
    }
}

//! Many messages at once while calls fail and functions are killed, and an account of each: what was accepted is
//! forwarded, dropped or told to the operator, and nothing is sent twice without a fault that explains it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ses_forwarder_local_aws::{
    faults::{Effect, Fault, When},
    journal::{End, Event},
};
use ses_forwarder_local_stack::{Client, Parts};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::privacy::leaks;

/// Mailboxes written to.
const DESTINATIONS: usize = 50;

/// Messages under way at once: enough to keep all instances busy.
const UNDER_WAY: usize = 200;

/// What the faults do, each with its part of the chance.
const EFFECTS: [Effect; 5] =
    [Effect::Throttle, Effect::Internal, Effect::ResetAfter, Effect::KillBefore, Effect::KillAfter];

/// How much to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// So many messages, whatever time they take.
    pub messages: usize,
    /// Go on for this long at least.
    pub time: Duration,
    /// SMTP connections.
    pub connections: usize,
    /// Calls in a hundred that fail; rounded up to a multiple of five.
    pub fault_percent: u8,
}

/// What became of the messages.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Taken by SMTP.
    pub accepted: usize,
    /// Recorded as forwarded.
    pub forwarded: usize,
    /// Recorded as dropped.
    pub dropped: usize,
    /// Told to the operator.
    pub dead_lettered: usize,
    /// Sent to a destination more than once, with a fault on its way.
    pub doubled: usize,
    /// Invocations, retries included.
    pub invocations: usize,
    /// Faults met.
    pub faults: usize,
    /// Peak memory of the functions' processes in MB, over the first and the second half.
    pub memory_mb: [u64; 2],
    /// What must not be, with the message's story.
    pub problems: Vec<String>,
}

/// Sends the load and sees every message through.
pub async fn run(stack: &Parts, load: Load) -> anyhow::Result<Account> {
    let percent = load.fault_percent.div_ceil(EFFECTS.len() as u8);
    for (seed, effect) in EFFECTS.into_iter().enumerate().filter(|_| percent > 0) {
        stack.faults().add(Fault {
            operation: "*".to_owned(),
            prefix: None,
            effect,
            when: When::Chance { percent, seed: seed as u64 + 1 },
        });
    }
    let account = Arc::new(Mutex::new(Account::default()));
    let slots = Arc::new(Semaphore::new(UNDER_WAY));
    let started = Instant::now();
    let mut connections = JoinSet::new();
    for connection in 0..load.connections {
        let (stack, account, slots) = (stack.clone(), Arc::clone(&account), Arc::clone(&slots));
        connections.spawn(async move {
            let mut client = Client::connect(stack.smtp()).await?;
            let mut under_way = JoinSet::new();
            for number in (connection..).step_by(load.connections) {
                if number >= load.messages && started.elapsed() >= load.time {
                    break;
                }
                let slot = Arc::clone(&slots).acquire_owned().await?;
                let message = message(number);
                let id = client.send(Some("ann@else.example"), &[&recipient(number)], &message).await?;
                let (stack, account) = (stack.clone(), Arc::clone(&account));
                let late = number >= load.messages / 2 && started.elapsed() >= load.time / 2;
                under_way.spawn(async move {
                    settle(&stack, &id, &message, late, &account).await;
                    drop(slot);
                });
                while under_way.try_join_next().is_some() {}
            }
            under_way.join_all().await;
            anyhow::Ok(())
        });
    }
    connections.join_all().await.into_iter().collect::<anyhow::Result<()>>()?;
    let account = account.lock().expect("no holder of this lock panics").clone();
    Ok(account)
}

/// Every twentieth message is spam.
fn recipient(number: usize) -> String {
    let mailbox = number % DESTINATIONS;
    let label = if number % 20 == 7 { "+spam=FAIL" } else { "" };
    format!("r{mailbox}{label}@in.example")
}

/// Sizes from 1 KB to 1 MB, small ones most often; every hundredth has an attachment that SES refuses.
fn message(number: usize) -> Vec<u8> {
    let name = if number % 100 == 13 { "a.exe" } else { "a.txt" };
    let line = "x".repeat(76);
    let kilobytes = 1 << (number.trailing_zeros().min(10));
    let body = format!("{line}\r\n").repeat(kilobytes * 1024 / (line.len() + 2) + 1);
    format!("From: Ann <ann@else.example>\r\nSubject: Number {number}\r\nContent-Type: text/plain; name={name}\r\n\r\n{body}").into_bytes()
}

async fn settle(stack: &Parts, id: &str, message: &[u8], late: bool, account: &Mutex<Account>) {
    let end = stack.settled(id).await;
    let outcome = stack.outcome(id).await;
    let status = outcome.as_ref().and_then(|outcome| outcome["status"].as_str());
    let entries = stack.journal().of(id);
    let lines = entries.iter().filter_map(|entry| match &entry.event {
        Event::Logged { line, .. } => Some(line),
        _ => None,
    });
    // Before the lock is held: it reads the whole message.
    let leaks = leaks(lines, message);
    let mut account = account.lock().expect("no holder of this lock panics");
    account.accepted += 1;
    match (status, &end) {
        (Some("forwarded"), End::Returned | End::Noticed) => account.forwarded += 1,
        (Some("dropped"), End::Returned | End::Noticed) => account.dropped += 1,
        (_, End::Noticed) => account.dead_lettered += 1,
        _ => account.problem(&format!("ended as {end:?} with the outcome {status:?}"), stack, id),
    }
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = 0;
    for entry in &entries {
        match &entry.event {
            Event::Sent { from, destinations, .. } if !from.starts_with(ses_forwarder::notice::SENDER) => {
                destinations.iter().for_each(|to| *copies.entry(to.clone()).or_default() += 1);
            }
            Event::Fault { .. } => faults += 1,
            Event::Invoked { .. } => account.invocations += 1,
            Event::Returned { memory: Some(memory), .. } => {
                let peak = &mut account.memory_mb[usize::from(late)];
                *peak = (*peak).max(memory >> 20);
            }
            _ => {}
        }
    }
    account.faults += faults;
    if !leaks.is_empty() {
        account.problem("shows private text in a log", stack, id);
    }
    if status == Some("forwarded") && copies.is_empty() {
        account.problem("counts as forwarded and was not sent", stack, id);
    }
    if copies.values().any(|count| *count > 1) {
        account.doubled += 1;
        if faults == 0 {
            account.problem("was sent twice without a fault", stack, id);
        }
    }
}

impl Account {
    fn problem(&mut self, what: &str, stack: &Parts, id: &str) {
        self.problems.push(format!("message {id} {what}:\n{}", stack.story(id)));
    }

    /// Whether every message is accounted for, once.
    pub fn balances(&self) -> bool {
        self.problems.is_empty() && self.accepted == self.forwarded + self.dropped + self.dead_lettered
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account {
            accepted,
            forwarded,
            dropped,
            dead_lettered,
            doubled,
            invocations,
            faults,
            memory_mb,
            ..
        } = self;
        writeln!(f, "accepted       {accepted}")?;
        writeln!(f, "forwarded      {forwarded}, of them {doubled} to a destination more than once")?;
        writeln!(f, "dropped        {dropped}")?;
        writeln!(f, "dead-lettered  {dead_lettered}")?;
        writeln!(f, "invocations    {invocations}, with {faults} faults")?;
        writeln!(f, "peak memory    {} MB in the first half, {} MB in the second", memory_mb[0], memory_mb[1])
    }
}

//! Many messages at once while calls fail and functions are killed, and an account of each.
//!
//! [`send`] keeps what SMTP took, and sees every message and the queue through. [`Taken::account`] then holds
//! that against what is there: the records in the bucket, the mailboxes, and what the operator was told. It
//! asks neither functions nor journal what became of a message, so one that got lost fails the run.

mod account;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ses_forwarder_local_aws::{
    faults::{Effect, Fault, When},
    journal::{End, Event},
};
use ses_forwarder_local_stack::{Client, Config, Parts, privacy::leaks};
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError},
    task::JoinSet,
};

pub use self::account::Account;

/// Mailboxes written to.
const DESTINATIONS: usize = 50;

/// Messages under way at once: enough to keep all instances busy.
const UNDER_WAY: usize = 200;

/// No message takes longer, nor does the queue to be empty. A claim whose owner was killed bars others for two minutes by
/// the machine's clock, and a message may be killed so more than once.
const LIMIT: Duration = Duration::from_secs(600);

/// What the faults do, each with its part of the chance.
const EFFECTS: [Effect; 5] =
    [Effect::Throttle, Effect::Internal, Effect::ResetAfter, Effect::KillBefore, Effect::KillAfter];

/// The stack to send to: one that tells each message that SES refuses, so that a refusal and the notice of it are
/// accounted for too.
pub fn config() -> Config {
    let mut config = Config::default();
    config.parameters.insert("OnRefused".to_owned(), "notice".to_owned());
    config
}

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

/// What SMTP took, and what was seen on the way.
#[derive(Debug, Default)]
pub struct Taken {
    messages: Vec<Accepted>,
    invocations: usize,
    /// Peak memory of the functions' processes in MB, over the first and the second half.
    memory_mb: [u64; 2],
    /// Text of all notices that went out by SNS.
    published: String,
    /// What must not be, and was seen on the way.
    problems: Vec<String>,
}

/// A message that SMTP took.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    number: usize,
    id: String,
    /// Faults on its way.
    faults: usize,
    /// Those of them after which nobody may know whether SES has taken it.
    doubts: usize,
    /// Whether it was on the queue.
    queued: bool,
}

/// Sends the load and sees every message through.
pub async fn run(stack: &Parts, load: Load) -> anyhow::Result<Account> {
    send(stack, load).await?.account(stack).await
}

/// Sends the load, and waits until nothing is under way and the queue is empty.
pub async fn send(stack: &Parts, load: Load) -> anyhow::Result<Taken> {
    let percent = load.fault_percent.div_ceil(EFFECTS.len() as u8);
    for (seed, effect) in EFFECTS.into_iter().enumerate().filter(|_| percent > 0) {
        stack.faults().add(Fault {
            operation: "*".to_owned(),
            prefix: None,
            effect,
            when: When::Chance { percent, seed: seed as u64 + 1 },
        });
    }
    let taken = Arc::new(Mutex::new(Taken::default()));
    collect_notices(stack, &taken);
    let slots = Arc::new(Semaphore::new(UNDER_WAY));
    let started = Instant::now();
    let mut connections = JoinSet::new();
    for connection in 0..load.connections {
        let (stack, taken, slots) = (stack.clone(), Arc::clone(&taken), Arc::clone(&slots));
        connections.spawn(async move {
            let mut client = Client::connect(stack.smtp()).await?;
            let mut under_way = JoinSet::new();
            for number in (connection..).step_by(load.connections) {
                if number >= load.messages && started.elapsed() >= load.time {
                    break;
                }
                let slot = Arc::clone(&slots).acquire_owned().await?;
                let text = message(number);
                let id = client.send(Some("ann@else.example"), &[&recipient(number)], &text).await?;
                // Noted before anything else can go wrong: it has to be accounted for.
                let place = taken.lock().expect("no holder of this lock panics").note(number, &id);
                let (stack, taken) = (stack.clone(), Arc::clone(&taken));
                let late = number >= load.messages / 2 && started.elapsed() >= load.time / 2;
                under_way.spawn(async move {
                    watch(&stack, &id, &text, late, (&taken, place)).await;
                    drop(slot);
                });
                while let Some(watched) = under_way.try_join_next() {
                    watched?;
                }
            }
            while let Some(watched) = under_way.join_next().await {
                watched?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    emptied(stack).await?;
    let taken = std::mem::take(&mut *taken.lock().expect("no holder of this lock panics"));
    Ok(taken)
}

/// Every twentieth message is spam.
fn is_spam(number: usize) -> bool {
    number % 20 == 7
}

/// Every hundredth has an attachment that SES refuses.
fn is_refused(number: usize) -> bool {
    number % 100 == 13
}

fn recipient(number: usize) -> String {
    let label = if is_spam(number) { "+spam=FAIL" } else { "" };
    format!("r{}{label}@in.example", number % DESTINATIONS)
}

/// Sizes from 1 KB to 1 MB, small ones most often.
fn message(number: usize) -> Vec<u8> {
    let name = if is_refused(number) { "a.exe" } else { "a.txt" };
    let line = "x".repeat(76);
    let kilobytes = 1 << (number.trailing_zeros().min(10));
    let body = format!("{line}\r\n").repeat(kilobytes * 1024 / (line.len() + 2) + 1);
    format!("From: Ann <ann@else.example>\r\nSubject: Number {number}\r\nContent-Type: text/plain; name={name}\r\n\r\n{body}").into_bytes()
}

/// Sees a message through, and notes what the journal knows of it before that forgets.
async fn watch(stack: &Parts, id: &str, text: &[u8], late: bool, (taken, place): (&Mutex<Taken>, usize)) {
    let end = tokio::time::timeout(LIMIT, stack.journal().ended(id)).await;
    let entries = stack.journal().of(id);
    let lines = entries.iter().filter_map(|entry| match &entry.event {
        Event::Logged { line, .. } => Some(line),
        _ => None,
    });
    // Before the lock is held: it reads the whole message.
    let leaks = leaks(lines, text);
    let mut taken = taken.lock().expect("no holder of this lock panics");
    for entry in &entries {
        match &entry.event {
            Event::Fault { what } => {
                taken.messages[place].faults += 1;
                taken.messages[place].doubts += usize::from(leaves_in_doubt(what));
            }
            Event::DeadLettered { .. } => taken.messages[place].queued = true,
            Event::Invoked { .. } => taken.invocations += 1,
            Event::Returned { memory: Some(memory), .. } => {
                let peak = &mut taken.memory_mb[usize::from(late)];
                *peak = (*peak).max(memory >> 20);
            }
            _ => {}
        }
    }
    let mut problem = |what: &str| {
        taken.problems.push(format!("message {id} {what}:\n{}", stack.story(id)));
    };
    match end {
        Ok(End::Returned | End::Noticed) => {}
        Ok(End::Lost(error)) => problem(&format!("is given up by Lambda: {error}")),
        Err(_) => problem("does not come to an end"),
    }
    if !leaks.is_empty() {
        problem("shows private text in a log");
    }
}

/// Whether the function was killed, or the answer to a call that took effect lost.
fn leaves_in_doubt(fault: &str) -> bool {
    [Effect::ResetAfter, Effect::KillBefore, Effect::KillAfter]
        .iter()
        .any(|effect| fault.contains(&format!("={effect}")))
}

/// Waits until no message is on the queue.
async fn emptied(stack: &Parts) -> anyhow::Result<()> {
    let queue = &stack.deployment().queues.first().context("the template has a queue")?.name;
    let started = Instant::now();
    while stack.queue_depth(queue) != (0, 0) {
        ensure!(started.elapsed() < LIMIT, "letters are left on the queue: {:?}", stack.queue_depth(queue));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Keeps what is published from now on: the journal forgets it in a long run.
fn collect_notices(stack: &Parts, taken: &Arc<Mutex<Taken>>) {
    let (_, mut live) = stack.journal().follow();
    let taken = Arc::downgrade(taken);
    tokio::spawn(async move {
        loop {
            let said = match live.recv().await {
                Ok(entry) => match &entry.event {
                    Event::Published { text, .. } => Ok(text.clone()),
                    _ => continue,
                },
                Err(RecvError::Lagged(missed)) => Err(format!("{missed} entries of the journal were missed")),
                Err(RecvError::Closed) => return,
            };
            let Some(taken) = taken.upgrade() else { return };
            let mut taken = taken.lock().expect("no holder of this lock panics");
            match said {
                Ok(text) => taken.published.push_str(&text),
                Err(missed) => taken.problems.push(missed),
            }
        }
    });
}

impl Taken {
    /// Keeps a message in mind, and returns its place.
    fn note(&mut self, number: usize, id: &str) -> usize {
        self.messages.push(Accepted { number, id: id.to_owned(), faults: 0, doubts: 0, queued: false });
        self.messages.len() - 1
    }
}

//! What forwarding costs: the real `handle-email`, measured as a process.
//!
//! It runs in the local stack, one message after the other. What is measured is its start, the time it
//! takes for a message, its processor time and its peak memory. The latter two are the kernel's numbers for
//! the process ([`process`]), so nothing of the stack is in them; they exist on Linux only, and so does this. The time
//! has the stack's own work in it.
//!
//! Times on a machine that does other things drift by half. Two binaries are therefore compared by
//! measuring them in turn, round by round.

mod process;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use ses_forwarder::suspended::FRESH;
use ses_forwarder_local_aws::{
    faults::{Effect, Fault, When},
    journal::Event,
};
use ses_forwarder_local_stack::{Config, Functions, Stack};

use self::process::Process;
pub use self::process::check;

/// The binary that is measured, as the template names it.
const BINARY: &str = "handle-email";

/// Folders of what is kept between messages: the routes, and who refuses mail.
const KEPT: [&str; 2] = ["/config/", "/state/"];

/// What each event is made of.
const EVENT: &str = include_str!("../../../../../events/ses-event.json");

/// Messages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Bytes of the stored message.
    pub size: usize,
    /// How many.
    pub count: usize,
}

/// What starting a function cost.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Until it asks for its first event.
    pub wall: Duration,
    /// Processor time until then.
    pub cpu: Option<Duration>,
}

/// What messages of one size cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Of each message, from the event's hand-over to the answer.
    pub walls: Vec<Duration>,
    /// Processor time of a message, on average.
    pub cpu: Option<Duration>,
    /// Peak resident memory in bytes while these messages were handled.
    pub peak: Option<u64>,
    /// Calls to AWS for a message, on average: without those that are made by the clock.
    pub calls: f64,
}

/// A function's costs.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Of starting it.
    pub start: Start,
    /// Of each phase.
    pub costs: Vec<Cost>,
}

/// Starts a function in a stack of its own and lets it handle the messages of each phase. Each call to AWS
/// takes `latency` longer.
pub async fn measure(binary: &Path, latency: Duration, phases: &[Phase]) -> anyhow::Result<Measured> {
    let config = Config { watched: false, ..Config::default() };
    let names = config.deployment()?.functions.into_iter().map(|function| function.binary);
    // The other function gets no events here.
    let binaries = names.map(|name| (name, binary.to_owned())).collect();
    let stack = Stack::start(Config { functions: Functions::Ready(binaries), ..config }).await?;
    // The largest messages are sent too: what is measured is how long that takes.
    stack.services().ses().configure(|account| account.limit_is_encoded = false);
    let functions = &stack.deployment().functions;
    let function =
        functions.iter().find(|function| function.binary == BINARY).map(|function| &function.logical_id);
    let function = function.with_context(|| format!("the template has no function {BINARY}"))?.clone();
    if !latency.is_zero() {
        let (operation, effect) = ("*".to_owned(), Effect::Slow(latency));
        stack.faults().add(Fault { operation, prefix: None, effect, when: When::Always });
    }
    let started = Instant::now();
    // An event that tells of nothing: what is left is to start.
    let _ = stack.invoke(&function, &json!({})).await;
    let wall = started.elapsed();
    let process = Process::child(binary)?;
    let start = Start { wall, cpu: process.cpu() };
    let mut costs = Vec::new();
    for (number, phase) in phases.iter().enumerate() {
        costs.push(phase.run(&stack, &function, &process, number).await?);
    }
    Ok(Measured { start, costs })
}

impl Phase {
    async fn run(
        self,
        stack: &Stack,
        function: &str,
        process: &Process,
        number: usize,
    ) -> anyhow::Result<Cost> {
        let message = message(self.size);
        let calls = calls(stack);
        process.forget_peak();
        let mut cpu = Some(Duration::ZERO);
        let mut walls = Vec::with_capacity(self.count);
        for index in 0..self.count {
            let id = format!("bench-{number}-{index}");
            stack.put_object(&format!("messages/{id}"), message.clone()).await;
            let (before, started) = (process.cpu(), Instant::now());
            if let Err(error) = stack.invoke(function, &event(&id)?).await {
                bail!("a message of {} bytes failed: {error}", self.size);
            }
            walls.push(started.elapsed());
            cpu = cpu.zip(before).zip(process.cpu()).map(|((cpu, before), after)| cpu + (after - before));
        }
        let count = u32::try_from(self.count).context("so many messages")?;
        let calls = (self::calls(stack) - calls) as f64 / f64::from(count);
        Ok(Cost { walls, cpu: cpu.map(|cpu| cpu / count), peak: process.peak(), calls })
    }
}

/// Calls to AWS so far. What is kept between messages is asked for again when it is no longer fresh: that depends on
/// how long the messages take, and counts only where it comes sooner.
fn calls(stack: &Stack) -> usize {
    let mut last = BTreeMap::new();
    let mut count = 0;
    for entry in stack.journal().entries() {
        let Event::Called { resource, .. } = &entry.event else { continue };
        let is_kept = KEPT.iter().any(|folder| resource.contains(folder));
        let before = last.insert(resource.clone(), entry.at);
        let age = before.map(|before| entry.at.duration_since(before).unwrap_or_default());
        count += usize::from(!is_kept || age.is_some_and(|age| age < FRESH / 2));
    }
    count
}

/// What SES tells of a message with this id.
fn event(id: &str) -> anyhow::Result<Value> {
    let mut event: Value = serde_json::from_str(EVENT)?;
    event["Records"][0]["ses"]["mail"]["messageId"] = json!(id);
    Ok(event)
}

/// A message as SES stores it, with an attachment that makes up its size.
fn message(size: usize) -> Vec<u8> {
    const HEADER: &str = "Return-Path: <ann@else.example>\r\n\
        Received: from mail.else.example (mail.else.example [203.0.113.5])\r\n \
        by inbound-smtp.us-east-1.amazonaws.com with SMTP id x for info@in.example;\r\n \
        Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n\
        X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
        Received-SPF: pass (spfCheck: domain of else.example designates 203.0.113.5)\r\n\
        Authentication-Results: amazonses.com;\r\n spf=pass; dkim=pass; dmarc=pass\r\n\
        X-SES-RECEIPT: AEFBQUFBQUFBQUFH\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=else.example; s=s1;\r\n bh=sj=; b=EQ=\r\n\
        From: =?utf-8?q?Ren=C3=A9e_Doe?= <ann@else.example>\r\n\
        To: \"Info, Desk\" <info@in.example>\r\nCc: other@third.example\r\nSubject: Figures\r\n\
        Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <abc@else.example>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n\
        --b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n\
        --b1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    const LINE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/ABCDEFGHIJKL\r\n";
    let lines = size.saturating_sub(HEADER.len()) / LINE.len();
    [HEADER.as_bytes(), LINE.repeat(lines).as_bytes()].concat()
}

impl Cost {
    /// The time that half of the messages stay below.
    pub fn median(&self) -> Duration {
        let mut walls = self.walls.clone();
        walls.sort_unstable();
        walls.get(walls.len() / 2).copied().unwrap_or_default()
    }
}

//! What forwarding costs: the real `handle-email`, measured as a process.
//!
//! It meets an [`endpoint`] that checks nothing and answers at once, so that what is measured is the
//! function: its start, the time it takes for a message, its processor time and its peak memory. The
//! latter two are the kernel's numbers for the process ([`process`]) and exist on Linux only.
//!
//! Times on a machine that does other things drift by half. Two binaries are therefore compared by
//! measuring them in turn, round by round.

pub mod endpoint;
pub mod process;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use self::{
    endpoint::{Endpoint, Options},
    process::Process,
};

/// How long a message may take before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// Calls to AWS for a message, on average.
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

/// Starts a function and lets it handle the messages of each phase.
pub async fn measure(binary: &Path, options: Options, phases: &[Phase]) -> anyhow::Result<Measured> {
    let mut endpoint = Endpoint::start(options).await?;
    let started = Instant::now();
    let process = Process::start(binary, &endpoint)?;
    tokio::time::timeout(PATIENCE, endpoint.asked()).await.context("it never asked for an event")?;
    let start = Start { wall: started.elapsed(), cpu: process.cpu() };
    let mut costs = Vec::new();
    for phase in phases {
        costs.push(phase.run(&mut endpoint, &process).await?);
    }
    Ok(Measured { start, costs })
}

impl Phase {
    async fn run(self, endpoint: &mut Endpoint, process: &Process) -> anyhow::Result<Cost> {
        endpoint.begin(self.size);
        process.forget_peak();
        let before = process.cpu();
        let mut walls = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let answered = tokio::time::timeout(PATIENCE, endpoint.invoke()).await;
            let answer = answered.context("a message takes too long")??;
            if let Err(error) = answer.result {
                bail!("a message of {} bytes failed: {error}", self.size);
            }
            walls.push(answer.took);
        }
        let count = u32::try_from(self.count).context("so many messages")?;
        let cpu = before.zip(process.cpu()).map(|(before, after)| (after - before) / count);
        Ok(Cost { walls, cpu, peak: process.peak(), calls: endpoint.calls() as f64 / f64::from(count) })
    }
}

impl Cost {
    /// The time that half of the messages stay below.
    pub fn median(&self) -> Duration {
        let mut walls = self.walls.clone();
        walls.sort_unstable();
        walls.get(walls.len() / 2).copied().unwrap_or_default()
    }
}

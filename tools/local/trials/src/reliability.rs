//! Every fault at every call: what becomes of a message when one call of a function goes wrong.
//!
//! A clean run tells which calls a function makes. For each of them and each fault, a stack of its own
//! sees one message through, with the fault hitting that call *once* or *for as long as it is tried*.
//! Whatever the promises of `docs/semantics.md` don't allow is a [`Row::violations`]; the rest makes the
//! table of `docs/reliability.md`.

mod document;
mod trial;

use std::{fmt::Display, sync::Arc, time::Duration};

use anyhow::Context;
use ses_forwarder_local_aws::faults::Effect;
use ses_forwarder_local_stack::{Config, Functions, repository};
use tokio::{sync::Semaphore, task::JoinSet};

pub use self::document::{document, with_rows};
use self::trial::{Subject, Trial};

/// The faults of the matrix.
const EFFECTS: [Effect; 11] = [
    Effect::Throttle,
    Effect::Internal,
    Effect::Unavailable,
    Effect::AccessDenied,
    Effect::NotFound,
    Effect::Hang,
    Effect::ResetBefore,
    Effect::ResetAfter,
    Effect::Truncate,
    Effect::KillBefore,
    Effect::KillAfter,
];

/// Time-out of the functions here: calls are throttled or hang until shortly before it, and a minute
/// each would say no more than this.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Stacks at once; most wait for a time-out.
const AT_ONCE: usize = 48;

/// A call that a function makes: operation, and what its subject begins with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallSite {
    /// Such as `s3:GetObject`.
    pub operation: String,
    /// Such as `outcome/`; `None` where the operation is called for one thing only.
    pub prefix: Option<String>,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Name of the function's binary.
    pub function: &'static str,
    /// The call.
    pub call: CallSite,
    /// The fault.
    pub effect: Effect,
    /// What became of the message when the fault hit once.
    pub once: String,
    /// And when it hit as long as the call was tried.
    pub lasting: String,
    /// What the promises don't allow; with the message's story.
    pub violations: Vec<String>,
}

/// Runs the whole matrix, which takes minutes.
pub async fn run(functions: Functions) -> anyhow::Result<Vec<Row>> {
    let config = Config { functions, function_timeout: Some(FUNCTION_TIMEOUT), ..Config::default() };
    let config = Arc::new(config);
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut rows = JoinSet::new();
    // The slowest first, so that nothing is waited for at the end.
    for subject in Subject::ALL.into_iter().rev() {
        let calls = trial::calls(&config, subject).await?;
        let faults = calls.iter().flat_map(|call| EFFECTS.map(|effect| (call.clone(), effect)));
        for (place, (call, effect)) in faults.enumerate() {
            let (config, slots) = (Arc::clone(&config), Arc::clone(&slots));
            rows.spawn(async move { ((subject, place), row(&config, &slots, subject, call, effect).await) });
        }
    }
    let mut rows = rows.join_all().await;
    rows.sort_by_key(|(order, _)| *order);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Writes what a run came to into docs/reliability.md, instead of what stands there of the same command.
pub fn record(command: &str, account: &impl Display) -> anyhow::Result<()> {
    let path = repository().join("docs/reliability.md");
    let existing =
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(std::fs::write(&path, document::with_load(&existing, command, account))?)
}

async fn row(
    config: &Config,
    slots: &Semaphore,
    subject: Subject,
    call: CallSite,
    effect: Effect,
) -> anyhow::Result<Row> {
    let cell = async |lasting| {
        let trial = Trial { subject, call: call.clone(), effect, lasting };
        let _slot = slots.acquire().await?;
        let observed = trial.run(config).await.with_context(|| trial.to_string())?;
        anyhow::Ok((observed.cell(), observed.violations(&trial)))
    };
    let ((once, mut violations), (lasting, of_lasting)) = tokio::try_join!(cell(false), cell(true))?;
    violations.extend(of_lasting);
    Ok(Row { function: subject.binary(), call, effect, once, lasting, violations })
}

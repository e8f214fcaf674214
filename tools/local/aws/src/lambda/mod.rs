//! The Lambda service: functions invoked with an answer ([`Lambda::invoke`]), as asynchronous events
//! ([`Lambda::invoke_async`]) and from queues ([`Lambda::poll_queues`]), each event run by a
//! process of the real binary that speaks the Runtime API as on Lambda.
//!
//! Not played: `/tmp` and its size, CPU in proportion to memory, extensions, response streaming, X-Ray,
//! versions and aliases, SnapStart, a second try of a failed initialisation, on-success destinations.

mod asynchronous;
mod environment;
mod instance;
mod memory;
mod output;
mod pool;
mod queue_poller;
mod runtime_api;
mod subject;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use ses_forwarder_local_template::deployment::{Deployment, Function};
use tokio::runtime::Handle;

use self::{instance::Report, pool::Pool};
use crate::{
    journal::{Event, Journal},
    pace::Pace,
    services::Services,
};

/// Instances at once in a new AWS account, and here: enough to see functions scale, few enough for a laptop.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>
pub const ACCOUNT_CONCURRENCY: usize = 10;

/// An invocation that failed, as Lambda reports it to who invoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{error_type}: {error_message}")]
pub struct InvocationError {
    /// Such as `Sandbox.Timedout`, or what the function gave.
    #[serde(rename = "errorType", default)]
    pub error_type: String,
    /// One sentence.
    #[serde(rename = "errorMessage", default)]
    pub error_message: String,
}

impl InvocationError {
    fn new(error_type: &str, error_message: String) -> Self {
        InvocationError { error_type: error_type.to_owned(), error_message }
    }
}

/// What the service needs besides the deployment.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The binaries by the name that `BuildProperties.Binary` has.
    pub binaries: BTreeMap<String, PathBuf>,
    /// URL the functions find AWS at.
    pub aws_url: String,
    /// How fast retry delays, windows and visibility time-outs pass.
    pub pace: Pace,
    /// The runtime that instances live on; invocations run there, wherever they are awaited.
    pub runtime: Handle,
}

/// The Lambda service of one deployment.
#[derive(Debug, Clone)]
pub struct Lambda {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
    services: Services,
    visibility_timeouts: Arc<BTreeMap<String, Duration>>,
    journal: Arc<Journal>,
    pace: Pace,
    runtime: Handle,
}

/// One event for one function.
#[derive(Debug, Clone)]
struct Work {
    request_id: String,
    payload: Bytes,
    /// The messages the event is about: one for mail, several for a batch of dead letters.
    messages: Vec<String>,
}

impl Work {
    fn new(payload: Bytes) -> Self {
        let messages = subject::message_ids(&payload);
        Work { request_id: uuid::Uuid::new_v4().to_string(), payload, messages }
    }

    /// The message, if it is about exactly one.
    fn message(&self) -> Option<&str> {
        match self.messages.as_slice() {
            [message] => Some(message),
            _ => None,
        }
    }
}

/// A function with the right to run one event.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    lambda: &'a Lambda,
    pool: Arc<Pool>,
    permit: pool::Permit,
}

impl Taken<'_> {
    /// Runs the event; an error is the function's.
    pub(crate) async fn run(self, payload: Bytes) -> Result<Bytes, InvocationError> {
        let Taken { lambda, pool, permit } = self;
        let journal = Arc::clone(&lambda.journal);
        let run = async move {
            let work = Work::new(payload);
            let report = attempt(&pool, &journal, &work, permit, 1).await;
            note_returned(&pool, &journal, &work.messages, &work.request_id, 1, &report, None);
            report.result
        };
        lambda.on_runtime(run).await
    }
}

impl Lambda {
    /// Sets the functions up; no process starts before the first event.
    pub fn new(
        deployment: &Deployment,
        services: Services,
        journal: Arc<Journal>,
        setup: Setup,
    ) -> anyhow::Result<Self> {
        let account = Arc::new(tokio::sync::Semaphore::new(ACCOUNT_CONCURRENCY));
        let mut pools = BTreeMap::new();
        for function in &deployment.functions {
            let binary = setup.binaries.get(&function.binary).with_context(|| {
                format!(
                    "function {} runs the binary {}, which is not built",
                    function.logical_id, function.binary
                )
            })?;
            let launch = instance::Launch {
                function: function.clone(),
                binary: binary.clone(),
                region: deployment.region.clone(),
                account: deployment.account.clone(),
                aws_url: setup.aws_url.clone(),
                callers: services.callers().clone(),
                journal: Arc::clone(&journal),
            };
            pools.insert(function.logical_id.clone(), Arc::new(Pool::new(launch, &account)));
        }
        let queues = deployment.queues.iter().map(|queue| (queue.arn.clone(), queue.visibility_timeout));
        let lambda = Lambda {
            pools: Arc::new(pools),
            services,
            visibility_timeouts: Arc::new(queues.collect()),
            journal,
            pace: setup.pace,
            runtime: setup.runtime,
        };
        lambda.runtime.spawn(pool::stop_idle(lambda.pools.values().cloned().collect()));
        Ok(lambda)
    }

    /// The function with this logical id, name or ARN.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.pool(name).map(|pool| pool.function())
    }

    /// Invokes a function and waits for its answer (invocation type `RequestResponse`): no retries, no
    /// dead letter, refused if all concurrency is in use.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvocationError> {
        self.take(function)?.run(payload).await
    }

    /// The first half of [`invoke`](Lambda::invoke): an error is Lambda's refusal, not the function's.
    pub(crate) fn take(&self, function: &str) -> Result<Taken<'_>, InvocationError> {
        let pool = Arc::clone(self.pool(function).ok_or_else(|| unknown_function(function))?);
        let permit = pool.try_permit().ok_or_else(|| {
            InvocationError::new(
                "TooManyRequestsException",
                format!("Rate Exceeded: all instances of {function} are busy."),
            )
        })?;
        Ok(Taken { lambda: self, pool, permit })
    }

    /// Takes an asynchronous event (invocation type `Event`) and returns its request id.
    pub fn invoke_async(&self, function: &str, payload: Bytes) -> Result<String, InvocationError> {
        let pool = Arc::clone(self.pool(function).ok_or_else(|| unknown_function(function))?);
        let work = Work::new(payload);
        let request_id = work.request_id.clone();
        self.runtime.spawn(asynchronous::see_through(self.clone(), pool, work));
        Ok(request_id)
    }

    /// Starts the event source mappings: every queue that invokes a function is polled from now on.
    pub fn poll_queues(&self) -> anyhow::Result<()> {
        for pool in self.pools.values() {
            for source in &pool.function().queue_sources {
                let poller = queue_poller::Poller::new(self, pool, source)?;
                self.runtime.spawn(poller.run());
            }
        }
        Ok(())
    }

    /// Kills the idle instances.
    pub fn stop(&self) {
        self.pools.values().for_each(|pool| pool.stop());
    }

    /// Runs a future on the runtime that instances live on, whoever awaits it.
    async fn on_runtime<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.spawn(future).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The stack is being stopped: whoever waits is stopped too.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(name).or_else(|| {
            self.pools.values().find(|pool| pool.function().name == name || pool.function().arn == name)
        })
    }
}

/// Runs one attempt and tells the journal that it begins.
async fn attempt(
    pool: &Arc<Pool>,
    journal: &Journal,
    work: &Work,
    permit: pool::Permit,
    attempt: u32,
) -> Report {
    let event = Event::Invoked {
        function: pool.function().name.clone(),
        request_id: work.request_id.clone(),
        attempt,
    };
    note_for_each(journal, &work.messages, &event);
    pool.run(work, permit).await
}

/// Tells the journal that an attempt ended.
fn note_returned(
    pool: &Pool,
    journal: &Journal,
    messages: &[String],
    request_id: &str,
    attempt: u32,
    report: &Report,
    retry_in: Option<Duration>,
) {
    let result = match &report.result {
        Ok(answer) => Ok(String::from_utf8_lossy(answer).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    let event = Event::Returned {
        function: pool.function().name.clone(),
        request_id: request_id.to_owned(),
        attempt,
        result,
        retry_in,
        took: report.took,
        memory: report.memory,
    };
    note_for_each(journal, messages, &event);
}

/// Notes an event once for each message it is about, or once if it is about none.
fn note_for_each(journal: &Journal, messages: &[String], event: &Event) {
    if messages.is_empty() {
        journal.note(None, event.clone());
    }
    for message in messages {
        journal.note(Some(message), event.clone());
    }
}

fn unknown_function(name: &str) -> InvocationError {
    InvocationError::new("ResourceNotFoundException", format!("Function not found: {name}"))
}

/// What remains of `limit` since `start`.
fn remaining(limit: Duration, start: Instant) -> Duration {
    limit.saturating_sub(start.elapsed())
}

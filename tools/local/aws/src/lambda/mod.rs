//! The Lambda service: functions invoked with an answer ([`Lambda::invoke`]), as asynchronous events
//! ([`Lambda::invoke_async`]) and from queues ([`Lambda::poll_queues`]), each event run by a
//! process of the real binary that speaks the Runtime API as on Lambda.
//!
//! Not played: `/tmp` and its size, CPU in proportion to memory, extensions, response streaming, X-Ray,
//! versions and aliases, SnapStart, a second try of a failed initialisation, on-success destinations.

mod asynchronous;
mod attempt;
mod environment;
mod error;
mod instance;
mod memory;
mod output;
mod pool;
mod queue_poller;
mod runtime_api;
mod subject;
mod trace;
mod work;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use bytes::Bytes;
use ses_forwarder_local_template::deployment::{Deployment, Function};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

pub use self::error::InvocationError;
use self::{
    attempt::{Means, attempt, note_returned},
    pool::Pool,
    trace::Trace,
    work::Work,
};
use crate::{auth::Callers, journal::Journal, pace::Pace, sqs::Queues};

/// Instances at once in a new AWS account, and here: enough to see functions scale, few enough for a laptop.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>
pub const ACCOUNT_CONCURRENCY: usize = 10;

/// What the service needs besides the deployment.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The binaries by the name that `BuildProperties.Binary` has.
    pub binaries: BTreeMap<String, PathBuf>,
    /// URL the functions find AWS at.
    pub aws_url: String,
    /// How fast retry delays and windows pass.
    pub pace: Pace,
    /// Instances at once, of all functions without a reservation.
    pub concurrency: usize,
    /// The runtime that instances live on; invocations run there, wherever they are awaited.
    pub runtime: Handle,
}

/// The Lambda service of one deployment.
#[derive(Debug, Clone)]
pub struct Lambda {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
    /// The account's concurrency, and how much that is.
    account: (Arc<Semaphore>, usize),
    means: Means,
    runtime: Handle,
}

/// Keeps events from being run until it is dropped.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

/// A function with the right to run one event.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    lambda: &'a Lambda,
    pool: Arc<Pool>,
    permit: pool::Permit,
    trace: Trace,
}

impl Taken<'_> {
    /// Runs the event; an error is the function's.
    pub(crate) async fn run(self, payload: Bytes) -> Result<Bytes, InvocationError> {
        let Taken { lambda, pool, permit, trace } = self;
        let journal = Arc::clone(&lambda.means.journal);
        let run = async move {
            let work = Work::new(payload, trace);
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
        callers: &Callers,
        queues: Queues,
        journal: Arc<Journal>,
        setup: Setup,
    ) -> anyhow::Result<Self> {
        let account = Arc::new(Semaphore::new(setup.concurrency));
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
                callers: callers.clone(),
                journal: Arc::clone(&journal),
            };
            pools.insert(function.logical_id.clone(), Arc::new(Pool::new(launch, &account)));
        }
        let lambda = Lambda {
            pools: Arc::new(pools),
            account: (account, setup.concurrency),
            means: Means { queues, journal, pace: setup.pace },
            runtime: setup.runtime,
        };
        lambda.runtime.spawn(pool::stop_idle(lambda.pools.values().cloned().collect()));
        Ok(lambda)
    }

    /// All functions.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.pools.values().map(|pool| pool.function())
    }

    /// The function with this logical id, name or ARN.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.pool(name).map(|pool| pool.function())
    }

    /// What a function runs.
    pub(crate) fn binary(&self, name: &str) -> Option<&Path> {
        self.pool(name).map(|pool| pool.binary())
    }

    /// Invokes a function and waits for its answer (invocation type `RequestResponse`): no retries, no
    /// dead letter, refused if all concurrency is in use.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvocationError> {
        self.take(function, None)?.run(payload).await
    }

    /// The first half of [`invoke`](Lambda::invoke): an error is Lambda's refusal, not the function's.
    /// `trace` is the trace header of the call.
    pub(crate) fn take(&self, function: &str, trace: Option<&str>) -> Result<Taken<'_>, InvocationError> {
        let pool = Arc::clone(self.pool(function).ok_or_else(|| unknown_function(function))?);
        let trace = Trace::of(trace).through(pool.function(), 1)?;
        let permit = pool.try_permit().ok_or_else(|| {
            InvocationError::new(
                "TooManyRequestsException",
                format!("Rate Exceeded: all instances of {function} are busy."),
            )
        })?;
        Ok(Taken { lambda: self, pool, permit, trace })
    }

    /// Takes an asynchronous event (invocation type `Event`) and returns its request id.
    pub fn invoke_async(&self, function: &str, payload: Bytes) -> Result<String, InvocationError> {
        self.invoke_async_traced(function, payload, None)
    }

    /// The same, with the trace header of the call.
    pub(crate) fn invoke_async_traced(
        &self,
        function: &str,
        payload: Bytes,
        trace: Option<&str>,
    ) -> Result<String, InvocationError> {
        let pool = Arc::clone(self.pool(function).ok_or_else(|| unknown_function(function))?);
        let work = Work::new(payload, Trace::of(trace).through(pool.function(), 1)?);
        let request_id = work.request_id.clone();
        self.runtime.spawn(asynchronous::see_through(self.means.clone(), pool, work));
        Ok(request_id)
    }

    /// Starts the event source mappings: every queue that invokes a function is polled from now on.
    pub fn poll_queues(&self) -> anyhow::Result<()> {
        for pool in self.pools.values() {
            for source in &pool.function().queue_sources {
                let poller = queue_poller::Poller::new(&self.means, pool, source)?;
                self.runtime.spawn(poller.run());
            }
        }
        Ok(())
    }

    /// Waits until no event is run, and lets none run, as if all instances were busy with something else.
    pub async fn hold(&self) -> Hold {
        let (account, concurrency) = &self.account;
        let all = u32::try_from(*concurrency).expect("as many instances as a semaphore has permits");
        Hold(Arc::clone(account).acquire_many_owned(all).await.expect("the semaphore is never closed"))
    }

    /// Kills the idle instances, and the others when they are done with their event.
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

fn unknown_function(name: &str) -> InvocationError {
    InvocationError::new("ResourceNotFoundException", format!("Function not found: {name}"))
}

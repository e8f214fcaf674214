//! An instance of a function: one process of the real binary, which takes one event after the other.
//!
//! How an attempt can end, in Lambda's words:
//! `Sandbox.Timedout` after the template's `Timeout`, `Runtime.OutOfMemory` beyond its `MemorySize`,
//! `Runtime.ExitError` if the process ends, `Runtime.InitError` and the like if it does so before it asked for an
//! event, else what the function answers. After all but an answer the process is killed with its
//! whole process group, and the next event meets a new instance.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use ses_forwarder_iam::Call;
use ses_forwarder_local_template::deployment::Function;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::{
    environment,
    error::InvocationError,
    memory::Memory,
    output::Output,
    runtime_api::{Delivery, RuntimeApi, Word},
    work::Work,
};
use crate::{
    auth::{Callers, Invocation, Registration},
    journal::Journal,
};

/// How long an instance may take until it asks for its first event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// How to start instances of one function.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) function: Function,
    pub(super) binary: PathBuf,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) aws_url: String,
    pub(super) callers: Callers,
    pub(super) journal: Arc<Journal>,
}

/// A running instance.
#[derive(Debug)]
pub(super) struct Instance {
    child: Child,
    process: Option<rustix::process::Pid>,
    api: RuntimeApi,
    registration: Registration,
    outputs: Vec<Output>,
    memory: Memory,
    function_arn: String,
    timeout: Duration,
}

/// How an attempt went.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) result: Result<Bytes, InvocationError>,
    /// From the event's hand-over until the instance was free again.
    pub(super) took: Duration,
    /// Peak memory of the instance so far, in bytes, where known.
    pub(super) memory: Option<u64>,
}

/// Why an instance stopped before it answered.
enum Stop {
    Exited(ExitStatus),
    Killed,
    /// After this long.
    TimedOut(Duration),
    OutOfMemory,
}

impl Launch {
    /// Starts a process and waits until it asks for its first event. `work` is what it is started for.
    pub(super) async fn start(&self, work: &Work) -> Result<Instance, InvocationError> {
        let started = self.spawn().await;
        let mut instance = started.map_err(|error| {
            let message = format!("could not start {}: {error}", self.binary.display());
            InvocationError::new("Runtime.InvalidEntrypoint", message)
        })?;
        instance.begin(work);
        match instance.next_word(Instant::now(), INIT_LIMIT).await {
            Ok(Word::Ready) => Ok(instance),
            Ok(Word::InitError(error)) => Err(error),
            Ok(Word::Answer(..)) => Err(instance.describe(&Stop::Killed, work)),
            Err(stop) => Err(instance.describe(&stop, work)),
        }
    }

    async fn spawn(&self) -> std::io::Result<Instance> {
        let api = RuntimeApi::start().await?;
        let registration = self.callers.register(&self.function.name, self.function.role.clone());
        let log_stream = format!("[$LATEST]{}", uuid::Uuid::new_v4().simple());
        let may_log = self.may_log(&log_stream);
        let output = || if may_log { Stdio::piped() } else { Stdio::null() };
        let mut child = Command::new(&self.binary)
            .env_clear()
            .envs(environment::variables(
                &self.function,
                &self.region,
                &self.aws_url,
                api.address(),
                &log_stream,
                &registration,
            ))
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().map(ChildStdout::into_owned_fd);
        let stderr = child.stderr.take().map(ChildStderr::into_owned_fd);
        let mut outputs = Vec::new();
        for pipe in stdout.into_iter().chain(stderr) {
            outputs.push(Output::new(pipe?, &self.function.name, &self.journal)?);
        }
        let id = child.id().expect("it has not been waited for yet");
        Ok(Instance {
            process: i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw),
            memory: Memory::new(id, self.function.memory_mb),
            child,
            api,
            registration,
            outputs,
            function_arn: self.function.arn.clone(),
            timeout: self.function.timeout,
        })
    }

    /// Whether the role lets the function log; without that, its log stays empty, as on AWS.
    fn may_log(&self, log_stream: &str) -> bool {
        let Launch { function, region, account, .. } = self;
        let group = format!("arn:aws:logs:{region}:{account}:log-group:{}", function.log_group);
        ["logs:CreateLogStream", "logs:PutLogEvents"].into_iter().all(|action| {
            let call = Call {
                action: action.to_owned(),
                resource: format!("{group}:log-stream:{log_stream}"),
                context: Default::default(),
            };
            function.role.check(&call).is_ok()
        })
    }
}

impl Instance {
    /// Whether the process still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Has it work on an event, and says whether it can take another one after it.
    pub(super) async fn work(&mut self, work: &Work) -> (Report, bool) {
        let started = Instant::now();
        self.begin(work);
        self.api
            .deliver(Delivery {
                request_id: work.request_id.clone(),
                function_arn: self.function_arn.clone(),
                deadline: SystemTime::now() + self.timeout,
                payload: work.payload.clone(),
                trace: work.trace.to_string(),
            })
            .await;
        let mut answer = None;
        let (mut result, mut survives) = loop {
            match self.next_word(started, self.timeout).await {
                Ok(Word::Answer(request_id, result)) if request_id == work.request_id => {
                    answer = Some(result);
                }
                // Lambda takes an instance for free, and its work for done, when it asks for the next event.
                Ok(Word::Ready) => {
                    if let Some(result) = answer.take() {
                        break (result, true);
                    }
                }
                Ok(Word::Answer(..) | Word::InitError(_)) => {}
                // An answer counts, whatever becomes of the instance after it.
                Err(stop) => break (answer.take().unwrap_or_else(|| Err(self.describe(&stop, work))), false),
            }
        };
        let memory = self.memory.peak();
        if self.memory.exceeds(memory) {
            (result, survives) = (Err(self.describe(&Stop::OutOfMemory, work)), false);
        }
        if !survives {
            self.kill().await;
        }
        self.end();
        (Report { result, took: started.elapsed(), memory }, survives)
    }

    /// What the instance says next, within a time from the start.
    async fn next_word(&mut self, started: Instant, limit: Duration) -> Result<Word, Stop> {
        tokio::select! {
            biased;
            () = self.registration.killed() => Err(Stop::Killed),
            word = self.api.word() => Ok(word),
            status = self.child.wait() => match status {
                Ok(status) => Err(Stop::Exited(status)),
                Err(_) => Err(Stop::Killed),
            },
            () = self.memory.exceeded() => Err(Stop::OutOfMemory),
            () = tokio::time::sleep(limit.saturating_sub(started.elapsed())) => Err(Stop::TimedOut(limit)),
        }
    }

    /// What the instance calls and logs from now on is about this.
    fn begin(&self, work: &Work) {
        let message = work.message();
        self.registration.set_invocation(Some(Invocation {
            request_id: work.request_id.clone(),
            message_id: message.map(str::to_owned),
        }));
        self.outputs.iter().for_each(|output| output.set_message(message));
    }

    /// What Lambda says of an instance that stopped before it answered.
    fn describe(&self, stop: &Stop, work: &Work) -> InvocationError {
        let (error_type, what) = match stop {
            Stop::Exited(status) => ("Runtime.ExitError", describe_exit(*status)),
            Stop::Killed => ("Runtime.ExitError", "Runtime exited with error: signal: killed".to_owned()),
            Stop::OutOfMemory => {
                ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed".to_owned())
            }
            Stop::TimedOut(limit) => {
                ("Sandbox.Timedout", format!("Task timed out after {:.2} seconds", limit.as_secs_f64()))
            }
        };
        InvocationError::new(error_type, format!("RequestId: {} Error: {what}", work.request_id))
    }

    fn end(&self) {
        for output in &self.outputs {
            output.drain();
            output.set_message(None);
        }
        self.registration.set_invocation(None);
    }

    /// Kills the process with its group and waits until it is gone.
    async fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
    }

    fn kill_group(&mut self) {
        // Not once it has been waited for: its number may be another process's by then.
        if let (Ok(None), Some(process)) = (self.child.try_wait(), self.process) {
            let _ = rustix::process::kill_process_group(process, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Instance {
    /// Kills the process and waits until it is gone, which takes a killed process next to no time.
    fn drop(&mut self) {
        self.kill_group();
        for _ in 0..1000 {
            if !self.is_alive() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(9)) => "Runtime exited with error: signal: killed".to_owned(),
        (None, Some(6)) => "Runtime exited with error: signal: aborted".to_owned(),
        (None, signal) => format!("Runtime exited with error: signal: {}", signal.unwrap_or_default()),
    }
}

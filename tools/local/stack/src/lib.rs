//! The whole stack: started on free ports, stopped when dropped.
//!
//! ```no_run,standalone_crate
//! # async fn example() -> anyhow::Result<()> {
//! use ses_forwarder_local_aws::journal::End;
//! use ses_forwarder_local_stack::{Config, Stack};
//!
//! let stack = Stack::start(Config::default()).await?;
//! let id = stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: Hello\r\n\r\nHi\r\n").await?;
//! assert_eq!(stack.settled(&id).await, End::Returned);
//! assert_eq!(stack.sent()[0].destinations, ["info@out.example"]);
//! # Ok(())
//! # }
//! ```

mod build;
mod client;
mod config;
pub mod privacy;

use std::{
    collections::BTreeSet,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use serde_json::Value;
use ses_forwarder_iam::Grant;
use ses_forwarder_local_aws::{
    faults::Faults,
    journal::{End, Entry, Event, Journal},
    lambda::{self, InvocationError, Lambda},
    receiving::{Envelope, Receiving},
    services::{self, Services},
    ses::{Account, feedback::Report},
    smtp,
};
use ses_forwarder_local_page as page;
use ses_forwarder_local_template::deployment::{Deployment, Function, RuleAction};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc::UnboundedReceiver};

pub use self::{
    build::example,
    client::Client,
    config::{Config, Functions, repository},
};

/// Longer than any message takes with the clocks fast, on however busy a machine: three functions that hang until
/// their time-outs, one after another, take as many minutes.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);

/// How often to ask what nothing rings a bell for.
const LOOK: Duration = Duration::from_millis(10);

/// A message that SES accepted from a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMail {
    /// The id SES gave it.
    pub ses_id: String,
    /// SES's messageId of the incoming message it was made from, where known.
    pub message_id: Option<String>,
    /// `FromEmailAddress`.
    pub from: String,
    /// Envelope.
    pub destinations: Vec<String>,
    /// `FeedbackForwardingEmailAddress`.
    pub feedback: Option<String>,
    /// The message as the function sent it.
    pub raw: Vec<u8>,
}

/// A notice that went out by SNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Topic ARN.
    pub topic: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub text: String,
}

/// Addresses of the servers.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    smtp: SocketAddr,
    aws: SocketAddr,
    page: SocketAddr,
}

/// A running stack. Dropping it kills the functions, closes the ports and removes a temporary folder.
/// What can be asked of it is [`Parts`].
#[derive(Debug)]
pub struct Stack {
    parts: Parts,
    /// Whether what functions log is looked at in the end.
    watched: bool,
    /// Servers and functions live on a runtime of their own: whoever blocks the caller's does not stop them.
    runtime: Option<Runtime>,
    _temporary: Option<TempDir>,
}

/// A running stack's parts, to be shared.
#[derive(Debug, Clone)]
pub struct Parts {
    addresses: Addresses,
    data: PathBuf,
    deployment: Arc<Deployment>,
    journal: Arc<Journal>,
    services: Services,
    lambda: Lambda,
    receiving: Receiving,
}

impl Deref for Stack {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Stack {
    /// Builds the functions if need be and starts everything.
    pub async fn start(config: Config) -> anyhow::Result<Stack> {
        let deployment = config.deployment()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (data, temporary) = match &config.data {
            Some(data) => (std::path::absolute(data)?, None),
            None => {
                let folder = tempfile::Builder::new().prefix("ses-forwarder-local-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let (handle, watched) = (runtime.handle().clone(), config.watched);
        let parts = Parts::start(config, deployment, data, handle.clone());
        let parts = match handle.spawn(parts).await? {
            Ok(parts) => parts,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Stack { parts, watched, runtime: Some(runtime), _temporary: temporary })
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // On a thread of its own, as a runtime can't be waited for on another runtime's. It takes with it the
        // instances at work; the idle ones are left.
        let _ = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join();
        self.parts.lambda.stop();
        // A test that fails already has something else to say.
        if self.watched && !std::thread::panicking() {
            let bucket = self.data().join("buckets").join(self.bucket());
            let logs = self.logs();
            let found = privacy::leaks_of_all(logs.iter().map(|(_, line)| line), &bucket);
            assert!(found.is_empty(), "logged what is private: {found:#?}");
        }
    }
}

impl Parts {
    async fn start(
        config: Config,
        mut deployment: Deployment,
        data: PathBuf,
        runtime: tokio::runtime::Handle,
    ) -> anyhow::Result<Parts> {
        // Before the functions are built, which takes minutes: a port may be taken.
        let smtp_listener = listen(config.smtp_port, "SMTP", "--smtp-port").await?;
        let aws_listener = listen(config.aws_port, "the AWS endpoints", "--aws-port").await?;
        let page_listener = listen(config.page_port, "the page", "--page-port").await?;
        let names: BTreeSet<String> =
            deployment.functions.iter().map(|function| function.binary.clone()).collect();
        for function in &mut deployment.functions {
            // One that a queue invokes waits for others, and so has more time in the template too.
            let share = if function.queue_sources.is_empty() { 1 } else { 3 };
            function.timeout = config.function_timeout.map_or(function.timeout, |time| time * share);
        }
        let binaries = match config.functions {
            Functions::Ready(binaries) => binaries,
            Functions::Build { release } => {
                tokio::task::spawn_blocking(move || {
                    let names: Vec<_> = names.iter().map(String::as_str).collect();
                    build::build(&repository(), &names, release)
                })
                .await??
            }
        };
        let addresses = Addresses {
            smtp: smtp_listener.local_addr()?,
            aws: aws_listener.local_addr()?,
            page: page_listener.local_addr()?,
        };
        let journal = Arc::new(Journal::default());
        let options = services::Options {
            data: data.clone(),
            relay: config.relay,
            ses: account(&deployment, config.identities),
            faults: config.faults,
            pace: config.pace,
        };
        let services = Services::new(&deployment, Arc::clone(&journal), options)?;
        let setup = lambda::Setup {
            binaries,
            aws_url: format!("http://{}", addresses.aws),
            pace: config.pace,
            concurrency: config.concurrency,
            runtime: runtime.clone(),
        };
        let lambda = Lambda::new(
            &deployment,
            services.callers(),
            services.queues().clone(),
            Arc::clone(&journal),
            setup,
        )?;
        let deployment = Arc::new(deployment);
        let receiving = Receiving::new(
            Arc::clone(&deployment),
            services.clone(),
            lambda.clone(),
            Arc::clone(&journal),
            config.verdicts,
        );
        lambda.poll_queues()?;
        let parts = Parts { addresses, data, deployment, journal, services, lambda, receiving };
        runtime.spawn({
            let (services, lambda) = (parts.services.clone(), parts.lambda.clone());
            async move { services.serve(aws_listener, Some(lambda), std::future::pending()).await }
        });
        runtime.spawn(smtp::serve(smtp_listener, parts.receiving.clone()));
        runtime.spawn(take_reports(parts.services.ses().reports(), parts.receiving.clone()));
        let access = page::Access {
            deployment: Arc::clone(&parts.deployment),
            journal: Arc::clone(&parts.journal),
            services: parts.services.clone(),
            lambda: parts.lambda.clone(),
            receiving: parts.receiving.clone(),
            smtp: parts.smtp(),
            curl: parts.curl(),
        };
        runtime.spawn(page::serve(page_listener, access));
        Ok(parts)
    }

    /// Address of the SMTP server.
    pub fn smtp(&self) -> SocketAddr {
        self.addresses.smtp
    }

    /// URL of the AWS endpoints.
    pub fn aws_url(&self) -> String {
        format!("http://{}", self.addresses.aws)
    }

    /// URL of the page.
    pub fn page_url(&self) -> String {
        format!("http://{}", self.addresses.page)
    }

    /// What the template deployed.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Everything that happened.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The services themselves, for what has no short cut here.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The Lambda service.
    pub fn lambda(&self) -> &Lambda {
        &self.lambda
    }

    /// The faults that wait for their call; more can be added.
    pub fn faults(&self) -> &Faults {
        self.services.faults()
    }

    /// Folder of buckets, sent mail and Maildirs.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// Delivers a message over SMTP, from the null reverse-path if `from` is `None`, line ends as they
    /// are, and returns SES's messageId. The error is the server's answer.
    pub async fn send(&self, from: Option<&str>, to: &[&str], message: &[u8]) -> anyhow::Result<String> {
        Client::connect(self.smtp()).await?.send(from, to, message).await
    }

    /// Hands SES a message as if it had come over TLS, which [`send`](Parts::send) does not speak, and returns its
    /// messageId. The error is what the SMTP server would answer.
    pub async fn send_over_tls(
        &self,
        from: Option<&str>,
        to: &[&str],
        message: &[u8],
    ) -> anyhow::Result<String> {
        if to.iter().any(|recipient| self.receiving.accepts(recipient, true).is_err()) {
            bail!("550 5.1.1 No receipt rule matches this recipient");
        }
        let envelope = Envelope {
            from: from.map(str::to_owned),
            recipients: to.iter().map(|&recipient| recipient.to_owned()).collect(),
            helo: "client.example".to_owned(),
            peer: Ipv4Addr::LOCALHOST.to_string(),
            tls: true,
        };
        Ok(self.receiving.receive(envelope, message).await)
    }

    /// Whether a rule takes mail over TLS only.
    pub fn requires_tls(&self) -> bool {
        self.deployment.rules.iter().any(|rule| rule.tls_required)
    }

    /// A command that sends a message in by SMTP, for a shell in the repository's folder.
    pub fn curl(&self) -> String {
        let domain = self.deployment.email_domain().unwrap_or_default();
        // The certificate was made at start, and nobody trusts it.
        let tls = if self.requires_tls() { " --ssl-reqd -k" } else { "" };
        format!(
            "curl{tls} smtp://{} --mail-from ann@else.example --mail-rcpt info@{domain} \
             --upload-file events/sample-message.eml",
            self.smtp()
        )
    }

    /// Waits until a message has ended. Panics with all that is known of it if it takes longer than
    /// anything should.
    pub async fn settled(&self, message_id: &str) -> End {
        self.in_time(message_id, self.journal.ended(message_id)).await
    }

    /// Waits until what happened to a message, oldest first, answers a question. Panics as
    /// [`settled`](Parts::settled) does.
    pub async fn until<T>(&self, message_id: &str, question: impl Fn(&[&Event]) -> Option<T>) -> T {
        self.in_time(message_id, self.journal.until(message_id, question)).await
    }

    #[expect(clippy::panic, reason = "the whole story is what a failing test needs")]
    async fn in_time<T>(&self, message_id: &str, wanted: impl Future<Output = T>) -> T {
        tokio::time::timeout(SETTLE_LIMIT, wanted).await.unwrap_or_else(|_| {
            let story = match self.story(message_id) {
                // It is no message that is waited for.
                story if story.is_empty() => told(&self.journal.entries()),
                story => story,
            };
            panic!("message {message_id}: nothing more after {SETTLE_LIMIT:?}:\n{story}")
        })
    }

    /// All that is known of a message, an entry a line.
    pub fn story(&self, message_id: &str) -> String {
        told(&self.journal.of(message_id))
    }

    /// The outcome record of a message, wherever its date puts it.
    pub async fn outcome(&self, message_id: &str) -> Option<Value> {
        let mut functions = self.deployment.functions.iter();
        let prefix = functions.find_map(|function| function.environment.get("OUTCOME_PREFIX"))?;
        let record = match self.object(&self.todays_key(prefix, message_id)).await {
            Some(record) => record,
            // An event made by hand has a date of its own.
            None => {
                let name = format!("/{message_id}.json");
                let key = self.keys(prefix).await.into_iter().find(|key| key.ends_with(&name))?;
                self.object(&key).await?
            }
        };
        Some(serde_json::from_slice(&record).expect("an outcome is a JSON document"))
    }

    /// The key of a record of a message that came when the journal first heard of it.
    fn todays_key(&self, prefix: &str, message_id: &str) -> String {
        let first = self.journal.of(message_id).first().map_or_else(SystemTime::now, |entry| entry.at);
        let (year, month, day) = time::OffsetDateTime::from(first).to_calendar_date();
        format!("{prefix}{year:04}/{:02}/{day:02}/{message_id}.json", u8::from(month))
    }

    /// An object of the bucket that messages are stored in.
    pub async fn object(&self, key: &str) -> Option<Bytes> {
        self.services.buckets().read(self.bucket(), key).await.expect("the data folder can be read")
    }

    /// Keys of that bucket with a prefix, in order.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        self.services.buckets().list(self.bucket(), prefix).await.expect("the data folder can be read")
    }

    /// Writes an object to that bucket, whatever the policies say.
    pub async fn put_object(&self, key: &str, body: impl Into<Bytes>) {
        let written = self.services.buckets().write(self.bucket(), key, body.into()).await;
        written.expect("the data folder can be written");
    }

    /// Deletes an object of that bucket, whatever the policies say.
    pub async fn delete_object(&self, key: &str) {
        let deleted = self.services.buckets().delete(self.bucket(), key).await;
        deleted.expect("the data folder can be written");
    }

    /// The bucket that messages are stored in.
    pub fn bucket(&self) -> &str {
        let mut actions = self.deployment.rules.iter().flat_map(|rule| &rule.actions);
        let bucket = actions.find_map(|action| match action {
            RuleAction::S3 { bucket, .. } => Some(bucket.as_str()),
            RuleAction::Lambda { .. } => None,
        });
        bucket.unwrap_or_default()
    }

    /// What SES accepted from the functions, oldest first.
    pub fn sent(&self) -> Vec<SentMail> {
        let sent = |entry: &Arc<Entry>| match &entry.event {
            Event::Sent { ses_id, from, destinations, feedback, path } => Some(SentMail {
                ses_id: ses_id.clone(),
                message_id: entry.message_id.clone(),
                from: from.clone(),
                destinations: destinations.clone(),
                feedback: feedback.clone(),
                raw: std::fs::read(path).expect("what was sent is kept"),
            }),
            _ => None,
        };
        self.journal.entries().iter().filter_map(sent).collect()
    }

    /// What went out by SNS, oldest first.
    pub fn published(&self) -> Vec<Published> {
        let published = |entry: &Arc<Entry>| match &entry.event {
            Event::Published { topic, subject, text } => {
                Some(Published { topic: topic.clone(), subject: subject.clone(), text: text.clone() })
            }
            _ => None,
        };
        self.journal.entries().iter().filter_map(published).collect()
    }

    /// Waits until so many notices have gone out by SNS. Panics as [`settled`](Parts::settled) does.
    pub async fn told(&self, count: usize) -> Vec<Published> {
        let (_, mut events) = self.journal.follow();
        let told = async {
            loop {
                let published = self.published();
                if published.len() >= count {
                    return published;
                }
                // An entry that was missed may have been the one.
                let _ = events.recv().await;
            }
        };
        self.in_time("(notices)", told).await
    }

    /// Waits until no message is on any queue. Panics as [`settled`](Parts::settled) does.
    pub async fn emptied(&self) {
        let queues = &self.deployment.queues;
        let are_empty = || queues.iter().all(|queue| self.queue_depth(&queue.name) == (0, 0));
        self.eventually(|| async { are_empty().then_some(()) }).await;
    }

    /// Asks again and again until there is an answer. Panics as [`settled`](Parts::settled) does.
    pub async fn eventually<T, A>(&self, question: impl Fn() -> A) -> T
    where
        A: Future<Output = Option<T>>,
    {
        let asked = async {
            loop {
                if let Some(answer) = question().await {
                    return answer;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        self.in_time("(any)", asked).await
    }

    /// What the functions logged: function name and line, oldest first.
    pub fn logs(&self) -> Vec<(String, String)> {
        let logged = |entry: &Arc<Entry>| match &entry.event {
            Event::Logged { function, line } => Some((function.clone(), line.clone())),
            _ => None,
        };
        self.journal.entries().iter().filter_map(logged).collect()
    }

    /// Messages waiting on a queue, and messages received but not yet deleted. Takes the queue's name.
    pub fn queue_depth(&self, name: &str) -> (usize, usize) {
        let queue = self.deployment.queues.iter().find(|queue| queue.name == name);
        let queue = queue.and_then(|queue| self.services.queue(&queue.arn));
        queue.unwrap_or_else(|| unreachable!("there is no queue {name}")).depth()
    }

    /// A function by its logical id.
    pub fn function(&self, logical_id: &str) -> Option<&Function> {
        self.lambda.function(logical_id)
    }

    /// Invokes a function by its logical id and waits for its answer, as `aws lambda invoke` does: no retries.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, InvocationError> {
        let answer = self.lambda.invoke(function, event.to_string().into()).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Invokes a function by its logical id as an asynchronous event, with Lambda's retries, and
    /// returns the request id.
    pub fn invoke_async(&self, function: &str, event: &Value) -> Result<String, InvocationError> {
        self.lambda.invoke_async(function, event.to_string().into())
    }

    /// What each function's role allows and this run did not use, by the function's logical id.
    pub fn unused_permissions(&self) -> Vec<(String, Grant)> {
        let functions = self.deployment.functions.iter();
        functions
            .flat_map(|function| {
                function.role.unused().into_iter().map(|grant| (function.logical_id.clone(), grant))
            })
            .collect()
    }
}

/// A function's binary as it is deployed, built if need be.
pub async fn built(name: &str) -> anyhow::Result<PathBuf> {
    let name = name.to_owned();
    let build = move || {
        let mut binaries = build::build(&repository(), &[&name], true)?;
        binaries.remove(&name).with_context(|| format!("cargo built no {name}"))
    };
    tokio::task::spawn_blocking(build).await?
}

/// Receives SES's reports by mail as any other mail.
async fn take_reports(mut reports: UnboundedReceiver<Report>, receiving: Receiving) {
    while let Some(Report { to, message }) = reports.recv().await {
        if receiving.accepts(&to, true).is_ok() {
            let envelope = Envelope {
                from: None,
                recipients: vec![to],
                helo: "a0-1.smtp-out.amazonses.com".to_owned(),
                peer: "192.0.2.26".to_owned(),
                tls: true,
            };
            receiving.receive(envelope, &message).await;
        }
    }
}

/// Entries of the journal, one a line.
fn told(entries: &[Arc<Entry>]) -> String {
    entries.iter().fold(String::new(), |mut story, entry| {
        let _ = writeln!(story, "  {entry}");
        story
    })
}

/// Listens on loopback only. `option` is what `cargo local` takes another port by.
async fn listen(port: u16, what: &str, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        anyhow!(
            "could not listen on port {port} for {what}: {error}; {option} takes another, and 0 a free one"
        )
    })
}

/// An SES account that may send from the domains it receives for.
fn account(deployment: &Deployment, identities: Vec<String>) -> Account {
    let domains = deployment.email_domains().map(str::to_owned);
    let mut account = Account::new(domains.chain(identities));
    let set = deployment.parameters.get("ConfigurationSet").filter(|set| !set.is_empty());
    account.configuration_sets.extend(set.cloned());
    account.configuration_sets.extend(deployment.configuration_sets.iter().cloned());
    let tenants = deployment.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.resources.clone()));
    account.tenants.extend(tenants);
    account
}

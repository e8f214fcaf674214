//! The whole stack: started on free ports, stopped when dropped.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use ses_forwarder_local::{journal::End, stack::{Config, Stack}};
//!
//! let stack = Stack::start(Config::default()).await?;
//! let id = stack.send(Some("ann@else.example"), &["info@in.example"], b"Subject: Hello\r\n\r\nHi\r\n").await?;
//! assert_eq!(stack.settled(&id).await, End::Returned);
//! assert_eq!(stack.sent()[0].destinations, ["info@out.example"]);
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    aws::{
        Services,
        faults::{Fault, Faults},
    },
    deployment::Deployment,
    journal::{End, Journal},
    lambda::InvocationError,
};

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `template.yaml` to play; by default this repository's.
    pub template: PathBuf,
    /// Template parameters, over those of `samconfig.toml`.
    pub parameters: BTreeMap<String, String>,
    /// Where the functions' binaries come from.
    pub functions: Functions,
    /// How fast Lambda's and SQS's clocks run.
    pub pace: Pace,
    /// Folder for buckets, sent mail and Maildirs; a temporary one, removed at the end, if `None`.
    pub data: Option<PathBuf>,
    /// Port of the SMTP server; 0 takes a free one.
    pub smtp_port: u16,
    /// Port of the page; 0 takes a free one.
    pub page_port: u16,
    /// Port of the AWS endpoints; 0 takes a free one.
    pub aws_port: u16,
    /// `HOST:PORT` of an SMTP server that takes what is sent, instead of Maildirs.
    pub relay: Option<String>,
    /// Verified SES identities besides `EMAIL_DOMAIN`.
    pub identities: Vec<String>,
    /// Faults from the start.
    pub faults: Vec<Fault>,
}

impl Default for Config {
    /// This repository's template on free ports, data in a temporary folder, clocks fast: for tests.
    fn default() -> Self {
        Config {
            template: repository().join("template.yaml"),
            parameters: BTreeMap::new(),
            functions: Functions::default(),
            pace: Pace::fast(),
            data: None,
            smtp_port: 0,
            page_port: 0,
            aws_port: 0,
            relay: None,
            identities: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// Where the functions' binaries come from.
#[derive(Debug, Clone)]
pub enum Functions {
    /// Built by cargo, once a process.
    Build {
        /// With the profile that is deployed, rather than the one for development.
        release: bool,
    },
    /// Binaries by the name that `BuildProperties.Binary` has.
    Ready(BTreeMap<String, PathBuf>),
}

impl Default for Functions {
    /// The development profile in development builds, else the deployed one.
    fn default() -> Self {
        Functions::Build { release: !cfg!(debug_assertions) }
    }
}

/// How fast the clocks of Lambda and SQS run: retry delays, visibility time-outs, batching windows.
/// A function's own time-out is never shortened, since the function's work isn't either.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// As on AWS: the first retry comes after a minute.
    pub fn real() -> Self {
        Pace(1.0)
    }

    /// So that the first retry comes after 60 ms.
    pub fn fast() -> Self {
        Pace(0.001)
    }

    /// How long `duration` takes here.
    pub fn scale(self, duration: Duration) -> Duration {
        duration.mul_f64(self.0)
    }
}

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

/// What a function's role allows that no call of this run used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedPermission {
    /// Logical id of the function.
    pub function: String,
    /// Action.
    pub action: String,
    /// Resource pattern.
    pub resource: String,
}

/// A running stack. Dropping it kills the functions, closes the ports and removes a temporary folder.
#[derive(Debug)]
pub struct Stack {}

impl Stack {
    /// Builds the functions if need be and starts everything.
    pub async fn start(config: Config) -> anyhow::Result<Stack> {
        todo!("{config:?}")
    }

    /// Address of the SMTP server.
    pub fn smtp(&self) -> SocketAddr {
        todo!()
    }

    /// URL of the AWS endpoints: S3, SES v2, SQS, SNS.
    pub fn aws_url(&self) -> String {
        todo!()
    }

    /// URL of the page.
    pub fn page_url(&self) -> String {
        todo!()
    }

    /// What the template deployed.
    pub fn deployment(&self) -> &Deployment {
        todo!()
    }

    /// Delivers a message over SMTP, from the null reverse-path if `from` is `None`, line ends as they
    /// are, and returns SES's messageId. The error is the server's answer.
    pub async fn send(&self, from: Option<&str>, to: &[&str], message: &[u8]) -> anyhow::Result<String> {
        todo!("{from:?} {to:?} {}", message.len())
    }

    /// Waits until a message has ended. Panics with all that is known of it if it takes longer than
    /// anything should.
    pub async fn settled(&self, message_id: &str) -> End {
        todo!("{message_id}")
    }

    /// The outcome record of a message, wherever its date puts it.
    pub async fn outcome(&self, message_id: &str) -> Option<Value> {
        todo!("{message_id}")
    }

    /// An object of the bucket that messages are stored in.
    pub async fn object(&self, key: &str) -> Option<Bytes> {
        todo!("{key}")
    }

    /// Keys of that bucket with a prefix, in order.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        todo!("{prefix}")
    }

    /// Writes an object to that bucket, whatever the policies say.
    pub async fn put_object(&self, key: &str, body: impl Into<Bytes>) {
        let _: Bytes = body.into();
        todo!("{key}")
    }

    /// Deletes an object of that bucket, whatever the policies say.
    pub async fn delete_object(&self, key: &str) {
        todo!("{key}")
    }

    /// What SES accepted from the functions, oldest first.
    pub fn sent(&self) -> Vec<SentMail> {
        todo!()
    }

    /// What went out by SNS, oldest first.
    pub fn published(&self) -> Vec<Published> {
        todo!()
    }

    /// Messages waiting on a queue, and messages received but not yet deleted. Takes the queue's name.
    pub fn queue_depth(&self, name: &str) -> (usize, usize) {
        todo!("{name}")
    }

    /// Invokes a function by its logical id and waits for its answer, as `aws lambda invoke` does: no retries.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, InvocationError> {
        todo!("{function} {event}")
    }

    /// Invokes a function by its logical id as an asynchronous event, with Lambda's retries, and
    /// returns the request id.
    pub fn invoke_async(&self, function: &str, event: &Value) -> String {
        todo!("{function} {event}")
    }

    /// What the functions logged: function name and line, oldest first.
    pub fn logs(&self) -> Vec<(String, String)> {
        todo!()
    }

    /// The faults that wait for their call; more can be added.
    pub fn faults(&self) -> &Faults {
        todo!()
    }

    /// Everything that happened.
    pub fn journal(&self) -> &Arc<Journal> {
        todo!()
    }

    /// The services themselves, for what has no short cut here.
    pub fn services(&self) -> &Services {
        todo!()
    }

    /// What the roles allow and this run did not use.
    pub fn unused_permissions(&self) -> Vec<UnusedPermission> {
        todo!()
    }
}

/// The repository's folder.
pub fn repository() -> PathBuf {
    let local = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    local.parent().expect("the crate lies in the repository's folder").to_owned()
}

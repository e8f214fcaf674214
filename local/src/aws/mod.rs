//! The endpoints the functions call, on one loopback port: S3, SES v2, SQS and SNS. Each call is
//! authenticated (SigV4), checked against the caller's role, given the fault that was asked for,
//! answered, and told to the journal.

pub mod auth;
pub mod faults;
pub mod s3;
pub mod ses;
pub mod sqs;

use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc};

use tokio::net::TcpListener;

use self::{auth::Callers, faults::Faults, s3::Buckets, sqs::Queue};
use crate::{deployment::Deployment, journal::Journal};

/// What the template does not say.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for `buckets/<bucket>/<key>`, `sent/<ses id>.eml` and `maildir/<address>/`; created.
    pub data: PathBuf,
    /// `HOST:PORT` of an SMTP server that takes what is sent, instead of Maildirs.
    pub relay: Option<String>,
    /// The SES account.
    pub ses: ses::Account,
    /// Faults from the start.
    pub faults: Vec<faults::Fault>,
}

/// All services of one deployment.
#[derive(Debug, Clone)]
pub struct Services {
    callers: Callers,
    faults: Faults,
    buckets: Buckets,
    queues: Arc<BTreeMap<String, Queue>>,
    ses: ses::Sender,
}

impl Services {
    /// Creates buckets, queues and topics of a deployment.
    pub fn new(deployment: &Deployment, journal: Arc<Journal>, options: Options) -> anyhow::Result<Services> {
        todo!("{deployment:?} {journal:?} {options:?}")
    }

    /// Answers calls until `shutdown` ends; then cuts every connection.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        todo!("{listener:?}")
    }

    /// Access keys of the instances.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Faults that wait for their call.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The buckets, for what needs no HTTP: SES receiving, tests, the page.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// A queue by its ARN.
    pub fn queue(&self, arn: &str) -> Option<&Queue> {
        self.queues.get(arn)
    }

    /// The SES account, whose settings may change while it runs.
    pub fn ses(&self) -> &ses::Sender {
        &self.ses
    }
}

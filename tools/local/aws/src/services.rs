//! The endpoints the functions and people call, on one loopback port: S3, SES, SQS, SNS and STS, and of
//! Lambda, CloudFormation, CloudWatch and its Logs what tells of a deployment and invokes a function. Each call is
//! authenticated (SigV4), checked against the caller's role, given the fault that was asked for,
//! answered, and told to the journal.
//!
//! Not supported: TLS, presigned requests other than S3's, regions and accounts other than the
//! deployment's, operations that neither the functions nor a person who looks at the stack need.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, body::Incoming, http::request::Parts, server::conn::http1};
use hyper_util::rt::TokioIo;
use ses_forwarder_local_template::deployment::Deployment;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    auth::{self, Callers},
    cloudformation, cloudwatch,
    delivery::Delivery,
    event_bus::EventBus,
    faults::{self, Faults},
    flight::{Common, Cut, Flight},
    functions,
    journal::Journal,
    lambda::Lambda,
    logs,
    pace::Pace,
    query,
    receipt_rules::RuleSets,
    response::{Refusal, Response, refuse_rest},
    s3::{self, Buckets},
    service::Service,
    ses,
    sns::Topics,
    sqs::{self, Queue, Queues},
};

/// Longest request body, in bytes: more than SES's 40 MB in base64, so that SES itself says what is wrong.
const BODY_LIMIT: usize = 96 << 20;

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
    /// How fast the clocks of SQS and SES run.
    pub pace: Pace,
}

/// All services of one deployment.
#[derive(Debug, Clone)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    common: Arc<Common>,
    region: String,
    callers: Callers,
    buckets: Buckets,
    queues: Queues,
    topics: Topics,
    ses: ses::Sender,
    rule_sets: RuleSets,
    stack: cloudformation::Stack,
    alarms: cloudwatch::Alarms,
}

impl Services {
    /// Creates the buckets, queues and topics of a deployment.
    pub fn new(deployment: &Deployment, journal: Arc<Journal>, options: Options) -> anyhow::Result<Services> {
        let data = &options.data;
        std::fs::create_dir_all(data).with_context(|| format!("can't create {}", data.display()))?;
        let callers = Callers::new();
        let faults = Faults::default();
        for fault in options.faults {
            faults.add(fault);
        }
        let queues = Queues::new(deployment, options.pace);
        let bus = EventBus::new(deployment, queues.clone());
        let delivery = Delivery::new(data, options.relay, &deployment.region, Arc::clone(&journal))?;
        Ok(Services(Arc::new(Inner {
            region: deployment.region.clone(),
            buckets: Buckets::new(data, deployment, callers.clone())?,
            queues,
            topics: Topics::new(deployment),
            ses: ses::Sender::new(deployment, options.ses, delivery, bus, options.pace),
            rule_sets: RuleSets::new(deployment),
            stack: cloudformation::Stack::new(deployment),
            alarms: cloudwatch::Alarms::new(deployment),
            common: Arc::new(Common { account: deployment.account.clone(), journal, faults }),
            callers,
        })))
    }

    /// Answers calls until `shutdown` ends; then cuts every connection. `lambda` runs what is invoked.
    pub async fn serve(
        &self,
        listener: TcpListener,
        lambda: Option<Lambda>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(Arc::clone(&self.0), lambda.clone(), stream));
                    }
                    Err(error) => tracing::warn!("can't accept a connection: {error}"),
                },
            }
        }
    }

    /// Access keys of the instances.
    pub fn callers(&self) -> &Callers {
        &self.0.callers
    }

    /// Faults that wait for their call.
    pub fn faults(&self) -> &Faults {
        &self.0.common.faults
    }

    /// The buckets, for what needs no HTTP: SES receiving, tests, the page.
    pub fn buckets(&self) -> &Buckets {
        &self.0.buckets
    }

    /// A queue by its ARN.
    pub fn queue(&self, arn: &str) -> Option<&Queue> {
        self.0.queues.by_arn(arn)
    }

    /// The queues.
    pub fn queues(&self) -> &Queues {
        &self.0.queues
    }

    /// The receipt rule set that is active, if any is.
    pub fn active_rule_set(&self) -> Option<String> {
        self.0.rule_sets.active()
    }

    /// The SES account, whose settings may change while it runs.
    pub fn ses(&self) -> &ses::Sender {
        &self.0.ses
    }
}

/// Answers the calls of one connection. A call that is to be cut ends it with a TCP reset.
async fn converse(services: Arc<Inner>, lambda: Option<Lambda>, stream: TcpStream) {
    let service = hyper::service::service_fn(move |request| {
        let answer: Pin<Box<dyn Future<Output = Result<Response, Cut>> + Send>> =
            Box::pin(answer(Arc::clone(&services), lambda.clone(), request));
        answer
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let stream = connection.into_parts().io.into_inner();
    let cut = ended.is_err_and(|error| {
        std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<Cut>)
    });
    if cut {
        // Closing then resets the connection. That the peer has closed it already is as good.
        let _ = stream.set_zero_linger();
    }
}

async fn answer(
    services: Arc<Inner>,
    lambda: Option<Lambda>,
    request: Request<Incoming>,
) -> Result<Response, Cut> {
    if let Some(name) = request.uri().path().strip_prefix(functions::CODE) {
        let code = lambda.as_ref().and_then(|lambda| functions::code(lambda, name));
        let status = if code.is_some() { 200 } else { 404 };
        let response = hyper::Response::builder().status(status);
        return Ok(response.body(code.unwrap_or_default().into()).expect("a status is valid"));
    }
    let service = Service::of(&request);
    let flight = Arc::new(Flight::new(Arc::clone(&services.common), service));
    let response = if service == Service::S3 {
        services.buckets.answer(Arc::clone(&flight), request).await
    } else {
        let answered = async {
            let (head, body) = read(request).await?;
            let caller = services.callers.verify(&head, &body, &services.region)?;
            match service {
                Service::S3 => unreachable!("answered above, as its bodies are streams"),
                Service::CloudFormation => services.stack.answer(&flight, caller, &body).await,
                Service::CloudWatch => {
                    let reputation = services.ses.reputation();
                    services.alarms.answer(&flight, caller, &head, &body, reputation).await
                }
                Service::Logs => {
                    logs::answer(lambda.as_ref(), &services.common.journal, &flight, caller, &head, &body)
                        .await
                }
                Service::Lambda => functions::answer(lambda.as_ref(), &flight, caller, &head, body).await,
                Service::Ses => services.ses.answer(&flight, caller, &head, body).await,
                Service::SesV1 => {
                    let form = query::Form::parse(&body)?;
                    match form.action() {
                        "SendBounce" => services.ses.send_bounce(&flight, &caller, &form).await,
                        _ => services.rule_sets.answer(&flight, caller, &form).await,
                    }
                }
                Service::Sqs => services.queues.answer(&flight, caller, &head, &body).await,
                Service::Sns => services.topics.answer(&flight, caller, &body).await,
                Service::Sts => identity(&flight, caller, &body).await,
            }
        };
        answered.await.unwrap_or_else(|refusal| refuse(service, &flight, &refusal))
    };
    flight.land(response).await
}

/// The whole body, up to [`BODY_LIMIT`].
async fn read(request: Request<Incoming>) -> Result<(Parts, Bytes), Refusal> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Refusal::new(413, "RequestEntityTooLargeException", "The request body is too large.")
        } else {
            Refusal::new(400, "IncompleteBody", format!("The request body ended early: {error}"))
        }
    })?;
    Ok((head, body.to_bytes()))
}

/// STS GetCallerIdentity, which needs no permission: what tools ask to see whether credentials work.
async fn identity(flight: &Flight, caller: Arc<auth::Caller>, body: &[u8]) -> Result<Response, Refusal> {
    let form = query::Form::parse(body)?;
    match form.action() {
        "GetCallerIdentity" => {
            let (arn, account) = (caller.arn(flight.account()), flight.account());
            flight.admit(&caller, "sts:GetCallerIdentity", "", &arn, Vec::new()).await?;
            let user = query::escape(&caller.access_key_id);
            let result = format!("<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account>");
            Ok(query::response("GetCallerIdentity", query::STS, &flight.request_id, &result))
        }
        other => Err(query::unknown_action(other)),
    }
}

/// A refusal in the service's own protocol.
fn refuse(service: Service, flight: &Flight, refusal: &Refusal) -> Response {
    flight.note_error(&refusal.code);
    match service {
        Service::CloudFormation => query::refuse(refusal, query::CLOUDFORMATION, &flight.request_id),
        Service::S3 => s3::refuse(refusal),
        Service::CloudWatch => cloudwatch::refuse(refusal, &flight.request_id),
        Service::Lambda | Service::Logs | Service::Ses => refuse_rest(refusal, &flight.request_id),
        Service::SesV1 => query::refuse(refusal, query::SES, &flight.request_id),
        Service::Sqs => sqs::refuse(refusal, &flight.request_id),
        Service::Sns => query::refuse(refusal, query::SNS, &flight.request_id),
        Service::Sts => query::refuse(refusal, query::STS, &flight.request_id),
    }
}

//! What SES gets from [`Mailer`], held against what the SDK itself sends for the same message.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_sesv2::{
    Client,
    config::{BehaviorVersion, Config, Credentials, Region, SharedHttpClient, retry::RetryConfig},
    primitives::Blob,
    types::{Destination, EmailContent, MessageTag, RawMessage},
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::StaticTimeSource};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use ses_forwarder_aws::{
    call::{Deadline, Kind},
    outgoing::{Envelope, Mailer, Outgoing},
};

/// What the endpoint does with a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Accepted,
    Refused(u16, &'static str),
    /// The same in these words.
    Says(u16, &'static str, &'static str),
    /// The connection breaks after so many bytes of the body.
    Reset(usize),
    /// Accepted, but only after this time.
    After(Duration),
    /// Nothing.
    Never,
}

/// A request as it came, as far as the body was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uri: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Plays SES: answers in turn, `Accepted` when there is nothing left to say.
#[derive(Debug, Clone, Default)]
struct Endpoint {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Endpoint {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Endpoint {
        Endpoint { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Endpoint::default() }
    }

    fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(self.clone());
        let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
            .time_source(StaticTimeSource::from_secs(1_795_000_000))
            .sleep_impl(TokioSleep::new())
            .retry_config(RetryConfig::disabled())
            .http_client(http);
        Client::from_conf(config.build())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn answer(self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Accepted);
        let enough = if let Answer::Reset(after) = answer { after } else { usize::MAX };
        let mut body = Vec::new();
        while body.len() < enough {
            let Some(frame) = request.body_mut().frame().await else { break };
            body.extend_from_slice(frame.expect("a body from memory").data_ref().expect("no trailers"));
        }
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.seen.lock().unwrap().push(Seen { uri: request.uri().to_owned(), headers, body });
        let (status, json) = match answer {
            Answer::Never => std::future::pending().await,
            Answer::After(time) => {
                tokio::time::sleep(time).await;
                (200, "{\"MessageId\":\"sent-1\"}".to_owned())
            }
            Answer::Accepted => (200, "{\"MessageId\":\"sent-1\"}".to_owned()),
            Answer::Refused(status, code) => (status, error(code, "because")),
            Answer::Says(status, code, text) => (status, error(code, text)),
            Answer::Reset(_) => return Err(ConnectorError::io("connection reset by peer".into())),
        };
        Ok(HttpResponse::new(StatusCode::try_from(status).expect("a status"), SdkBody::from(json)))
    }
}

fn error(code: &str, text: &str) -> String {
    format!("{{\"__type\":\"{code}\",\"message\":\"{text}\"}}")
}

impl HttpConnector for Endpoint {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

/// A message whose header block and body have these lengths; no two places look alike.
fn message(header: usize, body: usize) -> Outgoing {
    let bytes: Vec<u8> = (0..header + body).map(|i: usize| (i * 31 + i / 253) as u8).collect();
    let bytes = Bytes::from(bytes);
    Outgoing { header: bytes.slice(..header), body: bytes.slice(header..), recoding: None }
}

async fn send(
    endpoint: &Endpoint,
    message: &Outgoing,
    within: Duration,
) -> Result<String, (String, Kind, String)> {
    let to = ["jane@out.example".to_owned(), "\"Data\\\":\\\"bWVzc2FnZQ==\"@out.example".to_owned()];
    let envelope = Envelope {
        from: "a_b@in.example",
        to: &to,
        configuration_set: Some("set"),
        tenant: Some("tenant"),
        tags: &[("a", "b".to_owned())],
        feedback: None,
    };
    let mailer = Mailer::new(endpoint.client(), Deadline::after(within));
    mailer.send(message, envelope).await.map_err(|error| (error.code, error.kind, error.message))
}

/// The request that the SDK makes when it is given the whole message.
async fn in_memory(message: &Outgoing) -> Seen {
    let endpoint = Endpoint::default();
    let whole = [&message.header[..], &message.body[..]].concat();
    let raw = RawMessage::builder().data(Blob::new(whole)).build().unwrap();
    endpoint
        .client()
        .send_email()
        .from_email_address("a_b@in.example")
        .destination(
            Destination::builder()
                .to_addresses("jane@out.example")
                .to_addresses("\"Data\\\":\\\"bWVzc2FnZQ==\"@out.example")
                .build(),
        )
        .configuration_set_name("set")
        .tenant_name("tenant")
        .email_tags(MessageTag::builder().name("a").value("b").build().unwrap())
        .content(EmailContent::builder().raw(raw).build())
        .send()
        .await
        .unwrap();
    endpoint.seen().remove(0)
}

/// Headers that name the attempt or the code path and are no part of the request's meaning.
fn comparable(mut seen: Seen) -> Seen {
    let volatile = ["amz-sdk-invocation-id", "amz-sdk-request", "user-agent", "x-amz-user-agent"];
    seen.headers.retain(|(name, _)| !volatile.contains(&name.as_str()));
    seen.headers.sort();
    seen
}

const MINUTE: Duration = Duration::from_secs(60);
const KIB: usize = 1024;

#[tokio::test]
async fn the_streamed_request_is_the_one_the_sdk_makes() {
    let around_a_frame = 48 * KIB - 2..=48 * KIB + 2;
    let sizes = (0..=7).chain(around_a_frame).chain([10_000_000]);
    for size in sizes {
        for header in [0, 1, 2, 3, 500].into_iter().filter(|header| *header <= size) {
            let message = message(header, size - header);
            let endpoint = Endpoint::default();
            assert_eq!(send(&endpoint, &message, MINUTE).await, Ok("sent-1".to_owned()));
            let streamed = comparable(endpoint.seen().remove(0));
            let expected = comparable(in_memory(&message).await);
            assert!(streamed.header("authorization").contains("Signature="), "{streamed:?}");
            assert!(streamed.body == expected.body, "{header} of {size} bytes: another body");
            assert_eq!(streamed.headers, expected.headers, "{header} of {size} bytes");
            assert_eq!(streamed.uri, expected.uri);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_identical_bytes() {
    let message = message(900, 300_000);
    let expected = comparable(in_memory(&message).await);
    let endpoint = Endpoint::new([Answer::Refused(500, "InternalFailure")]);
    assert_eq!(send(&endpoint, &message, MINUTE).await, Ok("sent-1".to_owned()));
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert!(comparable(seen) == expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_ses_may_have_accepted_is_not_sent_again() {
    let message = message(900, 300_000);
    let length = in_memory(&message).await.body.len();
    for answer in [Answer::Reset(0), Answer::Reset(length / 2), Answer::Reset(length), Answer::Never] {
        let endpoint = Endpoint::new([answer]);
        let error = send(&endpoint, &message, MINUTE).await.expect_err("no answer came");
        let code = if matches!(answer, Answer::Never) { "Timeout" } else { "ConnectionFailure" };
        assert_eq!((error.0.as_str(), error.1), (code, Kind::Transient), "{answer:?}");
        assert_eq!(endpoint.seen().len(), 1, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for() {
    let endpoint = Endpoint::new([Answer::After(Duration::from_secs(50))]);
    assert_eq!(send(&endpoint, &message(10, 10), MINUTE).await, Ok("sent-1".to_owned()));
    assert_eq!(endpoint.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_by_its_name() {
    let cases = [
        (400, "MessageRejected", Kind::Permanent, 1),
        (400, "BadRequestException", Kind::Permanent, 1),
        (400, "AccountSuspendedException", Kind::Configuration, 1),
        (400, "MailFromDomainNotVerifiedException", Kind::Configuration, 1),
        (404, "NotFoundException", Kind::Configuration, 1),
        (403, "AccessDeniedException", Kind::Configuration, 1),
        (413, "RequestTooLarge", Kind::Permanent, 1),
        (400, "SendingPausedException", Kind::Paused, 1),
        (400, "LimitExceededException", Kind::Paused, 1),
        (400, "UnheardOfException", Kind::Transient, 3),
        (503, "ServiceUnavailableException", Kind::Transient, 3),
        (500, "InternalFailure", Kind::Transient, 3),
    ];
    for (status, code, kind, attempts) in cases {
        let endpoint = Endpoint::new([Answer::Refused(status, code); 9]);
        let error = send(&endpoint, &message(10, 10), MINUTE).await;
        assert_eq!(error, Err((code.to_owned(), kind, "because".to_owned())));
        assert_eq!(endpoint.seen().len(), attempts, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_and_who_did_so_in_vain_asks_once_until_it_is_heard() {
    let throttle = Answer::Refused(429, "TooManyRequestsException");
    let endpoint = Endpoint::new([throttle; 6].into_iter().chain([Answer::Accepted, throttle]));
    let mailer = Mailer::new(endpoint.client(), Deadline::after(MINUTE));
    let message = message(10, 10);
    let to = ["jane@out.example".to_owned()];
    let envelope = Envelope {
        from: "a_b@in.example",
        to: &to,
        configuration_set: None,
        tenant: None,
        tags: &[],
        feedback: None,
    };
    let mut attempts = Vec::new();
    for _ in 0..6 {
        let before = endpoint.seen().len();
        let mailer = mailer.until(Deadline::after(MINUTE));
        let is_sent = mailer.send(&message, envelope).await.is_ok();
        attempts.push((is_sent, endpoint.seen().len() - before));
    }
    let (sent, not) = (true, false);
    assert_eq!(attempts, [(not, 3), (not, 1), (not, 1), (not, 1), (sent, 1), (sent, 2)]);

    let endpoint = Endpoint::new([throttle; 99]);
    // After throttling it would wait for a second at least.
    assert!(send(&endpoint, &message, Duration::from_millis(900)).await.is_err());
    assert_eq!(endpoint.seen().len(), 1, "there is no time to wait");
}

#[tokio::test]
async fn an_identity_that_is_not_verified_is_no_refusal_of_the_content() {
    let text =
        "Email address is not verified. The following identities failed the check in region US-EAST-1: x";
    let endpoint = Endpoint::new([Answer::Says(400, "MessageRejected", text)]);
    let error = send(&endpoint, &message(10, 10), MINUTE).await.unwrap_err();
    assert_eq!((error.0.as_str(), error.1), ("MessageRejected", Kind::Configuration));
}

#[tokio::test]
async fn a_message_too_large_is_told_so() {
    let endpoint = Endpoint::new([Answer::Refused(400, "BadRequestException")]);
    let size = 31_457_281;
    let error = send(&endpoint, &message(100, size - 100), MINUTE).await.unwrap_err();
    let text = "because (the message has 31457281 bytes, 41943044 in base64; SES takes 41943040)";
    assert_eq!(error, ("BadRequestException".to_owned(), Kind::Permanent, text.to_owned()));
}

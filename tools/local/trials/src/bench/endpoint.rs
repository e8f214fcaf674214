//! S3, SES and the Lambda Runtime API as a measured function sees them: nothing is checked, messages
//! are made up, bodies are read and forgotten.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    serve::Listener,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// How the endpoint behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Each call to AWS takes this much longer.
    pub latency: Duration,
    /// Calls to AWS go over TLS, with a certificate of their own.
    pub tls: bool,
}

/// A running endpoint.
#[derive(Debug)]
pub struct Endpoint {
    world: Arc<World>,
    api: SocketAddr,
    aws_url: String,
    certificate: Option<NamedTempFile>,
    asked: watch::Receiver<bool>,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Answer>,
    sequence: usize,
}

/// What a function answered to an event.
#[derive(Debug)]
pub struct Answer {
    /// Its response, or its error.
    pub result: Result<String, String>,
    /// From the event's hand-over.
    pub took: Duration,
}

#[derive(Debug)]
struct World {
    latency: Duration,
    message: Mutex<Bytes>,
    records: Mutex<HashMap<String, Bytes>>,
    calls: Mutex<usize>,
    handed: Mutex<Instant>,
    asked: watch::Sender<bool>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Endpoint {
    /// Listens on free ports.
    pub async fn start(options: Options) -> anyhow::Result<Endpoint> {
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let (asking, asked) = watch::channel(false);
        let world = Arc::new(World {
            latency: options.latency,
            message: Mutex::default(),
            records: Mutex::default(),
            calls: Mutex::default(),
            handed: Mutex::new(Instant::now()),
            asked: asking,
            events: tokio::sync::Mutex::new(waiting),
            answers: answered,
        });
        let runtime_api = Port(TcpListener::bind("127.0.0.1:0").await?);
        let api = runtime_api.0.local_addr()?;
        let router = Router::new().fallback(runtime).with_state(Arc::clone(&world));
        tokio::spawn(axum::serve(runtime_api, router).into_future());

        let services = Port(TcpListener::bind("127.0.0.1:0").await?);
        let port = services.0.local_addr()?.port();
        let router = Router::new().fallback(aws).with_state(Arc::clone(&world));
        let (aws_url, certificate) = if options.tls {
            let (acceptor, certificate) = certificate()?;
            tokio::spawn(axum::serve(Tls { port: services, acceptor }, router).into_future());
            (format!("https://127.0.0.1:{port}"), Some(certificate))
        } else {
            tokio::spawn(axum::serve(services, router).into_future());
            (format!("http://127.0.0.1:{port}"), None)
        };
        Ok(Endpoint { world, api, aws_url, certificate, asked, events, answers, sequence: 0 })
    }

    /// The variables a function needs to find it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AWS_LAMBDA_RUNTIME_API", self.api.to_string()),
            ("AWS_ENDPOINT_URL", self.aws_url.clone()),
        ];
        let fixed = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "handle-email"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("BUCKET", "mail"),
            ("EMAIL_DOMAIN", "in.example"),
            ("DESTINATION_DOMAIN", "out.example"),
        ];
        variables.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        if let Some(certificate) = &self.certificate {
            variables.push(("SSL_CERT_FILE", certificate.path().display().to_string()));
        }
        variables
    }

    /// Waits until a function asks for its first event.
    pub async fn asked(&mut self) {
        // It can't fail: the world holds the sender as long as this lives.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }

    /// From now on messages have this size; calls are counted anew.
    pub fn begin(&self, size: usize) {
        *lock(&self.world.message) = message(size);
        *lock(&self.world.calls) = 0;
        lock(&self.world.records).clear();
    }

    /// Hands over an event about another message, and waits for the answer.
    pub async fn invoke(&mut self) -> anyhow::Result<Answer> {
        self.sequence += 1;
        self.events.send(event(self.sequence))?;
        self.answers.recv().await.ok_or_else(|| anyhow::anyhow!("the endpoint is gone"))
    }

    /// Calls to AWS since it began.
    pub fn calls(&self) -> usize {
        *lock(&self.world.calls)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// The Runtime API: one event at a time, and the answer to it.
async fn runtime(State(world): State<Arc<World>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if path.ends_with("/invocation/next") {
        world.asked.send_replace(true);
        let Some(event) = world.events.lock().await.recv().await else {
            return StatusCode::GONE.into_response();
        };
        *lock(&world.handed) = Instant::now();
        let headers = [
            ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            ("lambda-runtime-deadline-ms", "99999999999999"),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f"),
            ("content-type", "application/json"),
        ];
        return (headers, event).into_response();
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let took = lock(&world.handed).elapsed();
    let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let result = if path.ends_with("/response") { Ok(text) } else { Err(text) };
    // Nobody listens any more if the measurement has been given up.
    let _ = world.answers.send(Answer { result, took });
    StatusCode::ACCEPTED.into_response()
}

/// S3 and SES.
async fn aws(State(world): State<Arc<World>>, request: Request) -> Response {
    *lock(&world.calls) += 1;
    if !world.latency.is_zero() {
        tokio::time::sleep(world.latency).await;
    }
    let path = request.uri().path().to_owned();
    match *request.method() {
        Method::GET if path.starts_with("/mail/messages/") => {
            let message = lock(&world.message).clone();
            ([("etag", "\"e\"")], message).into_response()
        }
        Method::GET => match lock(&world.records).get(&path).cloned() {
            Some(record) => ([("etag", "\"e\"")], record).into_response(),
            None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response(),
        },
        Method::PUT => {
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            lock(&world.records).insert(path, body.unwrap_or_default());
            StatusCode::OK.into_response()
        }
        _ => {
            forget(request.into_body()).await;
            axum::Json(json!({"MessageId": "sent"})).into_response()
        }
    }
}

async fn forget(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn event(sequence: usize) -> String {
    let pass = json!({"status": "PASS"});
    let timestamp = "2026-11-23T10:00:00.000Z";
    let ses = json!({
        "mail": {
            "timestamp": timestamp,
            "source": "ann@else.example",
            "messageId": format!("m{sequence:06}"),
            "destination": ["info@in.example"],
            "headersTruncated": false,
            "headers": [],
            "commonHeaders": {"from": ["Ann <ann@else.example>"], "subject": "Figures"},
        },
        "receipt": {
            "timestamp": timestamp,
            "processingTimeMillis": 500,
            "recipients": ["info@in.example"],
            "spamVerdict": pass,
            "virusVerdict": pass,
            "spfVerdict": pass,
            "dkimVerdict": pass,
            "dmarcVerdict": pass,
        },
    });
    json!({"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": ses}]}).to_string()
}

/// A message as SES stores it, with an attachment that makes up its size.
fn message(size: usize) -> Bytes {
    const HEADER: &str = "Return-Path: <ann@else.example>\r\n\
        Received: from mail.else.example (mail.else.example [203.0.113.5])\r\n \
        by inbound-smtp.us-east-1.amazonaws.com with SMTP id x for info@in.example;\r\n \
        Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n\
        X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
        Received-SPF: pass (spfCheck: domain of else.example designates 203.0.113.5)\r\n\
        Authentication-Results: amazonses.com;\r\n spf=pass; dkim=pass; dmarc=pass\r\n\
        X-SES-RECEIPT: AEFBQUFBQUFBQUFH\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=else.example; s=s1;\r\n bh=sj=; b=EQ=\r\n\
        From: =?utf-8?q?Ren=C3=A9e_Doe?= <ann@else.example>\r\n\
        To: \"Info, Desk\" <info@in.example>\r\nCc: other@third.example\r\nSubject: Figures\r\n\
        Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <abc@else.example>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n\
        --b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n\
        --b1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    const LINE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/ABCDEFGHIJKL\r\n";
    let mut message = HEADER.as_bytes().to_vec();
    while message.len() + LINE.len() <= size {
        message.extend_from_slice(LINE.as_bytes());
    }
    message.into()
}

/// A certificate for loopback, and the file that makes a function trust it.
fn certificate() -> anyhow::Result<(TlsAcceptor, NamedTempFile)> {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), certified.cert.pem())?;
    let key = certified.signing_key.serialize_der();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), file))
}

/// A port whose connections send small answers at once.
struct Port(TcpListener);

impl Listener for Port {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.0.accept().await
                && stream.set_nodelay(true).is_ok()
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The same over TLS.
struct Tls {
    port: Port,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.port.accept().await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }
}

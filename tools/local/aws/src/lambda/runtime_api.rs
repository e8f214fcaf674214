//! The Runtime API, a server for each instance on a port of its own, as an instance on Lambda has it to
//! itself.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use super::error::InvocationError;

/// What an answer may weigh. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_ANSWER: usize = 6 * 1024 * 1024;

/// An event as an instance is given it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) request_id: String,
    pub(super) function_arn: String,
    pub(super) deadline: SystemTime,
    pub(super) payload: Bytes,
    /// The trace header.
    pub(super) trace: String,
}

/// What an instance says.
#[derive(Debug, PartialEq)]
pub(super) enum Word {
    /// It asks for the next event.
    Ready,
    /// It can't initialise.
    InitError(InvocationError),
    /// It answers the event with this request id.
    Answer(String, Result<Bytes, InvocationError>),
}

/// The instance's side of the Runtime API.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    address: SocketAddr,
    deliveries: mpsc::Sender<Delivery>,
    words: mpsc::Receiver<Word>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Desk {
    deliveries: Mutex<mpsc::Receiver<Delivery>>,
    words: mpsc::Sender<Word>,
}

impl RuntimeApi {
    /// Starts a server on a free port.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (deliveries, delivered) = mpsc::channel(1);
        let (say, words) = mpsc::channel(8);
        let desk = Arc::new(Desk { deliveries: Mutex::new(delivered), words: say });
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(desk)).await {
                tracing::error!(%error, "the Runtime API of an instance failed");
            }
        });
        Ok(RuntimeApi { address, deliveries, words, server })
    }

    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the instance an event. It must have asked for one.
    pub(super) async fn deliver(&self, delivery: Delivery) {
        // Without a receiver the server is gone, which only this value's drop causes.
        let _ = self.deliveries.send(delivery).await;
    }

    /// What the instance says next; never ends if it says nothing.
    pub(super) async fn word(&mut self) -> Word {
        match self.words.recv().await {
            Some(word) => word,
            None => std::future::pending().await,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(desk)
}

async fn next(State(desk): State<Arc<Desk>>) -> Response {
    // A second `next` while one waits is not lost: it is answered with the event after.
    let mut deliveries = desk.deliveries.lock().await;
    if desk.words.send(Word::Ready).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    let Some(delivery) = deliveries.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let since_epoch = delivery.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", delivery.request_id),
        ("lambda-runtime-deadline-ms", since_epoch.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", delivery.function_arn),
        ("lambda-runtime-trace-id", delivery.trace),
    ];
    (headers, delivery.payload).into_response()
}

async fn response(State(desk): State<Arc<Desk>>, Path(request_id): Path<String>, body: Body) -> Response {
    match axum::body::to_bytes(body, MAX_ANSWER).await {
        Ok(answer) => accept(&desk, Word::Answer(request_id, Ok(answer))).await,
        Err(error) => {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size (6291556 bytes): {error}."
            );
            let error = InvocationError::new("Function.ResponseSizeTooLarge", message);
            accept(&desk, Word::Answer(request_id, Err(error))).await;
            StatusCode::PAYLOAD_TOO_LARGE.into_response()
        }
    }
}

async fn error(
    State(desk): State<Arc<Desk>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    accept(&desk, Word::Answer(request_id, Err(invocation_error(&headers, &body)))).await
}

async fn init_error(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    accept(&desk, Word::InitError(invocation_error(&headers, &body))).await
}

async fn accept(desk: &Desk, word: Word) -> Response {
    // Without a listener the instance is being stopped; it has no use for an error.
    let _ = desk.words.send(word).await;
    (StatusCode::ACCEPTED, Json(json!({"status": "OK"}))).into_response()
}

/// The error a runtime reports; its type stands in a header where the body has none.
fn invocation_error(headers: &HeaderMap, body: &[u8]) -> InvocationError {
    let mut error: InvocationError = serde_json::from_slice(body).unwrap_or_else(|_| {
        InvocationError::new("Runtime.InvalidErrorShape", String::from_utf8_lossy(body).into_owned())
    });
    if error.error_type.is_empty() {
        let header = headers.get("lambda-runtime-function-error-type").and_then(|value| value.to_str().ok());
        error.error_type = header.unwrap_or("Runtime.UnknownReason").to_owned();
    }
    error
}

//! One call on its way: who makes it, what it does, what is to go wrong, and what became of it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected};
use hyper::body::Frame;

use crate::{
    auth::{Caller, FunctionCaller, Invocation},
    faults::{DELIVER, Effect, Fate, Faults},
    journal::{Event, Journal},
    needs::Needs,
    response::{Body, Refusal, Response},
    service::Service,
};

/// Longer than any client waits for an answer.
const HANG: Duration = Duration::from_secs(3600);

/// The connection is to be cut instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut on request")]
pub(super) struct Cut;

/// What every call needs, whichever service it is for.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) account: String,
    pub(super) journal: Arc<Journal>,
    /// Faults that wait for their call.
    pub(super) faults: Faults,
}

/// One call.
#[derive(Debug)]
pub(super) struct Flight {
    common: Arc<Common>,
    service: Service,
    started: Instant,
    /// What the answer names it by.
    pub(super) request_id: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    admitted: Option<Admitted>,
    effect: Option<Effect>,
    error: Option<String>,
}

/// What is known of a call once its caller is.
#[derive(Debug, Clone)]
struct Admitted {
    caller: Arc<Caller>,
    invocation: Option<Invocation>,
    operation: String,
    resource: String,
}

impl Flight {
    pub(super) fn new(common: Arc<Common>, service: Service) -> Flight {
        let request_id = uuid::Uuid::new_v4().to_string();
        Flight { common, service, started: Instant::now(), request_id, state: Mutex::default() }
    }

    pub(super) fn account(&self) -> &str {
        &self.common.account
    }

    /// The message the caller works on, where one is known.
    pub(super) fn message_id(&self) -> Option<String> {
        self.state().admitted.as_ref().and_then(|call| call.invocation.as_ref()?.message_id.clone())
    }

    /// Tells the journal what the call did.
    pub(super) fn note(&self, event: Event) {
        self.common.journal.note(self.message_id().as_deref(), event);
    }

    /// Whether the caller may do something else, which decides what the answer says.
    pub(super) fn may(&self, needs: Needs) -> bool {
        let caller = self.state().admitted.as_ref().map(|call| Arc::clone(&call.caller));
        caller.is_some_and(|caller| caller.check(needs).is_ok())
    }

    /// Lets a call through, if the caller's role allows all that it needs, and does what a fault asks
    /// to be done before the call takes effect. `subject` is what a fault's prefix is compared with.
    pub(super) async fn admit(
        &self,
        caller: &Arc<Caller>,
        operation: &str,
        subject: &str,
        resource: &str,
        needs: Vec<Needs>,
    ) -> Result<(), Refusal> {
        let invocation = caller.function.as_ref().and_then(FunctionCaller::invocation);
        self.state().admitted = Some(Admitted {
            caller: Arc::clone(caller),
            invocation,
            operation: operation.to_owned(),
            resource: resource.to_owned(),
        });
        for needs in needs {
            caller.check(needs).map_err(|sentence| self.service.denied(sentence))?;
        }
        // Before the fault is taken, so that no clearing goes by in between.
        let mut cleared = self.common.faults.cleared();
        let Some(fault) = self.common.faults.take(operation, subject) else { return Ok(()) };
        self.note(Event::Fault { what: format!("{fault} at {resource}") });
        let cut = || Refusal::new(500, "Cut", "cut on request");
        self.state().effect = Some(fault.effect);
        match fault.effect {
            Effect::Hang => {
                tokio::time::sleep(HANG).await;
                Err(cut())
            }
            Effect::ResetBefore => Err(cut()),
            Effect::KillBefore => {
                self.kill(caller).await;
                Err(cut())
            }
            Effect::Slow(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Effect::Held => {
                cleared.changed().await.expect("the faults outlive each call");
                Ok(())
            }
            Effect::ResetAfter | Effect::Truncate | Effect::KillAfter | Effect::Fate(_) => Ok(()),
            refusing => Err(refusing.refusal(self.service).expect("all others are answers")),
        }
    }

    /// What a fault asks a destination to do with what is sent to it.
    pub(super) fn fate(&self, destination: &str) -> Option<Fate> {
        let fault = self.common.faults.take(DELIVER, destination)?;
        let Effect::Fate(fate) = fault.effect else { return None };
        self.note(Event::Fault { what: format!("{fault} at {destination}") });
        Some(fate)
    }

    /// For the journal, where an answer's body has the error code.
    pub(super) fn note_error(&self, code: &str) {
        self.state().error = Some(code.to_owned());
    }

    /// Does what a fault asks to be done with the answer, and tells the journal.
    pub(super) async fn land(&self, response: Response) -> Result<Response, Cut> {
        let (admitted, effect, error) = {
            let state = self.state();
            (state.admitted.clone(), state.effect, state.error.clone())
        };
        let outcome = match effect {
            Some(Effect::Hang | Effect::ResetBefore | Effect::ResetAfter | Effect::KillBefore) => Err(Cut),
            Some(Effect::KillAfter) => {
                if let Some(call) = &admitted {
                    self.kill(&call.caller).await;
                }
                Err(Cut)
            }
            Some(Effect::Truncate) => Ok(truncate(response).await),
            _ => Ok(response),
        };
        if let Some(call) = admitted {
            let function = call.caller.function.as_ref().map_or("operator", |function| &function.name);
            let error = error.or_else(|| {
                let status = outcome.as_ref().ok()?.status();
                (status.is_client_error() || status.is_server_error()).then(|| status.to_string())
            });
            self.common.journal.note(
                call.invocation.as_ref().and_then(|invocation| invocation.message_id.as_deref()),
                Event::Called {
                    function: function.to_owned(),
                    action: call.operation,
                    resource: call.resource,
                    status: outcome.as_ref().ok().map(|response| response.status().as_u16()),
                    error,
                    took: self.started.elapsed(),
                },
            );
        }
        outcome
    }

    /// Asks for the caller's end and waits for it: the connection then breaks and ends this task.
    async fn kill(&self, caller: &Caller) {
        // The operator's own calls are only cut.
        if let Some(function) = &caller.function {
            function.kill();
            tokio::time::sleep(HANG).await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// Promises the whole body and breaks off after half of it.
async fn truncate(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let whole = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    head.headers.remove(hyper::header::TRANSFER_ENCODING);
    head.headers.insert(hyper::header::CONTENT_LENGTH, whole.len().max(1).into());
    let half = Half { bytes: Some(whole.slice(..whole.len() / 2)), sent: false };
    Response::from_parts(head, Body::http_body(half))
}

/// Half a body, and then an error.
struct Half {
    bytes: Option<Bytes>,
    sent: bool,
}

/// A body is to end early, as a connection does that breaks.
#[derive(Debug, thiserror::Error)]
#[error("truncated on request")]
struct Truncated;

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.sent {
            // Only where there is nothing more for now does the server flush what it has.
            self.sent = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Truncated)))
    }
}

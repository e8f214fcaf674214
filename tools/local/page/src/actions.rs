//! The buttons: ordinary forms, answered by going to where the effect is seen.

use axum::{
    Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use bytes::Bytes;
use mail_parser::{HeaderName, MessageParser};
use serde::Deserialize;
use ses_forwarder::delivery::Reason;
use ses_forwarder_local_aws::{faults::Fault, receiving::Envelope};

use crate::{access::Shared, message, outgoing, problem::problem, samples};

#[derive(Deserialize)]
pub(super) struct SampleForm {
    sample: String,
}

/// Has SES receive a sample.
pub(super) async fn send_sample(State(page): Shared, Form(form): Form<SampleForm>) -> Response {
    let Some(sample) = samples::SAMPLES.iter().find(|sample| sample.name == form.sample) else {
        return problem(StatusCode::NOT_FOUND, "There is no such sample.");
    };
    let Some(email_domain) = page.access.deployment.email_domain() else {
        return problem(
            StatusCode::CONFLICT,
            "The template has no parameter EmailDomain to send a sample to.",
        );
    };
    let message = sample.message(email_domain);
    let recipient = sample.recipient(email_domain);
    if page.access.receiving.accepts(&recipient, true).is_err() {
        return problem(
            StatusCode::CONFLICT,
            "No receipt rule of the template takes mail for the sample's recipient.",
        );
    }
    let envelope = Envelope {
        from: sample.from.map(str::to_owned),
        recipients: vec![recipient],
        helo: "mail.else.example".to_owned(),
        peer: "192.0.2.25".to_owned(),
        tls: true,
    };
    let id = page.access.receiving.receive(envelope, &message).await;
    Redirect::to(&format!("/messages/{id}")).into_response()
}

/// Invokes the function with the archived notification, as a redrive does.
pub(super) async fn try_again(State(page): Shared, Path(id): Path<String>) -> Response {
    let Some(notification) = message::notification(&page, &id).await else {
        return problem(StatusCode::NOT_FOUND, "There is no index record of this message to try again from.");
    };
    let Some(function) = message::forwarder(&page.access.deployment) else {
        return problem(StatusCode::CONFLICT, "No receipt rule of the template invokes a function.");
    };
    match page.access.lambda.invoke_async(function, notification) {
        Ok(_) => Redirect::to(&format!("/messages/{id}")).into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Which messages to release.
#[derive(Deserialize)]
pub(super) struct ReleaseForm {
    /// Even one that a virus was found in.
    #[serde(default)]
    virus: bool,
    /// All that was dropped from the same envelope sender.
    #[serde(default)]
    all: bool,
}

/// Has a message sent that was dropped, as `ses-forwarder release` does; what comes of it is seen on its page.
pub(super) async fn release(
    State(page): Shared,
    Path(id): Path<String>,
    Form(ReleaseForm { virus, all }): Form<ReleaseForm>,
) -> Response {
    let Some(function) = message::forwarder(&page.access.deployment).map(str::to_owned) else {
        return problem(StatusCode::CONFLICT, "No receipt rule of the template invokes a function.");
    };
    let ids = if all { page.live.list().of_same_sender(&id) } else { vec![id.clone()] };
    let mut events = Vec::new();
    for id in ids {
        let reason = message::releasable(&page, &id).await;
        // One that a virus was found in is released by itself.
        if reason.is_some_and(|reason| !all || reason != Reason::Virus)
            && let Some(notification) = message::notification(&page, &id).await
        {
            events.push(event(&notification, virus));
        }
    }
    if events.is_empty() {
        return problem(
            StatusCode::CONFLICT,
            "No verdict and no line for its sender keeps this message back.",
        );
    }
    let lambda = page.access.lambda.clone();
    tokio::spawn(async move {
        for event in events {
            // Whatever it comes to is on the message's page.
            let _ = lambda.invoke(&function, event).await;
        }
    });
    Redirect::to(&if all { "/".to_owned() } else { format!("/messages/{id}") }).into_response()
}

/// The event of a message that its owner asks for.
fn event(notification: &[u8], virus: bool) -> Bytes {
    let ses = String::from_utf8_lossy(notification);
    let record = format!(r#"{{"eventSource":"aws:ses","eventVersion":"1.0","ses":{}}}"#, ses.trim_end());
    format!(r#"{{"release":true,"virus":{virus},"Records":[{record}]}}"#).into()
}

/// An answer to something that was sent.
#[derive(Deserialize)]
pub(super) struct AnswerForm {
    ses_id: String,
    text: String,
}

/// Has SES receive what the reader of a forwarded message answers.
pub(super) async fn answer(
    State(page): Shared,
    Path(id): Path<String>,
    Form(AnswerForm { ses_id, text }): Form<AnswerForm>,
) -> Response {
    let Some((sent, destinations)) = outgoing::sent_as(&page, &id, &ses_id).await else {
        return problem(StatusCode::NOT_FOUND, "Nothing was sent under this id.");
    };
    let parsed = MessageParser::default().parse_headers(&*sent);
    let (Some(parsed), Some(owner)) = (parsed, destinations.first()) else {
        return problem(StatusCode::CONFLICT, "What was sent has no header to answer to.");
    };
    let to = parsed.reply_to().or(parsed.from()).into_iter().flat_map(|list| list.clone().into_list());
    let to: Vec<String> = to.filter_map(|mailbox| Some(mailbox.address?.into_owned())).collect();
    let accepted = to.iter().filter(|to| page.access.receiving.accepts(to, true).is_ok());
    let recipients: Vec<String> = accepted.cloned().collect();
    if recipients.is_empty() {
        let message = "An answer goes to an address that this stack receives no mail for.";
        return problem(StatusCode::CONFLICT, message);
    }
    let (_, domain) = owner.rsplit_once('@').unwrap_or(("", owner));
    let given = match page.access.deployment.region.as_str() {
        "us-east-1" => format!("<{ses_id}@email.amazonses.com>"),
        region => format!("<{ses_id}@{region}.amazonses.com>"),
    };
    let references = parsed.header_raw(HeaderName::References).unwrap_or_default().trim_end();
    let subject = parsed.header_raw(HeaderName::Subject).unwrap_or_default().trim();
    let subject =
        if subject.to_ascii_lowercase().starts_with("re:") { "" } else { "Re: " }.to_owned() + subject;
    let number = page.access.journal.entries().len();
    let letter = format!(
        "From: {owner}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{number}@laptop.{domain}>\r\n\
         In-Reply-To: {given}\r\nReferences:{references}\r\n {given}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nUser-Agent: the local stack's page\r\n\r\n{text}\r\n",
        to = to.join(",\r\n "),
    );
    let envelope = Envelope {
        from: Some(owner.clone()),
        recipients,
        helo: format!("mail.{domain}"),
        peer: "192.0.2.25".to_owned(),
        tls: true,
    };
    let id = page.access.receiving.receive(envelope, letter.as_bytes()).await;
    Redirect::to(&format!("/messages/{id}")).into_response()
}

#[derive(Deserialize)]
pub(super) struct FaultForm {
    operation: String,
    effect: String,
    /// `*`: the next so many; `@`: only the one of that number.
    which: String,
    count: u32,
}

/// Makes the next calls, or a later one, go wrong.
pub(super) async fn inject_fault(State(page): Shared, Form(form): Form<FaultForm>) -> Response {
    let FaultForm { operation, effect, which, count } = form;
    match format!("{}={}{}{count}", operation.trim(), effect.trim(), which.trim()).parse::<Fault>() {
        Ok(fault) => {
            page.access.services.faults().add(fault);
            Redirect::to("/").into_response()
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

/// Takes all faults back.
pub(super) async fn clear_faults(State(page): Shared) -> Response {
    page.access.services.faults().clear();
    Redirect::to("/").into_response()
}

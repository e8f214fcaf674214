//! The AWS Query protocol, which CloudFormation, SES's first API, SNS and STS speak: a form in, XML out.

use std::borrow::Cow;

use crate::response::{Body, Refusal, Response};

/// XML namespace of CloudFormation.
pub(super) const CLOUDFORMATION: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";
/// XML namespace of SES's first API.
pub(super) const SES: &str = "http://ses.amazonaws.com/doc/2010-12-01/";
/// XML namespace of SNS.
pub(super) const SNS: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
/// XML namespace of STS.
pub(super) const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A form, decoded.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Result<Form, Refusal> {
        serde_urlencoded::from_bytes(body)
            .map(Form)
            .map_err(|error| Refusal::new(400, "MalformedQueryString", error.to_string()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn action(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }
}

/// `result` is XML already.
pub(super) fn response(action: &str, namespace: &str, request_id: &str, result: &str) -> Response {
    let body = format!(
        "<{action}Response xmlns=\"{namespace}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    );
    xml(200, body)
}

pub(super) fn refuse(refusal: &Refusal, namespace: &str, request_id: &str) -> Response {
    let fault = if refusal.status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{fault}</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        escape(&refusal.code),
        escape(&refusal.message)
    );
    xml(refusal.status, body)
}

pub(super) fn unknown_action(action: &str) -> Refusal {
    Refusal::new(400, "InvalidAction", format!("The action {action} is not supported here."))
}

/// An XML element with a text.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// Text as XML content.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"))
}

fn xml(status: u16, body: String) -> Response {
    hyper::Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, "text/xml")
        .body(Body::from(body))
        .expect("status and content type are valid")
}

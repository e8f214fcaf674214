//! What a call is answered, in whichever service's protocol.

pub(crate) type Body = s3s::Body;
pub(crate) type Response = hyper::Response<Body>;

/// Why a call is not answered as asked: HTTP status, error code, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.into(), message: message.into() }
    }
}

/// A JSON answer.
pub(crate) fn json(status: u16, content_type: &'static str, body: &serde_json::Value) -> Response {
    hyper::Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, content_type)
        .body(Body::from(body.to_string()))
        .expect("status and content type are valid")
}

/// A refusal in the JSON protocol that has operations as paths.
pub(crate) fn refuse_rest(refusal: &Refusal, request_id: &str) -> Response {
    let mut response =
        json(refusal.status, "application/json", &serde_json::json!({ "message": refusal.message }));
    for (name, value) in [("x-amzn-errortype", refusal.code.as_str()), ("x-amzn-requestid", request_id)] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

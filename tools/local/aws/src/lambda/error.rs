//! How an invocation fails.

/// An invocation that failed, as Lambda reports it to who invoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{error_type}: {error_message}")]
pub struct InvocationError {
    /// Such as `Sandbox.Timedout`, or what the function gave.
    #[serde(rename = "errorType", default)]
    pub error_type: String,
    /// One sentence.
    #[serde(rename = "errorMessage", default)]
    pub error_message: String,
}

impl InvocationError {
    pub(super) fn new(error_type: &str, error_message: String) -> Self {
        InvocationError { error_type: error_type.to_owned(), error_message }
    }
}

//! The Lambda service: Runtime API, instances of the real binaries, asynchronous invocation, and the queue poller.

/// An invocation that failed, as Lambda reports it to who invoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{error_type}: {error_message}")]
pub struct InvocationError {
    /// Such as `Sandbox.Timedout`, or what the function gave.
    #[serde(rename = "errorType")]
    pub error_type: String,
    /// One sentence.
    #[serde(rename = "errorMessage")]
    pub error_message: String,
}

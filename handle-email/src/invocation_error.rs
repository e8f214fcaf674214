//! What an invocation fails with, for Lambda, the dead-letter queue and the person who gets the
//! notice.

use std::fmt;

use lambda_runtime::Diagnostic;
use ses_forwarder_aws::call::CallError;

/// Why a message was not forwarded: Lambda's `errorType` and `errorMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationError {
    /// A name for the kind of failure: that of a service, such as `MessageRejected`, or one of
    /// `MessageNotFound`, `InvalidRoutes`, `NoRoutes`, `InvalidOutcome`, `InProgress`,
    /// `UnreadableNotification`, `Bounce`.
    pub name: String,
    /// What failed, for which message.
    pub sentence: String,
}

impl InvocationError {
    /// A failure by name.
    pub fn new(name: impl Into<String>, sentence: impl Into<String>) -> InvocationError {
        InvocationError { name: name.into(), sentence: sentence.into() }
    }

    /// A destination's refusal of forwarded mail came back.
    pub(crate) fn bounce() -> InvocationError {
        let sentence = "a destination refuses mail that was forwarded to it; the message says which";
        InvocationError::new("Bounce", sentence)
    }

    /// Something was sent, and the record of it failed.
    pub(crate) fn not_recorded(error: CallError) -> InvocationError {
        let sentence = format!("sent, but this could not be recorded, so it may be sent again: {error}");
        InvocationError::new(error.code, sentence)
    }

    /// The same, about a message.
    #[must_use]
    pub fn about(self, message_id: &str) -> InvocationError {
        InvocationError { sentence: format!("message {message_id}: {}", self.sentence), ..self }
    }

    /// One failure that names all of them; `None` if there are none.
    pub fn all(failures: Vec<InvocationError>) -> Option<InvocationError> {
        failures.into_iter().reduce(|first, next| InvocationError {
            sentence: format!("{}; {}: {}", first.sentence, next.name, next.sentence),
            ..first
        })
    }
}

impl From<CallError> for InvocationError {
    fn from(error: CallError) -> InvocationError {
        InvocationError { sentence: error.to_string(), name: error.code }
    }
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvocationError { name, sentence } = self;
        if sentence.contains(name) { f.write_str(sentence) } else { write!(f, "{name}: {sentence}") }
    }
}

impl std::error::Error for InvocationError {}

/// This goes to the dead-letter queue or to whoever invokes, into no log, so it keeps its words. The name
/// stands in the message too: of both, a dead-letter queue gets the message only.
impl From<InvocationError> for Diagnostic {
    fn from(failure: InvocationError) -> Diagnostic {
        Diagnostic { error_message: failure.to_string(), error_type: failure.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_are_all_named() {
        let failures = vec![
            InvocationError::new("MessageNotFound", "gone").about("m1"),
            InvocationError::new("Timeout", "no answer").about("m2"),
        ];
        let all = InvocationError::new("MessageNotFound", "message m1: gone; Timeout: message m2: no answer");
        assert_eq!(InvocationError::all(failures), Some(all));
        assert_eq!(InvocationError::all(vec![]), None);
    }

    #[test]
    fn a_failure_keeps_its_words() {
        let failure =
            InvocationError::new("MessageRejected", "Email address is not verified: jane@x.example");
        let diagnostic = Diagnostic {
            error_type: "MessageRejected".to_owned(),
            error_message: "MessageRejected: Email address is not verified: jane@x.example".to_owned(),
        };
        assert_eq!(Diagnostic::from(failure), diagnostic);
    }
}

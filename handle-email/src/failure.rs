//! What an invocation fails with, for Lambda, the dead-letter queue and the person who gets the
//! notice.

use std::fmt;

use lambda_runtime::Diagnostic;
use ses_forwarder_aws::call::CallError;

/// Why a message was not forwarded: Lambda's `errorType` and `errorMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A name for the kind of failure: that of a service, such as `MessageRejected`, or one of
    /// `MessageNotFound`, `InvalidRoutes`, `NoRoutes`, `InvalidOutcome`, `InProgress`,
    /// `UnreadableNotification`, `Bounce`.
    pub name: String,
    /// What failed, for which message.
    pub sentence: String,
}

impl Failure {
    /// A failure by name.
    pub fn new(name: impl Into<String>, sentence: impl Into<String>) -> Failure {
        Failure { name: name.into(), sentence: sentence.into() }
    }

    /// The same, about a message.
    #[must_use]
    pub fn about(self, message_id: &str) -> Failure {
        Failure { sentence: format!("message {message_id}: {}", self.sentence), ..self }
    }

    /// One failure that names all of them; `None` if there are none.
    pub fn all(failures: Vec<Failure>) -> Option<Failure> {
        failures.into_iter().reduce(|first, next| Failure {
            sentence: format!("{}; {}: {}", first.sentence, next.name, next.sentence),
            ..first
        })
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        Failure { sentence: error.to_string(), name: error.code }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { name, sentence } = self;
        if sentence.contains(name) { f.write_str(sentence) } else { write!(f, "{name}: {sentence}") }
    }
}

impl std::error::Error for Failure {}

/// This goes to the dead-letter queue or to whoever invokes, into no log, so it keeps its words. The name
/// stands in the message too: of both, a dead-letter queue gets the message only.
impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Diagnostic {
        Diagnostic { error_message: failure.to_string(), error_type: failure.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_are_all_named() {
        let failures = vec![
            Failure::new("MessageNotFound", "gone").about("m1"),
            Failure::new("Timeout", "no answer").about("m2"),
        ];
        let all = Failure::new("MessageNotFound", "message m1: gone; Timeout: message m2: no answer");
        assert_eq!(Failure::all(failures), Some(all));
        assert_eq!(Failure::all(vec![]), None);
    }

    #[test]
    fn a_failure_keeps_its_words() {
        let failure = Failure::new("MessageRejected", "Email address is not verified: jane@x.example");
        let diagnostic = Diagnostic {
            error_type: "MessageRejected".to_owned(),
            error_message: "MessageRejected: Email address is not verified: jane@x.example".to_owned(),
        };
        assert_eq!(Diagnostic::from(failure), diagnostic);
    }
}

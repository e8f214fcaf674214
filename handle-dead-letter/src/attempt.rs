//! One more try of a message: `handle-email` is invoked with it, and its answer waited for.
//!
//! Waited for, since an asynchronous event that fails would make another letter: so there is one letter
//! a message until the end. The event names the request that failed in `continues`: `handle-email` acts
//! on its behalf, and so what that request has claimed is its own, as with Lambda's retries. Which try it is
//! stands in `tries`: should another have been begun meanwhile, as the queue handed out the letter twice,
//! `handle-email` leaves the message to that one.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-sync.html>

use std::time::Duration;

use aws_sdk_lambda::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    primitives::Blob,
};
use serde::Deserialize;
use ses_forwarder::outcome::Failure;
use ses_forwarder_aws::{
    call::{CONNECT, CallError, Kind},
    clients::SdkConfig,
};

use crate::{cause, letter::FailedMessage};

/// How a try ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The message is dealt with.
    Done,
    /// It failed with this.
    Failed(Failure),
    /// Lambda did not say how it ended, so it may go on.
    Unanswered(Failure),
    /// There was none: Lambda runs as many functions as it may.
    Busy,
}

/// A client that invokes once, and waits as long as that takes: a second invocation beside one that is only slow
/// would be a second try.
pub(crate) fn client(configuration: &SdkConfig) -> Client {
    // Set to nothing, since what is not set stays as it is for all other calls.
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).disable_operation_attempt_timeout();
    let config = aws_sdk_lambda::config::Builder::from(configuration)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build());
    Client::from_conf(config.build())
}

/// Makes the try number `tries` of a message in the name of the request `continues`, for as long as `time`.
pub(crate) async fn attempt(
    client: &Client,
    function: &str,
    message: &FailedMessage<'_>,
    (continues, tries): (Option<&str>, u32),
    time: Duration,
) -> Attempt {
    ask(client, function, event(message, continues, tries), time).await
}

/// Invokes the function with an event, and waits for its answer for as long as `time`.
pub(crate) async fn ask(client: &Client, function: &str, event: String, time: Duration) -> Attempt {
    let call = client.invoke().function_name(function).payload(Blob::new(event));
    let Ok(result) = tokio::time::timeout(time, call.send()).await else {
        let sentence = "Invoke failed: Timeout: the function gave no answer in time";
        return Attempt::Unanswered(Failure { code: "Timeout".to_owned(), message: sentence.to_owned() });
    };
    match result {
        Ok(output) if output.function_error.is_none() => Attempt::Done,
        Ok(output) => Attempt::Failed(failure(output.payload.as_ref().map_or(&[], |blob| blob.as_ref()))),
        Err(error) => {
            let error = CallError::from_sdk("Invoke", &error);
            if error.kind == Kind::Throttled {
                return Attempt::Busy;
            }
            Attempt::Unanswered(Failure { message: error.to_string(), code: error.code })
        }
    }
}

/// The event that SES would have sent of this message alone.
fn event(message: &FailedMessage<'_>, continues: Option<&str>, tries: u32) -> String {
    let continues = continues.map(|id| format!("\"continues\":\"{id}\",")).unwrap_or_default();
    let ses = &message.verbatim;
    format!(
        r#"{{{continues}"tries":{tries},"Records":[{{"eventSource":"aws:ses","eventVersion":"1.0","ses":{ses}}}]}}"#
    )
}

/// What a function that failed answered.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    error_type: Option<String>,
    error_message: Option<String>,
}

fn failure(payload: &[u8]) -> Failure {
    let Answer { error_type, error_message } = serde_json::from_slice(payload).unwrap_or_default();
    let message = error_message.unwrap_or_else(|| "Lambda gave no error message".to_owned());
    let code = error_type.or_else(|| cause::code_in(&message).map(str::to_owned));
    Failure { code: code.unwrap_or_else(|| "Error".to_owned()), message }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ses_forwarder::notification::{Notification, Record, records};

    use super::*;

    #[test]
    fn an_event_is_read_back_as_what_it_was_made_of() {
        let verbatim = r#"{"mail":{"messageId":"m1"},"receipt":{"recipients":["a@in.example"]}}"#;
        let message =
            FailedMessage { verbatim: Cow::Borrowed(verbatim), notification: Notification::default() };
        for continues in [None, Some("8c1b5f0e-1f5a")] {
            let event = event(&message, continues, 3);
            let event: Box<serde_json::value::RawValue> = serde_json::from_str(&event).unwrap();
            let records = records(&event);
            let [Record::Received { verbatim: read, .. }] = records.as_slice() else { panic!("one message") };
            assert_eq!(read, verbatim);
            let whole: serde_json::Value = serde_json::from_str(event.get()).unwrap();
            assert_eq!((whole["continues"].as_str(), whole["tries"].as_u64()), (continues, Some(3)));
        }
    }

    #[test]
    fn failures_are_read_from_whatever_a_function_answers() {
        let cases = [
            (r#"{"errorType":"MessageRejected","errorMessage":"m"}"#, "MessageRejected", "m"),
            (
                r#"{"errorMessage":"x Task timed out after 60.00 seconds"}"#,
                "Sandbox.Timedout",
                "x Task timed out after 60.00 seconds",
            ),
            ("{}", "Error", "Lambda gave no error message"),
            ("gone", "Error", "Lambda gave no error message"),
        ];
        for (payload, code, message) in cases {
            let expected = Failure { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(failure(payload.as_bytes()), expected, "{payload}");
        }
    }
}

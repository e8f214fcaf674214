//! What a Lambda function does before its first event: log as Lambda asks, and say why if it can't
//! start.
//!
//! Errors keep their words, addresses too, as records and notices need them. They are left out where a line
//! is logged, whoever logs it and however it was made: this program, the runtime, the SDK or a panic.

use std::{
    env,
    io::{self, Write},
    panic::{self, PanicHookInfo},
};

use lambda_runtime::{Diagnostic, Error};
use lambda_runtime_api_client::{Client, body::Body};
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use ses_forwarder::settings::SettingsError;

/// Targets that may log at the level asked for. Others may warn: what the SDK says below that holds
/// addresses and bodies.
const OURS: [&str; 3] = ["ses_forwarder", "handle_email", "handle_dead_letter"];

/// Where the runtime logs what a handler failed with. The functions do so themselves, with the message that
/// it is about, and so does [`start_logging`] of a panic.
const TOLD_BY_US: &str = "lambda_runtime::layers::panic";

/// Logs to standard output as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` say: JSON objects with
/// `timestamp`, `level` and `message`, or lines of text.
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>
pub fn start_logging() {
    let asked = env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    let level = asked.and_then(|level| level_named(&level)).unwrap_or(LevelFilter::INFO);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)))
        .with_target(TOLD_BY_US, LevelFilter::OFF);
    let json = env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(|| Redacted);
    let registry = tracing_subscriber::registry().with(targets);
    if json {
        registry.with(lines.json().flatten_event(true)).init();
    } else {
        registry.with(lines).init();
    }
    panic::set_hook(Box::new(|panic| tracing::error!("{}", told(panic))));
}

/// What is logged of a panic: where it was, and what it says unless that was made of something, as that may be
/// a mail. Lambda is told all of it.
fn told(panic: &PanicHookInfo<'_>) -> String {
    let said = panic.payload().downcast_ref::<&'static str>();
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let said = said.map_or_else(|| "the error of this invocation says more".to_owned(), ToString::to_string);
    format!("panicked at {at}: {said}")
}

/// Writes a line to the log, which is standard output, without the addresses in it.
pub fn log_line(line: &str) {
    let line = without_addresses_in_line(line);
    // Nobody is left to tell if that fails.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Standard output, for whole lines.
struct Redacted;

impl Write for Redacted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes).lines().for_each(log_line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// The same line; of JSON each text is redacted as it reads, not as it is escaped.
fn without_addresses_in_line(line: &str) -> String {
    fn redact(value: &mut Value) {
        match value {
            Value::String(text) => *text = without_addresses(text),
            Value::Array(list) => list.iter_mut().for_each(redact),
            Value::Object(object) => object.values_mut().for_each(redact),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    if !line.contains('@') {
        return line.to_owned();
    }
    match serde_json::from_str(line) {
        Ok(mut value @ Value::Object(_)) => {
            redact(&mut value);
            value.to_string()
        }
        _ => without_addresses(line),
    }
}

fn level_named(name: &str) -> Option<LevelFilter> {
    if name.eq_ignore_ascii_case("fatal") { Some(LevelFilter::ERROR) } else { name.parse().ok() }
}

/// Logs why the function can't start and tells Lambda, which then shows it to whoever invokes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror>
pub async fn refuse_to_start(error: SettingsError) -> Error {
    tracing::error!("{error}");
    if let Err(unheard) = report(&error).await {
        tracing::error!("Lambda could not be told: {unheard}");
    }
    error.into()
}

async fn report(error: &SettingsError) -> Result<(), Error> {
    let name = "SettingsError";
    let diagnostic = Diagnostic { error_type: name.to_owned(), error_message: error.to_string() };
    let request = http::Request::post("/2018-06-01/runtime/init/error")
        .header("content-type", "application/json")
        .header("lambda-runtime-function-error-type", name)
        .body(Body::from(serde_json::to_string(&diagnostic)?))?;
    Client::builder().build()?.call(request).await?;
    Ok(())
}

/// A text for a log: what stands before the `@` of each address in it is left out.
fn without_addresses(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut parts = text.split('@').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            redacted.push_str(part);
            break;
        }
        redacted.push_str(&part[..local_part(part)]);
        redacted.push_str("…@");
    }
    redacted
}

/// Where a local part begins that ends with the text.
fn local_part(text: &str) -> usize {
    quoted_local_part(text).unwrap_or_else(|| {
        let is_before = |c: char| c.is_whitespace() || "<>()[]:;,'\"".contains(c);
        text.rfind(is_before).map_or(0, |at| at + 1)
    })
}

/// The same for one in quotation marks. Sentences quote too: `"a" or "@x.example"`.
fn quoted_local_part(text: &str) -> Option<usize> {
    let open = text.strip_suffix('"')?;
    let mut quotes = open.rmatch_indices('"').map(|(at, _)| at);
    let at = quotes.find(|at| !open[..*at].ends_with('\\'))?;
    let content = &open[at + 1..];
    let is_content = !content.starts_with(char::is_whitespace) && content.contains(char::is_alphanumeric);
    is_content.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_that_lambda_offers() {
        let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "VERBOSE"];
        let levels = [
            Some(LevelFilter::TRACE),
            Some(LevelFilter::DEBUG),
            Some(LevelFilter::INFO),
            Some(LevelFilter::WARN),
            Some(LevelFilter::ERROR),
            Some(LevelFilter::ERROR),
            None,
        ];
        assert_eq!(names.map(level_named), levels);
    }

    #[test]
    fn a_line_of_json_stays_one() {
        let line = r#"{"a":"from \"jane doe\"@x.example","b":[{"c":"Rejected(\"ann@y.example\")"}],"d":1}"#;
        let redacted = r#"{"a":"from …@x.example","b":[{"c":"Rejected(\"…@y.example\")"}],"d":1}"#;
        assert_eq!(without_addresses_in_line(line), redacted);
        assert_eq!(without_addresses_in_line("ERROR to jane@x.example"), "ERROR to …@x.example");
        assert_eq!(without_addresses_in_line("{\"no\":\"address\"}"), "{\"no\":\"address\"}");
    }

    #[test]
    fn no_local_part_is_logged() {
        let cases = [
            ("nothing to hide", "nothing to hide"),
            ("jane@example.com", "…@example.com"),
            (
                "in region US-EAST-1: a.b+c@x.example, d@y.example",
                "in region US-EAST-1: …@x.example, …@y.example",
            ),
            ("from 'Jane <jane@x.example>'", "from 'Jane <…@x.example>'"),
            ("@x.example and a@", "…@x.example and …@"),
            ("ü@é@x", "…@…@x"),
            (r#"not verified: "jane doe"@x.example"#, "not verified: …@x.example"),
            (r#""a \"b\" c"@x.example, "d"@y.example"#, "…@x.example, …@y.example"),
            (r#"allowed are "a" and "@x.example""#, r#"allowed are "a" and "…@x.example""#),
        ];
        for (text, redacted) in cases {
            assert_eq!(without_addresses(text), redacted);
        }
    }
}

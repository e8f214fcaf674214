//! What a Lambda function does before its first event: log as Lambda asks, and say why if it can't
//! start.

use std::env;

use lambda_runtime::{Diagnostic, Error};
use lambda_runtime_api_client::{Client, body::Body};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use ses_forwarder::settings::SettingsError;

/// Targets that may log at the level asked for. Others may warn: what the SDK says below that holds
/// addresses and bodies.
const OURS: [&str; 3] = ["ses_forwarder", "handle_email", "handle_dead_letter"];

/// Logs to standard output as `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` say: JSON objects with
/// `timestamp`, `level` and `message`, or lines of text.
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>
pub fn start_logging() {
    let asked = env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    let level = asked.and_then(|level| level_named(&level)).unwrap_or(LevelFilter::INFO);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)));
    let json = env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    if json {
        registry.with(lines.json().flatten_event(true)).init();
    } else {
        registry.with(lines).init();
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
pub fn without_addresses(text: &str) -> String {
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

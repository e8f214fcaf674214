//! The Lambda service, with a function that goes wrong on demand.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use ses_forwarder_local_aws::journal::{Entry, Event};
use ses_forwarder_local_stack::{Parts, Stack};
use tokio::sync::broadcast::Receiver;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(600);

/// Invokes the function and returns its answer, or error type and message with the request id left out.
async fn invoke(stack: &Parts, order: Value) -> Result<Value, (String, String)> {
    stack.invoke("Function", &order).await.map_err(|error| {
        let message =
            match error.error_message.strip_prefix("RequestId: ").and_then(|rest| rest.split_once(' ')) {
                Some((_, rest)) => rest.to_owned(),
                None => error.error_message,
            };
        (error.error_type, message)
    })
}

fn error(error_type: &str, message: &str) -> Result<Value, (String, String)> {
    Err((error_type.to_owned(), message.to_owned()))
}

/// The next entry that a test looks for; shows what came instead if it does not come.
async fn next<T>(live: &mut Receiver<Arc<Entry>>, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let mut others = String::new();
    let search = async {
        loop {
            let entry = live.recv().await.unwrap();
            if let Some(found) = wanted(&entry.event) {
                return found;
            }
            others.push_str(&format!("{entry}\n"));
        }
    };
    let found = tokio::time::timeout(LIMIT, search).await;
    found.unwrap_or_else(|_| panic!("it did not come; what came was:\n{others}"))
}

#[tokio::test]
async fn an_event_comes_with_its_context() {
    let stack = support::start(&[]).await;
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let answer = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    assert_eq!(answer["functionArn"], stack.function("Function").unwrap().arn.as_str());
    assert_eq!(answer["requestId"].as_str().unwrap().len(), 36);
    assert_eq!(answer["memory"], 128);
    assert!(answer["deadline"].as_u64().unwrap() >= before + 60_000, "{answer}");
    assert!(answer["traceId"].as_str().unwrap().starts_with("Root=1-"), "{answer}");
}

#[tokio::test]
async fn the_environment_is_lambdas_and_the_templates_and_nothing_else() {
    let stack = support::start(&[]).await;
    let environment = invoke(&stack, json!({"do": "environment"})).await.unwrap();
    let names: Vec<_> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            "AWS_LAMBDA_LOG_FORMAT",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "INIT",
            "LAMBDA_RUNTIME_DIR",
            "LAMBDA_TASK_ROOT",
            "LANG",
            "PATH",
            "TZ",
            "_HANDLER",
            // The runtime sets this one for its own process, from the header of the event.
            "_X_AMZN_TRACE_ID",
        ]
    );
    assert_eq!(environment["AWS_ENDPOINT_URL"], stack.aws_url());
    assert_eq!(environment["AWS_REGION"], "us-east-1");
    assert_eq!(environment["INIT"], "works");
    assert_eq!(environment["AWS_LAMBDA_LOG_GROUP_NAME"], "/aws/lambda/small-Function");
}

#[tokio::test]
async fn an_instance_is_used_again_and_replaced_when_it_is_gone() {
    let stack = support::start(&[]).await;
    let first = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    let second = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    assert_eq!((&first["count"], &second["count"]), (&json!(1), &json!(2)));
    assert_eq!(first["process"], second["process"]);
    assert_ne!(first["requestId"], second["requestId"]);
    invoke(&stack, json!({"do": "exit", "code": 1})).await.unwrap_err();
    let third = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    assert_eq!(third["count"], 1);
}

#[tokio::test]
async fn events_at_once_have_an_instance_each_up_to_the_concurrency() {
    let stack = support::start(&[]).await;
    let (_, mut live) = stack.journal().follow();
    let file = stack.data().join("done");
    let work: Vec<_> = (0..4)
        .map(|_| {
            let (stack, order) = (Parts::clone(&stack), json!({"do": "await", "file": file}));
            tokio::spawn(async move { invoke(&stack, order).await })
        })
        .collect();
    for _ in &work {
        next(&mut live, |event| matches!(event, Event::Invoked { .. }).then_some(())).await;
    }
    assert_eq!(
        invoke(&stack, json!({"do": "answer"})).await,
        error("TooManyRequestsException", "Rate Exceeded: all instances of Function are busy.")
    );
    std::fs::write(file, "").unwrap();
    for waiting in work {
        assert_eq!(waiting.await.unwrap(), Ok(json!({})));
    }
    let answer = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    assert_eq!(answer["count"], 2, "an instance that is done is used again");
}

#[tokio::test]
async fn an_instance_that_timed_out_is_not_used_again() {
    let stack = support::start(&[("Timeout", "5")]).await;
    assert_eq!(
        invoke(&stack, json!({"do": "sleep", "ms": 600_000})).await,
        error("Sandbox.Timedout", "Error: Task timed out after 5.00 seconds")
    );
    let answer = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    assert_eq!(answer["count"], 1);
}

#[tokio::test]
async fn what_goes_wrong_is_told_as_lambda_tells_it() {
    let stack = support::start(&[]).await;
    for (order, expected) in [
        (
            json!({"do": "exit", "code": 3}),
            error("Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        ),
        (
            json!({"do": "exit", "code": 0}),
            error("Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        ),
        (
            json!({"do": "abort"}),
            error("Runtime.ExitError", "Error: Runtime exited with error: signal: aborted"),
        ),
        (
            json!({"do": "allocate", "mb": 200}),
            error("Runtime.OutOfMemory", "Error: Runtime exited with error: signal: killed"),
        ),
        (json!({"do": "allocate", "mb": 20}), Ok(json!(20 * 1024 * 1024))),
        (
            json!({"do": "fail", "message": "no"}),
            error(
                "&alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>",
                "no",
            ),
        ),
        (
            json!({"do": "panic"}),
            error(
                "&alloc::boxed::Box<dyn core::any::Any + core::marker::Send>",
                "Lambda panicked: it panicked",
            ),
        ),
        (json!({"do": "say", "answer": "x".repeat(7 << 20)}), error("Function.ResponseSizeTooLarge", "")),
    ] {
        let name = order.to_string().chars().take(60).collect::<String>();
        match (invoke(&stack, order).await, expected) {
            (Err((error_type, message)), Err((expected_type, expected_message))) => {
                assert_eq!(error_type, expected_type, "{name}: {message}");
                assert!(message.starts_with(&expected_message), "{name}: {message}");
            }
            (answer, expected) => assert_eq!(answer, expected, "{name}"),
        }
    }
}

#[tokio::test]
async fn a_function_that_cannot_start_fails_its_event() {
    let stack = support::start(&[("Init", "exit")]).await;
    assert_eq!(
        invoke(&stack, json!({"do": "answer"})).await,
        error("Runtime.ExitError", "Error: Runtime exited with error: exit status 7")
    );
    let stack = support::start(&[("Init", "hang")]).await;
    assert_eq!(
        invoke(&stack, json!({"do": "answer"})).await,
        // The limit of the first event, whatever the time-out.
        error("Sandbox.Timedout", "Error: Task timed out after 10.00 seconds")
    );
}

#[tokio::test]
async fn log_lines_are_kept_in_order_if_the_role_allows() {
    let order = json!({"do": "log", "lines": ["one", "", "two", "\u{fc} three", "four"]});
    let stack = support::start(&[]).await;
    invoke(&stack, order.clone()).await.unwrap();
    let mut lines: Vec<_> = stack.logs().into_iter().map(|(_, line)| line).collect();
    // Two pipes: the order holds within each.
    lines.sort_by_key(|line| ["one", "two", "four", "\u{fc} three"].iter().position(|known| known == line));
    assert_eq!(lines, ["one", "two", "four", "\u{fc} three"]);

    let stack = support::start(&[("Log", "logs:CreateLogGroup")]).await;
    invoke(&stack, order).await.unwrap();
    assert_eq!(stack.logs(), []);
}

/// Attempts of an asynchronous event as the journal tells them: request id, attempt, whether it worked, and whether
/// another follows.
async fn attempts(live: &mut Receiver<Arc<Entry>>) -> Vec<(String, u32, bool, bool)> {
    let mut attempts = Vec::new();
    loop {
        let attempt = next(live, |event| match event {
            Event::Returned { request_id, attempt, result, retry_in, .. } => {
                Some((request_id.clone(), *attempt, result.is_ok(), retry_in.is_some()))
            }
            _ => None,
        })
        .await;
        let more = attempt.3;
        attempts.push(attempt);
        if !more {
            return attempts;
        }
    }
}

#[tokio::test]
async fn an_asynchronous_event_is_tried_three_times() {
    let stack = support::start(&[]).await;
    let (_, mut live) = stack.journal().follow();
    let file = stack.data().join("attempts");
    let order = json!({"do": "fail-until", "attempt": 3, "file": file});
    let id = stack.invoke_async("Function", &order).unwrap();
    assert_eq!(
        attempts(&mut live).await,
        [(id.clone(), 1, false, true), (id.clone(), 2, false, true), (id, 3, true, false)]
    );
    assert_eq!(stack.queue_depth("small-Failed"), (0, 0));
}

#[tokio::test]
async fn an_event_that_keeps_failing_is_dead_lettered_as_it_came() {
    let stack = support::start(&[]).await;
    let (_, mut live) = stack.journal().follow();
    let order = json!({"do": "fail", "message": "no"});
    let id = stack.invoke_async("Function", &order).unwrap();
    assert_eq!(attempts(&mut live).await.len(), 3);
    let queue = next(&mut live, |event| match event {
        Event::DeadLettered { queue, .. } => Some(queue.clone()),
        _ => None,
    });
    assert_eq!(queue.await, "small-Failed");
    let arn = &stack.deployment().queues.iter().find(|queue| queue.name == "small-Failed").unwrap().arn;
    let letters = stack.services().queue(arn).unwrap().receive(10, Duration::ZERO, None).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(serde_json::from_str::<Value>(&letter.body).unwrap(), order);
    let attributes: Vec<_> = letter
        .message_attributes
        .iter()
        .map(|(name, attribute)| (name.as_str(), attribute.data_type.as_str(), attribute.value.as_str()))
        .collect();
    assert_eq!(
        attributes,
        [
            ("ErrorCode", "Number", "200"),
            ("ErrorMessage", "String", "no"),
            ("RequestID", "String", id.as_str())
        ]
    );
}

#[tokio::test]
async fn an_event_that_grows_too_old_is_not_tried_again() {
    let stack = support::start(&[("MaximumAge", "60")]).await;
    let (_, mut live) = stack.journal().follow();
    stack.invoke_async("Function", &json!({"do": "fail", "message": "no"})).unwrap();
    assert_eq!(attempts(&mut live).await.len(), 1);
    next(&mut live, |event| matches!(event, Event::DeadLettered { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_batch_that_failed_comes_again() {
    let stack = support::start(&[]).await;
    let (_, mut live) = stack.journal().follow();
    let file = stack.data().join("attempts");
    let arn = &stack.deployment().queues.iter().find(|queue| queue.name == "small-Work").unwrap().arn;
    let queue = stack.services().queue(arn).unwrap();
    queue.send(&json!({"do": "fail-until", "attempt": 2, "file": file}).to_string(), Default::default());
    let attempts: Vec<_> =
        attempts(&mut live).await.into_iter().map(|(_, attempt, ok, _)| (attempt, ok)).collect();
    assert_eq!(attempts, [(1, false), (2, true)]);
    // What was handled is deleted behind its return.
    tokio::time::timeout(LIMIT, async {
        while queue.depth() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("nothing is left");
}

#[tokio::test]
async fn nothing_runs_on_when_the_stack_is_dropped() {
    let stack: Stack = support::start(&[]).await;
    let answer = invoke(&stack, json!({"do": "answer"})).await.unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", answer["process"]));
    let data = stack.data().to_owned();
    assert!(data.exists());
    drop(stack);
    assert!(!process.exists());
    assert!(!data.exists());
}

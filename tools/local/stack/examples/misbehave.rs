//! A function that goes wrong in every way a function can, as its event says: the subject of the tests of the
//! Lambda service. Environment variable `INIT` makes it fail before its first event.

#![allow(clippy::panic, reason = "to panic is one of the ways to go wrong")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// What to do.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order {
    /// Answer with the context, the process id and the count of events so far.
    Answer,
    /// Answer with the environment.
    Environment,
    /// Write lines, then answer.
    Log { lines: Vec<String> },
    /// Return an error.
    Fail { message: String },
    /// Panic.
    Panic,
    /// Take this long.
    Sleep { ms: u64 },
    /// Take until this file is there.
    Await { file: PathBuf },
    /// Touch so much memory and answer.
    Allocate { mb: usize },
    /// End the process.
    Exit { code: i32 },
    /// End the process by a signal.
    Abort,
    /// Succeed from this attempt on, counted in a file.
    FailUntil { attempt: u32, file: PathBuf },
    /// Answer with this.
    Say { answer: Value },
}

/// How often to look whether a file is there.
const LOOK: Duration = Duration::from_millis(10);

static EVENTS: AtomicU32 = AtomicU32::new(0);

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let count = EVENTS.fetch_add(1, Ordering::Relaxed) + 1;
    let order = match Order::deserialize(&event.payload) {
        Ok(order) => order,
        // A batch: what its first message's body says. Anything else, such as mail, is just answered.
        Err(_) => match event.payload.pointer("/Records/0/body").and_then(Value::as_str) {
            Some(body) => serde_json::from_str(body)?,
            None => Order::Answer,
        },
    };
    match order {
        Order::Answer => {
            let context = event.context;
            return Ok(json!({
                "count": count,
                "process": std::process::id(),
                "requestId": context.request_id,
                "functionArn": context.invoked_function_arn,
                "deadline": context.deadline,
                "traceId": context.xray_trace_id,
                "memory": context.env_config.memory,
            }));
        }
        Order::Environment => return Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        Order::Log { lines } => {
            for (number, line) in lines.iter().enumerate() {
                if number % 2 == 0 { println!("{line}") } else { eprintln!("{line}") }
            }
        }
        Order::Fail { message } => return Err(message.into()),
        Order::Panic => panic!("it panicked"),
        Order::Sleep { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
        Order::Await { file } => {
            while !file.exists() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Order::Allocate { mb } => {
            let memory = vec![1_u8; mb * 1024 * 1024];
            return Ok(json!(memory.iter().map(|byte| u64::from(*byte)).sum::<u64>()));
        }
        Order::Exit { code } => std::process::exit(code),
        Order::Abort => std::process::abort(),
        Order::FailUntil { attempt, file } => {
            let attempts = std::fs::read(&file).map_or(0, |marks| marks.len()) + 1;
            std::fs::write(&file, "x".repeat(attempts))?;
            if attempts < attempt as usize {
                return Err(format!("attempt {attempts} fails").into());
            }
        }
        Order::Say { answer } => return Ok(answer),
    }
    Ok(json!({}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match std::env::var("INIT").as_deref() {
        Ok("exit") => std::process::exit(7),
        Ok("hang") => std::future::pending().await,
        _ => {}
    }
    lambda_runtime::run(service_fn(handle)).await
}

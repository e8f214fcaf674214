//! A function that starts as `handle-email` does, and panics at each event with the event's own words: what
//! stands in its log then is looked at by a test.

#![allow(clippy::panic, reason = "it is what this is for")]

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use ses_forwarder_aws::function;

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    panic!("{}", event.payload)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::start_logging();
    Runtime::new(service_fn(handle)).run().await
}

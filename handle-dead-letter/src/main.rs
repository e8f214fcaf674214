//! The Lambda function `handle-dead-letter`: settings, clients, run.

use std::env;

use handle_dead_letter::{Handler, environment::DeadLetterSettings};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use ses_forwarder_aws::{clients, function};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::start_logging();
    let settings = match DeadLetterSettings::read(|name| env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => return Err(function::refuse_to_start(error).await),
    };
    let handler = &Handler::new(settings, &clients::configuration().await);
    // Boxed, since the types of nested futures outgrow what the compiler takes.
    let handle =
        |event: LambdaEvent<_>| Box::pin(async move { handler.handle(event.payload, &event.context).await });
    Runtime::new(service_fn(handle)).run().await
}

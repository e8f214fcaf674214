//! The Lambda function that reads the dead-letter queue: wiring only.

use handle_dead_letter::{HandleDeadLetter, settings::Settings};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::value::RawValue;
use ses_forwarder::{call::Deadline, clients};
use time::OffsetDateTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let settings = Settings::read(|name| std::env::var(name).ok())
        .inspect_err(|error| tracing::error!(%error, "the settings are wrong"))?;
    if let Some(warning) = settings.warning() {
        tracing::warn!("{warning}");
    }
    let function = HandleDeadLetter::new(settings, &clients::configuration().await);
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        let deadline = Deadline::before(context.deadline());
        // Boxed, as the type of what waits inside is nested deeper than the compiler looks.
        let handled = Box::pin(function.handle(&payload, deadline, OffsetDateTime::now_utc()));
        handled.await.map_err(Error::from)
    }))
    .await
}

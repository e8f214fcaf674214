//! The small deployment of `small.yaml`, whose function is the example `misbehave`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use ses_forwarder_local_stack::{Config, Functions, Stack, example};

static MISBEHAVE: LazyLock<PathBuf> = LazyLock::new(|| example("misbehave").unwrap());

/// Starts the small deployment with these parameters.
pub(crate) async fn start(parameters: &[(&str, &str)]) -> Stack {
    let misbehave = tokio::task::spawn_blocking(|| MISBEHAVE.clone()).await.unwrap();
    let config = Config {
        template: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/small.yaml"),
        stack_name: "small".to_owned(),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        functions: Functions::Ready(BTreeMap::from([("misbehave".to_owned(), misbehave)])),
        // It logs whatever it is told to.
        watched: false,
        ..Config::default()
    };
    Stack::start(config).await.unwrap()
}

//! Every fault at every call of both functions.

use ses_forwarder_local_stack::{Functions, repository};
use ses_forwarder_local_trials::reliability;

#[tokio::test]
async fn every_fault_at_every_call_ends_as_the_document_says() {
    let rows = reliability::run(Functions::default()).await.unwrap();
    let violations: Vec<_> = rows.iter().flat_map(|row| row.violations.as_slice()).collect();
    assert!(
        violations.is_empty(),
        "{}",
        violations.iter().map(|text| format!("{text}\n")).collect::<String>()
    );
    let document = std::fs::read_to_string(repository().join("docs/reliability.md")).unwrap();
    let seen = reliability::with_rows(&document, &rows);
    assert_eq!(without_races(&seen), without_races(&document), "run `cargo local reliability`");
}

/// How many copies or notices are made, where nothing forbids more than one, may depend on which of two calls
/// ends first; so may, under a fault that lasts, whether the queue tries a message before or after the fault is gone,
/// and so whether it is told. That it is allowed is asked of every row above.
fn without_races(document: &str) -> String {
    let once = document.replace("**", "").replace(" twice", "");
    let once = (3..10).fold(once, |text, count| text.replace(&format!(" {count} times"), ""));
    let lines = once.lines().map(|line| match line.rsplit_once(" | sent, told: ") {
        Some((before, _)) if line.starts_with("| ") => format!("{before} | sent |"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

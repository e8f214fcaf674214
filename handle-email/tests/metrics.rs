//! What CloudWatch reads from the function's log, and what `template.yaml` shows of it.

mod common;

use std::collections::BTreeSet;

use serde_json::Value;
use ses_forwarder_local_stack::{Config, Stack};

use self::common::{FUNCTION, message, refused_message};

/// A metric as CloudWatch keeps it: name, unit and names of its dimensions.
type Metric = (String, String, Vec<String>);

fn metric(name: &str, unit: &str, dimensions: &[&str]) -> Metric {
    (name.to_owned(), unit.to_owned(), dimensions.iter().map(|name| (*name).to_owned()).collect())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The metrics of a line in the embedded metric format. Each is a number beside `_aws`, each dimension a text.
fn metrics(line: &Value) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
        assert_eq!(directive["Namespace"], "SesForwarder");
        for dimensions in directive["Dimensions"].as_array().expect("sets of dimensions") {
            let dimensions = strings(dimensions);
            assert!(dimensions.iter().all(|name| line[name].is_string()), "{line}");
            for metric in directive["Metrics"].as_array().expect("metrics") {
                let [name, unit] =
                    ["Name", "Unit"].map(|key| metric[key].as_str().expect("a text").to_owned());
                assert!(line[&name].is_number(), "{line}");
                metrics.push((name, unit, dimensions.clone()));
            }
        }
    }
    metrics
}

/// What `handle-dead-letter` counts: messages that are given up, and what destinations do.
const OF_DEAD_LETTERS: [&str; 5] = ["Failed", "Bounced", "Complained", "Delayed", "Delivered"];

/// What needs a destination that does something with a message before it is counted.
const OF_DESTINATIONS: [&str; 5] = ["Bounced", "Complained", "Delayed", "Delivered", "Held"];

/// Names in the widgets of the dashboard, all by function.
fn dashboard() -> BTreeSet<String> {
    let widgets = include_str!("../../template.yaml").split("[\"SesForwarder\", \"").skip(1);
    widgets
        .map(|widget| {
            let (name, dimension) = widget.split_once("\", ").expect("a name");
            let of_dead_letters = OF_DEAD_LETTERS.contains(&name);
            let function = if of_dead_letters { "HandleDeadLetterFunction" } else { "HandleEmailFunction" };
            let by_function = format!("\"FunctionName\", \"${{{function}}}\"");
            assert!(dimension.starts_with(&by_function), "{dimension:.60}");
            name.to_owned()
        })
        .collect()
}

#[tokio::test]
async fn each_end_of_a_message_is_counted_and_shown() {
    let mut config = Config::default();
    config.parameters.insert("RetryHours".to_owned(), "1".to_owned());
    config.parameters.insert("OnRefused".to_owned(), "notice".to_owned());
    let stack = Stack::start(config).await.expect("the stack starts");
    let refused = refused_message();
    let mut ids = Vec::new();
    for (to, message) in [
        ("info@in.example", message()),
        ("info+spam=FAIL@in.example", message()),
        ("info@in.example", refused.as_str()),
    ] {
        ids.push(stack.send(Some("ann@else.example"), &[to], message.as_bytes()).await.expect("taken"));
    }
    for id in &ids {
        stack.settled(id).await;
    }
    stack.faults().add("ses:SendEmail(ann_else.example@)=access-denied".parse().expect("a fault"));
    let failing = stack.send(Some("ann@else.example"), &["info@in.example"], message().as_bytes()).await;
    ids.push(failing.expect("taken"));
    stack.settled(&ids[3]).await;

    let logs = stack.logs();
    let lines: Vec<Value> = logs.iter().filter_map(|(_, line)| serde_json::from_str(line).ok()).collect();
    let of = |id: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["_aws"].is_object() && line["messageId"] == id).collect()
    };
    let count = |name| metric(name, "Count", &["FunctionName"]);
    let bytes = metric("MessageBytes", "Bytes", &["FunctionName"]);

    let [line] = of(&ids[0])[..] else { unreachable!("forwarded once: {lines:#?}") };
    let seconds = metric("ForwardSeconds", "Seconds", &["FunctionName"]);
    assert_eq!(metrics(line), [count("Forwarded"), bytes.clone(), seconds]);
    let function = stack.function(FUNCTION).expect("the function is deployed");
    assert_eq!(line["FunctionName"], function.name.as_str());
    assert_eq!(line["Forwarded"], 1);
    let outcome = stack.outcome(&ids[0]).await.expect("an outcome");
    assert_eq!(line["MessageBytes"], outcome["bytes"]);
    assert_eq!(line["ForwardSeconds"], outcome["forwardMillis"].as_f64().expect("a number") / 1000.0);

    let [line] = of(&ids[1])[..] else { unreachable!("dropped once: {lines:#?}") };
    let by_reason = metric("Dropped", "Count", &["FunctionName", "Reason"]);
    assert_eq!(metrics(line), [count("Dropped"), by_reason]);
    assert_eq!(line["Reason"], "spam");

    let [line] = of(&ids[2])[..] else { unreachable!("refused once: {lines:#?}") };
    assert_eq!(metrics(line), [count("Rejected"), bytes]);

    let [line] = of(&ids[3])[..] else { unreachable!("given up once: {lines:#?}") };
    assert_eq!(metrics(line), [count("Failed")]);

    let written = lines.iter().flat_map(metrics).map(|(name, ..)| name).collect::<BTreeSet<_>>();
    let mut shown = dashboard();
    shown.retain(|name| !OF_DESTINATIONS.contains(&name.as_str()));
    assert_eq!(shown, written);
}

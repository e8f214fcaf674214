//! The way of one message as steps: what happened outside of any invocation, and each invocation
//! with what happened in it.

use std::{sync::Arc, time::SystemTime};

use ses_forwarder_local_aws::journal::{Entry, Event};

/// A step of the way.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Something that happened by itself.
    Event(&'a Entry),
    /// One try of a function.
    Try(Try<'a>),
}

/// One try of a function.
#[derive(Debug)]
pub(super) struct Try<'a> {
    pub(super) at: SystemTime,
    pub(super) function: &'a str,
    pub(super) request_id: &'a str,
    pub(super) attempt: u32,
    /// Calls, faults, what was sent and delivered.
    pub(super) events: Vec<&'a Entry>,
    /// Lines it logged.
    pub(super) log: Vec<(SystemTime, &'a str)>,
    /// How it ended: an [`Event::Returned`].
    pub(super) end: Option<&'a Entry>,
}

/// Reads the steps from the entries about a message, in order.
pub(super) fn steps(entries: &[Arc<Entry>]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = vec![];
    for entry in entries {
        match &entry.event {
            Event::Invoked { function, request_id, attempt } => steps.push(Step::Try(Try {
                at: entry.at,
                function,
                request_id,
                attempt: *attempt,
                events: vec![],
                log: vec![],
                end: None,
            })),
            Event::Called { function, .. } => match open(&mut steps, Some(function)) {
                Some(open) => open.events.push(entry),
                None => steps.push(Step::Event(entry)),
            },
            // A line can come out of the pipe after the answer it belongs to.
            Event::Logged { function, line } => match last(&mut steps, function) {
                Some(open) => open.log.push((entry.at, line)),
                None => steps.push(Step::Event(entry)),
            },
            Event::Sent { .. }
            | Event::Delivered { .. }
            | Event::Undelivered { .. }
            | Event::Feedback { .. }
            | Event::Published { .. }
            | Event::Fault { .. } => match open(&mut steps, None) {
                Some(open) => open.events.push(entry),
                None => steps.push(Step::Event(entry)),
            },
            Event::Returned { function, request_id, attempt, .. } => {
                let ended = tries(&mut steps).find(|open| {
                    open.end.is_none() && open.request_id == request_id && open.attempt == *attempt
                });
                match ended {
                    Some(open) if open.function == function => open.end = Some(entry),
                    _ => steps.push(Step::Event(entry)),
                }
            }
            Event::Received { .. }
            | Event::Stored { .. }
            | Event::ActionFailed { .. }
            | Event::DeadLettered { .. }
            | Event::Lost { .. } => steps.push(Step::Event(entry)),
        }
    }
    steps
}

/// Tries, the latest first.
fn tries<'s, 'a>(steps: &'s mut [Step<'a>]) -> impl Iterator<Item = &'s mut Try<'a>> {
    steps.iter_mut().rev().filter_map(|step| match step {
        Step::Try(open) => Some(open),
        Step::Event(_) => None,
    })
}

fn open<'s, 'a>(steps: &'s mut [Step<'a>], function: Option<&str>) -> Option<&'s mut Try<'a>> {
    tries(steps).find(|open| open.end.is_none() && function.is_none_or(|name| open.function == name))
}

fn last<'s, 'a>(steps: &'s mut [Step<'a>], function: &str) -> Option<&'s mut Try<'a>> {
    tries(steps).find(|open| open.function == function)
}

/// Objects of the bucket that calls about this message named, each once, in order: its index and
/// outcome among them. Bucket and key.
pub(super) fn objects(entries: &[Arc<Entry>]) -> Vec<(&str, &str)> {
    let mut objects = vec![];
    for entry in entries {
        let object = match &entry.event {
            Event::Stored { bucket, key } => Some((bucket.as_str(), key.as_str())),
            Event::Called { resource, .. } => {
                resource.split_once(":s3:::").and_then(|(_, object)| object.split_once('/'))
            }
            _ => None,
        };
        objects.extend(object.filter(|object| !objects.contains(object)));
    }
    objects
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn invoked(function: &str, request: &str, attempt: u32) -> Event {
        Event::Invoked { function: function.to_owned(), request_id: request.to_owned(), attempt }
    }

    fn called(function: &str, resource: &str) -> Event {
        Event::Called {
            function: function.to_owned(),
            action: "s3:GetObject".to_owned(),
            resource: resource.to_owned(),
            status: Some(200),
            error: None,
            took: Duration::ZERO,
        }
    }

    fn logged(function: &str, line: &str) -> Event {
        Event::Logged { function: function.to_owned(), line: line.to_owned() }
    }

    fn returned(function: &str, request: &str, attempt: u32) -> Event {
        Event::Returned {
            function: function.to_owned(),
            request_id: request.to_owned(),
            attempt,
            result: Ok(String::new()),
            retry_in: None,
            took: Duration::ZERO,
            memory: None,
        }
    }

    fn entries(events: Vec<Event>) -> Vec<Arc<Entry>> {
        let entry = |event| Arc::new(Entry { at: SystemTime::UNIX_EPOCH, message_id: None, event });
        events.into_iter().map(entry).collect()
    }

    /// Each step as a word, a try as `function#attempt(events, lines, ended)`.
    fn shown(events: Vec<Event>) -> Vec<String> {
        let entries = entries(events);
        let shown = steps(&entries).into_iter().map(|step| match step {
            Step::Event(entry) => entry.event.to_string().split(' ').next().unwrap_or_default().to_owned(),
            Step::Try(one) => {
                let ended = one.end.is_some();
                format!("{}#{}({}, {}, {ended})", one.function, one.attempt, one.events.len(), one.log.len())
            }
        });
        shown.collect()
    }

    #[test]
    fn events_belong_to_their_try() {
        let stored = || Event::Stored { bucket: "b".to_owned(), key: "k".to_owned() };
        let dead = || Event::DeadLettered { queue: "q".to_owned(), error: "e".to_owned() };
        let delivered = || Event::Delivered { destination: "d".to_owned(), to: "t".to_owned() };
        let cases = [
            ("nothing", vec![], vec![]),
            (
                "forwarded",
                vec![
                    stored(),
                    invoked("f", "r", 1),
                    called("f", "x"),
                    delivered(),
                    logged("f", "l"),
                    returned("f", "r", 1),
                ],
                vec!["stored", "f#1(2, 1, true)"],
            ),
            (
                "late line",
                vec![invoked("f", "r", 1), returned("f", "r", 1), logged("f", "l")],
                vec!["f#1(0, 1, true)"],
            ),
            (
                "two tries and a notice",
                vec![
                    invoked("f", "r", 1),
                    returned("f", "r", 1),
                    invoked("f", "r", 2),
                    called("f", "x"),
                    returned("f", "r", 2),
                    dead(),
                    invoked("g", "s", 1),
                    called("g", "x"),
                ],
                vec!["f#1(0, 0, true)", "f#2(1, 0, true)", "dead-lettered", "g#1(1, 0, false)"],
            ),
            (
                "after the end",
                vec![invoked("f", "r", 1), returned("f", "r", 1), delivered()],
                vec!["f#1(0, 0, true)", "delivered"],
            ),
            (
                "without a try",
                vec![called("f", "x"), returned("f", "r", 1), logged("f", "l")],
                vec!["f", "f", "f"],
            ),
        ];
        for (name, events, expected) in cases {
            assert_eq!(shown(events), expected, "{name}");
        }
    }

    #[test]
    fn objects_are_found() {
        let entries = entries(vec![
            Event::Stored { bucket: "b".to_owned(), key: "messages/m".to_owned() },
            called("f", "arn:aws:s3:::b/messages/m"),
            called("f", "arn:aws:s3:::b/index/2026/01/02/m.json"),
            called("f", "arn:aws:s3:::b"),
            called("f", "arn:aws:ses:eu-west-1:1:identity/in.example"),
        ]);
        assert_eq!(objects(&entries), [("b", "messages/m"), ("b", "index/2026/01/02/m.json")]);
    }
}

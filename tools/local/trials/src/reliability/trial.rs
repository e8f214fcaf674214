//! One message, one fault, and what was seen of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use anyhow::Context;
use serde_json::{Value, json};
use ses_forwarder::{keys::SUSPENDED, notice_mark};
use ses_forwarder_local_aws::{
    faults::{Effect, Fault, When},
    journal::{End, Entry, Event},
    pace::Pace,
    schedules,
    sqs::Attribute,
};
use ses_forwarder_local_stack::{Config, Stack, privacy::leaks, repository};
use time::OffsetDateTime;

use super::CallSite;

const MESSAGE: &[u8] = b"From: Ann <ann@else.example>\r\nTo: info@in.example\r\nSubject: Hello\r\n\
                         Message-ID: <1@else.example>\r\nDate: Wed, 25 Nov 2026 01:02:03 +0000\r\n\r\nHi there.\r\n";

/// A message with a file that SES does not send, so that a stub goes out in its place.
const REFUSED_FILE: &[u8] = b"From: Ann <ann@else.example>\r\nTo: info@in.example\r\nSubject: Hello\r\n\
                              Content-Type: application/x-msdownload; name=a.exe\r\n\r\nMZ\r\n";

/// One that is dropped.
const SPAM: &[u8] =
    b"X-Local-Verdict: spam=FAIL\r\nFrom: Ann <ann@else.example>\r\nSubject: Hello\r\n\r\nHi there.\r\n";

/// What a dead letter says failed, where none has.
const MADE_UP: &str = "message x: SendEmail failed: BadRequestException: made up";

/// The subject of a notice that tells of no failure, but that one has passed.
const ALL_CLEAR: &str = "Mail goes out again";

/// How often a lasting fault may fail the queue's batch before it ends.
const BATCHES: usize = 3;

/// How often a trial is run in which a function is ended by its time-out.
const RUNS: usize = 3;

/// Which function the fault is for. In the order of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A message comes in by SMTP.
    Email,
    /// One comes in that SES refuses for its content: the fault is for the stub's send.
    Stub,
    /// A dead letter lies in the queue.
    DeadLetter,
    /// SES tells that a destination has refused a message for good.
    Feedback,
    /// SES tells that a destination did not take a message for its size.
    TooLarge,
    /// A digest is due.
    Digest,
}

/// A trial that is under way.
#[derive(Debug)]
struct Begun {
    id: String,
    /// What had happened, and been sent, before.
    events: usize,
    sent: usize,
}

/// The message that was refused, and when it came.
const REFUSED: (&str, &str) = ("5f0h2kq8l3vn7c1r9t4m6w0x2z8b1d3g5j7p9s09", "2026-11-23T10:00:00Z");

/// Who refused it.
const REFUSING: &str = "ann@out.example";

/// One message and one fault.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) subject: Subject,
    pub(super) call: CallSite,
    pub(super) effect: Effect,
    /// Every time the call is tried, until the event is given up or the batch has failed several times; else once.
    pub(super) lasting: bool,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Observed {
    end: End,
    /// Copies that SES accepted.
    sent: usize,
    /// Notices that SES accepted, and that SNS did.
    noticed: [usize; 2],
    /// All their text.
    notices: String,
    status: Option<String>,
    /// Whether it is recorded that a destination refused it, and mail for that destination held.
    refused: [bool; 2],
    /// Errors of failed attempts, in order.
    errors: Vec<String>,
    dead_lettered: bool,
    indexed: bool,
    fault_hit: bool,
    /// Log lines that hold what is private.
    leaks: Vec<String>,
    story: String,
}

impl Subject {
    /// All of them, in their order.
    pub(super) const ALL: [Subject; 6] = [
        Subject::Email,
        Subject::Stub,
        Subject::DeadLetter,
        Subject::Feedback,
        Subject::TooLarge,
        Subject::Digest,
    ];

    pub(super) fn binary(self) -> &'static str {
        match self {
            Subject::Email => "handle-email",
            Subject::Stub => "handle-email, for a stub",
            Subject::DeadLetter => "handle-dead-letter",
            Subject::Feedback => "handle-dead-letter, told by SES",
            Subject::TooLarge => "handle-dead-letter, told by SES of a message too large",
            Subject::Digest => "handle-dead-letter, for a digest",
        }
    }

    /// Whether a queue brings it, which hands it out again for as long as it is not dealt with.
    fn is_queued(self) -> bool {
        matches!(self, Subject::DeadLetter | Subject::Feedback | Subject::TooLarge)
    }

    /// Whether it is about a message on its way.
    fn forwards(self) -> bool {
        matches!(self, Subject::Email | Subject::Stub | Subject::DeadLetter)
    }

    /// Does what has to have been done before; `arm` is called before what the fault is for begins.
    async fn begin(self, stack: &Stack, arm: impl FnOnce()) -> anyhow::Result<Begun> {
        let earlier = match self {
            Subject::Email | Subject::Stub | Subject::DeadLetter | Subject::Feedback => None,
            Subject::TooLarge => Some(send(stack, MESSAGE).await?),
            Subject::Digest => Some(send(stack, SPAM).await?),
        };
        if let Some(id) = &earlier {
            stack.settled(id).await;
        }
        let (events, sent) = (stack.journal().entries().len(), stack.sent().len());
        arm();
        let id = self.start(stack, earlier).await?;
        Ok(Begun { id, events, sent })
    }

    /// Starts what the fault is for, and returns the id of the message that it is about. `earlier` is one that came
    /// before.
    async fn start(self, stack: &Stack, earlier: Option<String>) -> anyhow::Result<String> {
        match self {
            Subject::Email => send(stack, MESSAGE).await,
            Subject::Stub => send(stack, REFUSED_FILE).await,
            Subject::TooLarge => {
                let id = earlier.context("a message came before")?;
                let outcome = stack.outcome(&id).await.context("it is recorded")?;
                let sent_id = outcome["sent"][0]["messageId"].as_str().context("it was sent")?;
                let day =
                    outcome["timestamp"].as_str().and_then(|at| at.get(..10)).context("it has a time")?;
                let destination = outcome["destinations"][0].as_str().context("it went somewhere")?;
                tell(stack, &Refusal { id: &id, day, sent_id, destination, status: "5.3.4" })?;
                Ok(id)
            }
            Subject::Digest => {
                let at = OffsetDateTime::now_utc() + time::Duration::minutes(1);
                for (function, event) in schedules::due(stack.deployment(), at) {
                    // As EventBridge does, so that Lambda tries again.
                    stack.lambda().invoke_async(&function, event.to_string().into())?;
                }
                earlier.context("a message came before")
            }
            Subject::Feedback => {
                let (id, received) = REFUSED;
                let outcome = json!({
                    "messageId": id, "timestamp": received, "status": "forwarded", "reason": null, "recipients": [],
                    "destinations": [REFUSING], "sent": [{"messageId": "s1", "destinations": [REFUSING]}],
                    "error": null, "requestId": "r", "bytes": 1, "forwardMillis": null,
                });
                stack.put_object(&format!("outcome/2026/11/23/{id}.json"), outcome.to_string()).await;
                let (day, sent_id) = ("2026-11-23", "s1");
                tell(stack, &Refusal { id, day, sent_id, destination: REFUSING, status: "5.1.1" })?;
                Ok(id.to_owned())
            }
            Subject::DeadLetter => {
                let event = std::fs::read_to_string(repository().join("events/ses-event.json"))?;
                let parsed: Value = serde_json::from_str(&event)?;
                let id = parsed.pointer("/Records/0/ses/mail/messageId").and_then(Value::as_str);
                let id = id.context("the event names a message")?.to_owned();
                let queue = &stack.deployment().queues.first().context("there is a queue")?.arn;
                let attribute = |data_type: &str, value: &str| Attribute {
                    data_type: data_type.to_owned(),
                    value: value.to_owned(),
                };
                let attributes = BTreeMap::from([
                    ("RequestID".to_owned(), attribute("String", &uuid::Uuid::new_v4().to_string())),
                    ("ErrorCode".to_owned(), attribute("Number", "200")),
                    ("ErrorMessage".to_owned(), attribute("String", MADE_UP)),
                ]);
                stack.services().queue(queue).context("the queue runs")?.send(&event, attributes);
                Ok(id)
            }
        }
    }
}

async fn send(stack: &Stack, message: &[u8]) -> anyhow::Result<String> {
    stack.send(Some("ann@else.example"), &["info@in.example"], message).await
}

/// What SES tells of a destination that has refused a message.
struct Refusal<'a> {
    id: &'a str,
    day: &'a str,
    sent_id: &'a str,
    destination: &'a str,
    status: &'a str,
}

/// Puts SES's event on the queue that EventBridge fills.
fn tell(stack: &Stack, refusal: &Refusal<'_>) -> anyhow::Result<()> {
    let Refusal { id, day, sent_id, destination, status } = refusal;
    let tags = json!({"forwarder-message": [id], "forwarder-day": [day]});
    let bounce = json!({
        "bounceType": "Permanent", "bounceSubType": "General", "timestamp": format!("{day}T10:00:07Z"),
        "bouncedRecipients": [{"emailAddress": destination, "status": status}],
    });
    let mail = json!({"messageId": sent_id, "tags": tags});
    let event = json!({
        "source": "aws.ses", "detail-type": "Email Bounced",
        "detail": {"eventType": "Bounce", "mail": mail, "bounce": bounce},
    });
    let mut queues = stack.deployment().queues.iter();
    let queue = queues.find(|queue| queue.name.contains("Feedback")).context("there is a queue")?;
    let queue = stack.services().queue(&queue.arn).context("the queue runs")?;
    queue.send(&event.to_string(), BTreeMap::new());
    Ok(())
}

/// The calls the function makes in a clean run, each once, in order.
pub(super) async fn calls(config: &Config, subject: Subject) -> anyhow::Result<Vec<CallSite>> {
    let stack = Stack::start(config.clone()).await?;
    let begun = subject.begin(&stack, || {}).await?;
    begun.end(subject, &stack).await;
    if subject == Subject::Stub {
        // Like all other mail, but for the second send.
        return Ok(vec![CallSite { operation: "ses:SendEmail".to_owned(), prefix: None }]);
    }
    let mut calls = BTreeSet::new();
    for entry in stack.journal().entries().iter().skip(begun.events) {
        if let Event::Called { action, resource, .. } = &entry.event {
            // arn:aws:s3:::bucket/outcome/2026/…: the folder tells what it is about.
            let folder = resource.strip_prefix("arn:aws:s3:::").and_then(|path| path.split('/').nth(1));
            let prefix = folder.map(|folder| format!("{folder}/"));
            calls.insert(CallSite { operation: action.clone(), prefix });
        }
    }
    Ok(calls.into_iter().collect())
}

impl Begun {
    /// Waits until what was seen since answers a question.
    async fn until<T>(&self, stack: &Stack, question: impl Fn(&[Arc<Entry>]) -> Option<T>) -> T {
        let asked = || question(stack.journal().entries().get(self.events..).unwrap_or_default());
        stack.eventually(|| async { asked() }).await
    }

    /// Waits until nothing more happens, and says how it ended.
    async fn end(&self, subject: Subject, stack: &Stack) -> End {
        let end = match subject {
            Subject::Digest => {
                self.until(stack, |entries| {
                    entries.iter().find_map(|entry| match &entry.event {
                        Event::Returned { result, retry_in: None, .. } => {
                            Some(result.clone().map_or_else(End::Lost, |_| End::Returned))
                        }
                        _ => None,
                    })
                })
                .await
            }
            _ => stack.settled(&self.id).await,
        };
        // The message may be through before whoever had it tried again is done.
        stack.emptied().await;
        end
    }
}

impl Trial {
    /// Runs it, and once more where a function was ended by its time-out: they answer a second before it, which a busy
    /// machine may not leave them. One that does not answer is ended each time.
    pub(super) async fn run(&self, config: &Config) -> anyhow::Result<Observed> {
        for _ in 1..RUNS {
            let observed = self.observe(config).await?;
            if !observed.is_timed_out() {
                return Ok(observed);
            }
        }
        self.observe(config).await
    }

    /// How fast the clocks run: slower where it matters that something has happened by a time, so that it has on
    /// however busy a machine.
    fn pace(&self, usual: Pace) -> Pace {
        let is_of_outcome = self.call.prefix.as_deref() == Some("outcome/");
        match (self.subject, self.effect) {
            // What a person has to mend is told, unless its letter is five minutes old when it is first looked at.
            (Subject::Email | Subject::Stub, Effect::AccessDenied | Effect::NotFound) => Pace::times(20),
            // Three batches fail within 37 minutes; an event whose outcome is missing for an hour is done with.
            (Subject::Feedback | Subject::TooLarge, Effect::NotFound) if is_of_outcome && self.lasting => {
                Pace::times(100)
            }
            _ => usual,
        }
    }

    async fn observe(&self, config: &Config) -> anyhow::Result<Observed> {
        let stack = Stack::start(Config { pace: self.pace(config.pace), ..config.clone() }).await?;
        // SES refuses the first send by itself.
        let first = if self.subject == Subject::Stub { 2 } else { 1 };
        let arm = || {
            stack.faults().add(Fault {
                operation: self.call.operation.clone(),
                prefix: self.call.prefix.clone(),
                effect: self.effect,
                when: if self.lasting { When::From(first) } else { When::Nth(first) },
            });
        };
        let begun = self.subject.begin(&stack, arm).await?;
        if self.lasting {
            begun.until(&stack, |entries| self.is_given_up(entries).then_some(())).await;
            stack.faults().clear();
        }
        let end = begun.end(self.subject, &stack).await;
        Ok(Observed::of(&stack, &begun, end).await)
    }

    /// Whether a lasting fault has lasted long enough.
    fn is_given_up(&self, entries: &[Arc<Entry>]) -> bool {
        let is_failure = |event: &Event| matches!(event, Event::Returned { result: Err(_), .. });
        let failed = entries.iter().filter(|entry| is_failure(&entry.event)).count();
        let over = entries.iter().any(|entry| {
            matches!(
                &entry.event,
                Event::DeadLettered { .. } | Event::Lost { .. } | Event::Returned { result: Ok(_), .. }
            )
        });
        over || (self.subject.is_queued() && failed >= BATCHES)
    }

    /// Whether SES or SNS may have accepted what the function does not know of, or has not recorded.
    fn may_double(&self) -> bool {
        let unknown = matches!(self.effect, Effect::ResetAfter | Effect::KillAfter);
        let killed = matches!(self.effect, Effect::KillBefore | Effect::KillAfter);
        match (self.subject, self.call.operation.as_str(), self.call.prefix.as_deref()) {
            (Subject::Email | Subject::Stub, "ses:SendEmail", _) => unknown,
            (Subject::Email, "s3:PutObject", Some("outcome/")) => true,
            // The two channels go at once: a process killed at one may have used the other.
            (
                Subject::DeadLetter | Subject::Feedback | Subject::TooLarge | Subject::Digest,
                "ses:SendEmail" | "sns:Publish",
                _,
            ) => unknown || killed,
            // The record of a stub's send.
            (Subject::TooLarge, "s3:PutObject", Some("outcome/")) => true,
            // The mark of a digest that is out.
            (Subject::Digest, "s3:PutObject", Some("error/")) => true,
            // Here it says what has been told.
            (Subject::Feedback, "s3:PutObject" | "s3:GetObject", Some("state/" | "outcome/")) => true,
            // That it can't be recorded is told, and then that it has failed.
            (Subject::DeadLetter, "s3:GetObject", Some("outcome/"))
            | (Subject::DeadLetter, "s3:PutObject", Some("outcome/" | "index/")) => true,
            // Here it marks what has been told.
            (Subject::DeadLetter, "s3:PutObject", Some("error/")) => true,
            _ => false,
        }
    }

    /// What the error of a failed attempt must name.
    fn cause(&self) -> &'static [&'static str] {
        match self.effect {
            Effect::Throttle => &["SlowDown", "TooManyRequests", "Throttl"],
            Effect::Internal => &["InternalError", "InternalFailure"],
            Effect::Unavailable => &["ServiceUnavailable"],
            Effect::AccessDenied => &["AccessDenied"],
            Effect::NotFound => &["NoSuchKey", "NotFound"],
            Effect::Reject => &["MessageRejected", "InvalidRequest"],
            Effect::Hang => &["Timeout"],
            Effect::ResetBefore | Effect::ResetAfter | Effect::Truncate => {
                &["ConnectionFailure", "UnreadableResponse", "BodyInterrupted"]
            }
            Effect::KillBefore | Effect::KillAfter => &["killed"],
            Effect::Slow(_) | Effect::Held | Effect::Fate(_) => &[],
        }
    }
}

impl Observed {
    async fn of(stack: &Stack, begun: &Begun, end: End) -> Observed {
        let Begun { id, events, sent } = begun;
        let mut observed = Observed {
            end,
            sent: 0,
            noticed: [0, 0],
            notices: String::new(),
            status: None,
            refused: [false; 2],
            errors: Vec::new(),
            dead_lettered: false,
            indexed: stack.keys("index/").await.iter().any(|key| key.ends_with(&format!("/{id}.json"))),
            fault_hit: false,
            leaks: leaks(stack.logs().iter().map(|(_, line)| line), MESSAGE),
            story: stack.story(id),
        };
        for mail in stack.sent().split_off(*sent) {
            if !mail.from.starts_with(notice_mark::SENDER) {
                observed.sent += 1;
                continue;
            }
            let text = String::from_utf8_lossy(&mail.raw);
            if !text.contains(ALL_CLEAR) {
                observed.noticed[0] += 1;
                observed.notices.push_str(&text);
            }
        }
        for published in stack.published().iter().filter(|told| !told.subject.contains(ALL_CLEAR)) {
            observed.noticed[1] += 1;
            observed.notices.push_str(&published.text);
        }
        let outcome = stack.outcome(id).await.unwrap_or_default();
        observed.status = outcome["status"].as_str().map(str::to_owned);
        let list = stack.object(SUSPENDED).await.unwrap_or_default();
        let list: Value = serde_json::from_slice(&list).unwrap_or_default();
        let is_held = list["destinations"][REFUSING]["suspended"].is_object();
        observed.refused = [outcome["delivery"][0]["event"] == "bounced", is_held];
        for entry in stack.journal().entries().iter().skip(*events) {
            match &entry.event {
                Event::Returned { result: Err(error), .. } => observed.errors.push(error.clone()),
                Event::DeadLettered { .. } => observed.dead_lettered = true,
                Event::Fault { .. } => observed.fault_hit = true,
                _ => {}
            }
        }
        observed
    }

    /// What the last try of the message failed with. A batch whose letter stays in the queue is none.
    fn last_error(&self) -> Option<&str> {
        let mut tries = self.errors.iter().filter(|error| !error.starts_with("BatchItemFailure"));
        tries.next_back().map(String::as_str)
    }

    /// Whether a function did not answer before its time-out.
    fn is_timed_out(&self) -> bool {
        self.errors.iter().any(|error| error.starts_with("Sandbox.Timedout"))
    }

    /// In the words of the table.
    pub(super) fn cell(&self) -> String {
        let times = |word: &str, count: usize| match count {
            1 => word.to_owned(),
            2 => format!("{word} twice"),
            count => format!("{word} {count} times"),
        };
        let mut parts = Vec::new();
        match self.refused {
            [true, true] => parts.push("recorded and held".to_owned()),
            [true, false] => parts.push("recorded".to_owned()),
            [false, _] => {}
        }
        if self.sent > 0 {
            parts.push(times("sent", self.sent));
        }
        if let Some(told) = self.noticed.into_iter().max().filter(|told| *told > 0) {
            let code = self.last_error().and_then(|error| error.split(':').next());
            let code =
                code.filter(|_| self.dead_lettered).map_or_else(String::new, |code| format!(": {code}"));
            parts.push(times("told", told) + &code);
        }
        if let End::Lost(error) = &self.end {
            parts.push(format!("given up: {}", error.split(':').next().unwrap_or_default()));
        }
        parts.join(", ")
    }

    /// What the promises don't allow.
    pub(super) fn violations(&self, trial: &Trial) -> Vec<String> {
        let told = self.noticed.iter().any(|count| *count > 0);
        let forwarded = self.status.as_deref() == Some("forwarded");
        let recorded = forwarded || matches!(self.status.as_deref(), Some("failed" | "rejected"));
        let compact = |text: &str| text.split_whitespace().collect::<String>();
        let notices = compact(&self.notices);
        let last_error = self.last_error().unwrap_or_default();
        let names_cause =
            trial.cause().iter().any(|cause| last_error.contains(cause) && notices.contains(cause));
        let tells_of_failure = match trial.subject {
            Subject::Email | Subject::Stub => names_cause,
            Subject::TooLarge => notices.contains(&compact("It refused a message as too large.")),
            Subject::Digest => notices.contains(&compact("Digest: 1 dropped")),
            Subject::DeadLetter => notices.contains(&compact(MADE_UP)),
            Subject::Feedback => notices.contains(&compact("It refuses mail for good (5.1.1)")),
        };
        let once = |counts: &[usize]| counts.iter().all(|count| *count < 2);
        let forwarding = trial.subject.forwards();
        let is = |subject| trial.subject == subject;
        let given_up = matches!(self.end, End::Lost(_));
        let promises = [
            (
                "what a destination did is recorded",
                self.refused[0] || !(is(Subject::Feedback) || is(Subject::TooLarge)),
            ),
            ("mail for who refuses it is held", self.refused[1] == is(Subject::Feedback)),
            ("the operator is told who refuses mail", told || !is(Subject::Feedback)),
            ("who did not take it has a stub", self.sent > 0 || told || !is(Subject::TooLarge)),
            ("the fault hits a call", self.fault_hit),
            // An alarm tells that one could not be made; what it would have told is on record.
            ("nothing is lost", !given_up || (is(Subject::Digest) && trial.lasting)),
            ("it is recorded as forwarded, or the operator is told", forwarded || told || given_up),
            ("what is recorded as forwarded was sent", !forwarding || !forwarded || self.sent > 0),
            ("the notice names the cause", !told || tells_of_failure),
            (
                "it is archived and recorded, or the notice warns",
                !forwarding || (self.indexed && recorded) || notices.contains("Beware"),
            ),
            (
                "nothing is sent twice but what could not be recorded",
                once(&[self.sent]) || trial.may_double(),
            ),
            (
                "nothing is told twice but what could not be recorded",
                once(&self.noticed) || trial.may_double(),
            ),
            ("nothing private is logged", self.leaks.is_empty()),
        ];
        let broken = promises.iter().filter(|(_, kept)| !kept);
        broken.map(|(promise, _)| format!("{trial}: broken: {promise}\n{}", self.story)).collect()
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { subject, call, effect, lasting } = self;
        let when = if *lasting { "lasting" } else { "once" };
        write!(f, "{}, {call}, {effect} {when}", subject.binary())
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        self.prefix.iter().try_for_each(|prefix| write!(f, " {prefix}"))
    }
}

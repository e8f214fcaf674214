//! Faults on request: which call goes wrong, how, and how often.
//!
//! As text, for the command line: `OPERATION[(PREFIX)]=EFFECT[WHEN]`.
//!
//! | part | is |
//! |---|---|
//! | `OPERATION` | such as `ses:SendEmail`, `s3:GetObject`; `s3:*` any of a service, `*` any; `ses:Deliver` only by its name |
//! | `(PREFIX)` | only calls whose S3 key, queue, topic or From address begins so |
//! | `EFFECT` of `ses:Deliver(ADDRESS)` | what a destination does with what SES has accepted: `bounce`, `full`, `large`, `content`, `suppressed`, `complaint`, `delayed`, `virus` |
//! | `EFFECT` of all others | `throttle`, `500`, `503`, `access-denied`, `not-found`, `reject`: that answer instead; `hang`: no answer; `reset-before`, `reset-after`: the connection is cut instead of the call, or after it took effect; `truncate`: half the answer's body, then the connection is cut; `slow:MS`: the call waits first; `held`: it waits until the faults are cleared; `kill-before`, `kill-after`: the calling function is killed |
//! | `WHEN` | nothing: every call; `*N`: the first N; `@K`: the K-th, from 1; `@K+`: that one and all that follow; `%P` or `%P/SEED`: P in 100 by chance |
//!
//! `--fault 'ses:SendEmail=throttle*2' --fault 's3:PutObject(outcome/)=kill-after@1'`

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use crate::{response::Refusal, service::Service};

/// A fault and the calls it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `service:Operation`, `service:*` or `*`.
    pub operation: String,
    /// What the call's subject must begin with: S3 key, queue name, topic ARN or From address.
    pub prefix: Option<String>,
    /// How it goes wrong.
    pub effect: Effect,
    /// Which of these calls.
    pub when: When,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The service's throttling error.
    Throttle,
    /// 500, an internal error.
    Internal,
    /// 503, service unavailable.
    Unavailable,
    /// 403, access denied.
    AccessDenied,
    /// 404: no such key, configuration set, queue or topic.
    NotFound,
    /// 400: what is asked is refused for good, such as a message for its content.
    Reject,
    /// No answer.
    Hang,
    /// The connection is cut before the call takes effect.
    ResetBefore,
    /// The connection is cut after the call took effect.
    ResetAfter,
    /// Half the answer's body, then the connection is cut.
    Truncate,
    /// The call waits first.
    Slow(Duration),
    /// The call waits until the faults are cleared: what else happens meanwhile is not a matter of time.
    Held,
    /// The calling function is killed before the call takes effect.
    KillBefore,
    /// The calling function is killed after the call took effect, before it is answered.
    KillAfter,
    /// The destination does this with what SES has accepted.
    Fate(Fate),
}

/// What a destination does with a message that SES has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It takes it.
    Success,
    /// There is no such mailbox.
    Bounce,
    /// The mailbox is full.
    Full,
    /// The message is too large for it.
    Large,
    /// It refuses what is in it.
    Content,
    /// SES has it on its suppression list, and does not send.
    Suppressed,
    /// It takes it, and its owner calls it spam.
    Complaint,
    /// It takes it, but later.
    Delayed,
    /// SES finds a virus in it, and does not send.
    Virus,
}

/// The operation of which a [`Fate`] is the effect.
pub(crate) const DELIVER: &str = "ses:Deliver";

const FATES: [(&str, Fate); 8] = [
    ("bounce", Fate::Bounce),
    ("full", Fate::Full),
    ("large", Fate::Large),
    ("content", Fate::Content),
    ("suppressed", Fate::Suppressed),
    ("complaint", Fate::Complaint),
    ("delayed", Fate::Delayed),
    ("virus", Fate::Virus),
];

/// Which of the calls a fault matches it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every one.
    Always,
    /// The first so many.
    First(u32),
    /// That one, from 1.
    Nth(u32),
    /// That one, from 1, and all that follow.
    From(u32),
    /// By chance.
    Chance {
        /// In 100.
        percent: u8,
        /// Of the pseudo-random sequence: the same seed hits the same calls.
        seed: u64,
    },
}

const EFFECTS: [(&str, Effect); 13] = [
    ("throttle", Effect::Throttle),
    ("500", Effect::Internal),
    ("503", Effect::Unavailable),
    ("access-denied", Effect::AccessDenied),
    ("not-found", Effect::NotFound),
    ("reject", Effect::Reject),
    ("hang", Effect::Hang),
    ("reset-before", Effect::ResetBefore),
    ("reset-after", Effect::ResetAfter),
    ("truncate", Effect::Truncate),
    ("held", Effect::Held),
    ("kill-before", Effect::KillBefore),
    ("kill-after", Effect::KillAfter),
];

impl Effect {
    /// The answer that stands in for the call's own, if this effect is one.
    pub(super) fn refusal(self, service: Service) -> Option<Refusal> {
        let refusal = match (self, service.name()) {
            (Effect::Throttle, "s3") => Refusal::new(503, "SlowDown", "Please reduce your request rate."),
            (Effect::Throttle, "ses") => {
                Refusal::new(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
            }
            (Effect::Throttle, _) => Refusal::new(400, "ThrottlingException", "Rate exceeded"),
            (Effect::Internal, "s3") => {
                Refusal::new(500, "InternalError", "We encountered an internal error. Please try again.")
            }
            (Effect::Internal, _) => Refusal::new(500, "InternalFailure", "An internal failure occurred."),
            (Effect::Unavailable, _) => {
                Refusal::new(503, "ServiceUnavailable", "Service is unable to handle request.")
            }
            // Named as where a role does not allow it.
            (Effect::AccessDenied, _) => service.denied("Access denied".to_owned()),
            (Effect::NotFound, "s3") => Refusal::new(404, "NoSuchKey", "The specified key does not exist."),
            (Effect::NotFound, "sqs") => {
                Refusal::new(400, "QueueDoesNotExist", "The specified queue does not exist.")
            }
            (Effect::NotFound, "sns") => Refusal::new(404, "NotFound", "Topic does not exist"),
            (Effect::NotFound, _) => Refusal::new(404, "NotFoundException", "Resource not found"),
            (Effect::Reject, "ses") => Refusal::new(400, "MessageRejected", "Transaction failed: refused."),
            (Effect::Reject, _) => Refusal::new(400, "InvalidRequest", "Invalid request"),
            (
                Effect::Hang
                | Effect::ResetBefore
                | Effect::ResetAfter
                | Effect::Truncate
                | Effect::Slow(_)
                | Effect::Held
                | Effect::KillBefore
                | Effect::KillAfter
                | Effect::Fate(_),
                _,
            ) => return None,
        };
        Some(refusal)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Slow(wait) => write!(f, "slow:{}", wait.as_millis()),
            Effect::Fate(fate) => {
                f.write_str(FATES.iter().find(|(_, known)| known == fate).map_or("success", |(name, _)| name))
            }
            effect => {
                let (name, _) = EFFECTS.iter().find(|(_, known)| known == effect).expect("all are listed");
                f.write_str(name)
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if let Some(prefix) = &self.prefix {
            write!(f, "({prefix})")?;
        }
        write!(f, "={}", self.effect)?;
        match self.when {
            When::Always => Ok(()),
            When::First(count) => write!(f, "*{count}"),
            When::Nth(number) => write!(f, "@{number}"),
            When::From(number) => write!(f, "@{number}+"),
            When::Chance { percent, seed: 0 } => write!(f, "%{percent}"),
            When::Chance { percent, seed } => write!(f, "%{percent}/{seed}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    /// Reads the syntax of this module's documentation.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            // A prefix may hold `=`, so the effect begins at the last one.
            let (subject, effect) = text.rsplit_once('=').ok_or("expected OPERATION=EFFECT")?;
            let (operation, prefix) = match subject.split_once('(') {
                None => (subject, None),
                Some((operation, rest)) => {
                    (operation, Some(rest.strip_suffix(')').ok_or("the prefix has no closing parenthesis")?))
                }
            };
            let (service, name) = operation.split_once(':').unwrap_or_default();
            let is_known = Service::ALL.iter().any(|known| known.name() == service) && !name.is_empty();
            if operation != "*" && !is_known {
                return Err("the operation must be such as ses:SendEmail, s3:* or *".to_owned());
            }
            let split = effect.find(['*', '@', '%']).unwrap_or(effect.len());
            let (effect, when) = effect.split_at(split);
            Ok(Fault {
                operation: operation.to_owned(),
                prefix: prefix.map(str::to_owned),
                effect: if operation == DELIVER { parse_fate(effect)? } else { parse_effect(effect)? },
                when: parse_when(when)?,
            })
        };
        parse().map_err(|problem| format!("fault {text:?}: {problem}"))
    }
}

fn parse_fate(text: &str) -> Result<Effect, String> {
    FATES.iter().find(|(name, _)| *name == text).map(|(_, fate)| Effect::Fate(*fate)).ok_or_else(|| {
        let names: Vec<_> = FATES.iter().map(|(name, _)| *name).collect();
        format!("the effect is {text:?}, but must be one of {}", names.join(", "))
    })
}

fn parse_effect(text: &str) -> Result<Effect, String> {
    if let Some(milliseconds) = text.strip_prefix("slow:") {
        let milliseconds = milliseconds.parse().map_err(|_| "slow: takes milliseconds, as in slow:500")?;
        return Ok(Effect::Slow(Duration::from_millis(milliseconds)));
    }
    EFFECTS.iter().find(|(name, _)| *name == text).map(|(_, effect)| *effect).ok_or_else(|| {
        let names: Vec<_> = EFFECTS.iter().map(|(name, _)| *name).collect();
        format!("the effect is {text:?}, but must be one of {}, slow:MS", names.join(", "))
    })
}

fn parse_when(text: &str) -> Result<When, String> {
    let positive = |number: &str| match number.parse() {
        Ok(0) | Err(_) => Err(format!("{number:?} is no count from 1")),
        Ok(number) => Ok(number),
    };
    match text.split_at_checked(1) {
        None => Ok(When::Always),
        Some(("*", count)) => Ok(When::First(positive(count)?)),
        Some(("@", number)) => match number.strip_suffix('+') {
            Some(number) => Ok(When::From(positive(number)?)),
            None => Ok(When::Nth(positive(number)?)),
        },
        Some((_, chance)) => {
            let (percent, seed) = chance.split_once('/').unwrap_or((chance, "0"));
            let percent = percent
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .ok_or("a chance is from %1 to %100")?;
            let seed = seed.parse().map_err(|_| "the seed must be a number")?;
            Ok(When::Chance { percent, seed })
        }
    }
}

/// The faults that wait for their call.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    armed: Arc<Mutex<Vec<Armed>>>,
    cleared: watch::Sender<()>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Calls it has matched.
    seen: u32,
    /// State of the pseudo-random sequence.
    random: u64,
}

impl Faults {
    /// Adds a fault; it counts calls from now.
    pub fn add(&self, fault: Fault) {
        let random = if let When::Chance { seed, .. } = fault.when { seed } else { 0 };
        self.lock().push(Armed { fault, seen: 0, random });
    }

    /// Removes all, and lets the calls go on that are held.
    pub fn clear(&self) {
        self.lock().clear();
        self.cleared.send_replace(());
    }

    /// Tells once they have been cleared from now.
    pub(super) fn cleared(&self) -> watch::Receiver<()> {
        self.cleared.subscribe()
    }

    /// The faults that can still hit a call.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().iter().map(|armed| armed.fault.clone()).collect()
    }

    /// Counts a call for every fault that matches it and returns the first that hits it.
    pub(super) fn take(&self, operation: &str, subject: &str) -> Option<Fault> {
        let mut hit = None;
        self.lock().retain_mut(|armed| {
            if armed.matches(operation, subject) && armed.hits() && hit.is_none() {
                hit = Some(armed.fault.clone());
            }
            !armed.is_spent()
        });
        hit
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().expect("no holder of this lock panics")
    }
}

impl Armed {
    fn matches(&self, operation: &str, subject: &str) -> bool {
        let Fault { operation: pattern, prefix, .. } = &self.fault;
        let operation_matches = match pattern.strip_suffix('*') {
            // What a destination does is no call, so no pattern for calls counts it.
            Some(start) => operation != DELIVER && operation.starts_with(start),
            None => operation == pattern,
        };
        operation_matches && prefix.as_ref().is_none_or(|prefix| subject.starts_with(prefix))
    }

    fn hits(&mut self) -> bool {
        self.seen += 1;
        match self.fault.when {
            When::Always => true,
            When::First(count) => self.seen <= count,
            When::Nth(number) => self.seen == number,
            When::From(number) => self.seen >= number,
            When::Chance { percent, .. } => {
                self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                splitmix64(self.random) % 100 < u64::from(percent)
            }
        }
    }

    /// Whether no call to come can be hit.
    fn is_spent(&self) -> bool {
        match self.fault.when {
            When::Always | When::From(_) | When::Chance { .. } => false,
            When::First(count) => self.seen >= count,
            When::Nth(number) => self.seen >= number,
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread faults evenly, and the same everywhere.
fn splitmix64(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(operation: &str, prefix: Option<&str>, effect: Effect, when: When) -> Fault {
        Fault { operation: operation.to_owned(), prefix: prefix.map(str::to_owned), effect, when }
    }

    #[test]
    fn ok_text_and_back() {
        let cases = [
            ("ses:SendEmail=throttle*2", fault("ses:SendEmail", None, Effect::Throttle, When::First(2))),
            ("*=500", fault("*", None, Effect::Internal, When::Always)),
            (
                "ses:Deliver(ann@)=bounce*2",
                fault("ses:Deliver", Some("ann@"), Effect::Fate(Fate::Bounce), When::First(2)),
            ),
            (
                "s3:GetObject(messages/)=slow:250@3",
                fault(
                    "s3:GetObject",
                    Some("messages/"),
                    Effect::Slow(Duration::from_millis(250)),
                    When::Nth(3),
                ),
            ),
            ("ses:SendEmail=503@2+", fault("ses:SendEmail", None, Effect::Unavailable, When::From(2))),
            (
                "s3:*(a=b)=truncate%10",
                fault("s3:*", Some("a=b"), Effect::Truncate, When::Chance { percent: 10, seed: 0 }),
            ),
            (
                "sqs:SendMessage=kill-after%50/7",
                fault("sqs:SendMessage", None, Effect::KillAfter, When::Chance { percent: 50, seed: 7 }),
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse(), Ok(fault.clone()), "{text}");
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn ok_every_service_has_faults() {
        for service in Service::ALL {
            let text = format!("{}:*=access-denied", service.name());
            let fault: Fault = text.parse().unwrap();
            let denied = fault.effect.refusal(service);
            // What a role forbids and what a fault forbids look alike.
            assert_eq!(denied, Some(service.denied("Access denied".to_owned())), "{text}");
        }
    }

    #[test]
    fn err_text() {
        let cases = [
            ("", "expected OPERATION=EFFECT"),
            ("SendEmail=500", "the operation must be such as ses:SendEmail, s3:* or *"),
            ("smtp:SendEmail=500", "the operation must be such as ses:SendEmail, s3:* or *"),
            ("ses:=500", "the operation must be such as ses:SendEmail, s3:* or *"),
            ("s3:GetObject(a=500", "the prefix has no closing parenthesis"),
            ("s3:GetObject=slow:x", "slow: takes milliseconds, as in slow:500"),
            ("s3:GetObject=500*0", "\"0\" is no count from 1"),
            ("s3:GetObject=500%101", "a chance is from %1 to %100"),
            ("s3:GetObject=500%1/x", "the seed must be a number"),
        ];
        for (text, problem) in cases {
            assert_eq!(text.parse::<Fault>(), Err(format!("fault {text:?}: {problem}")));
        }
        let unknown = "s3:GetObject=explode".parse::<Fault>().unwrap_err();
        assert!(
            unknown.contains("the effect is \"explode\", but must be one of throttle, 500,"),
            "{unknown}"
        );
    }

    #[test]
    fn counts_only_matching_calls() {
        let faults = Faults::default();
        faults.add("s3:GetObject(messages/)=500@2".parse().unwrap());
        faults.add("s3:*=503*1".parse().unwrap());
        let effects: Vec<_> = [
            ("s3:PutObject", "index/a"),
            ("s3:GetObject", "messages/a"),
            ("s3:GetObject", "config/routes.toml"),
            ("s3:GetObject", "messages/a"),
            ("s3:GetObject", "messages/a"),
            ("ses:SendEmail", ""),
        ]
        .map(|(operation, key)| faults.take(operation, key).map(|fault| fault.effect))
        .into();
        let (internal, unavailable) = (Some(Effect::Internal), Some(Effect::Unavailable));
        assert_eq!(effects, [unavailable, None, None, internal, None, None]);
    }

    #[test]
    fn what_a_destination_does_is_no_call() {
        let faults = Faults::default();
        for text in ["*=500@2", "ses:*=503@2", "ses:Deliver=bounce@2"] {
            faults.add(text.parse().unwrap());
        }
        let taken = |operation: &str| faults.take(operation, "").map(|fault| fault.to_string());
        assert_eq!(taken("ses:SendEmail"), None);
        assert_eq!(taken(DELIVER), None);
        assert_eq!(taken(DELIVER).as_deref(), Some("ses:Deliver=bounce@2"));
        assert_eq!(taken("ses:SendEmail").as_deref(), Some("*=500@2"));
        assert_eq!(faults.list(), [], "the other has counted the same two calls");
    }

    #[test]
    fn from_one_on_all_are_hit() {
        let faults = Faults::default();
        faults.add("s3:GetObject=500@3+".parse().unwrap());
        let hits: Vec<_> = (0..5).map(|_| faults.take("s3:GetObject", "").is_some()).collect();
        assert_eq!(hits, [false, false, true, true, true]);
    }

    #[test]
    fn a_spent_fault_is_gone() {
        let faults = Faults::default();
        for text in ["s3:*=500", "s3:*=500*2", "s3:*=500@3", "s3:*=500@2+", "s3:*=500%1"] {
            faults.add(text.parse().unwrap());
        }
        let left = |calls: usize| {
            (0..calls).for_each(|_| drop(faults.take("s3:GetObject", "")));
            faults.list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(1), ["s3:*=500", "s3:*=500*2", "s3:*=500@3", "s3:*=500@2+", "s3:*=500%1"]);
        assert_eq!(left(1), ["s3:*=500", "s3:*=500@3", "s3:*=500@2+", "s3:*=500%1"]);
        assert_eq!(left(1), ["s3:*=500", "s3:*=500@2+", "s3:*=500%1"]);
    }

    #[test]
    fn chance_follows_its_seed() {
        let sequence = |seed: u64| {
            let faults = Faults::default();
            faults.add(format!("s3:*=500%30/{seed}").parse().unwrap());
            (0..1000).map(|_| faults.take("s3:GetObject", "").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        let hits = sequence(1).iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hits), "{hits} of 1000 at 30 %");
    }
}

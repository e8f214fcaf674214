//! What to do with a message: drop it and why, or forward it to whom and how marked.
//!
//! Pure: the notification, a few facts of the header block, the policy and the routes go in; a
//! [`Decision`] comes out. What is asked, in this order:
//!
//! 1. **Verdicts** ([`judge`]), since they need no more than the notification: a message that
//!    they drop is not even read. In the order spam, virus, DMARC, unauthenticated, the first check
//!    that failed and whose setting says `drop` gives the reason; those that say `tag` mark the
//!    message if nothing drops it.
//! 2. **The message as a whole**: one of our own notices, or more than [`RECEIVED_MAX`] `Received`
//!    fields, is a `loop`.
//! 3. **Each recipient by itself**: an `X-Loop` field that names it; a bounce of or an automatic
//!    reply to a forwarded message, addressed to a sender we made up, or to that of our notices; no
//!    line in the routes; a line that discards it; otherwise the line's destinations.
//!
//! What remains of step 3 is forwarded, whatever became of the other recipients; the decision names
//! those in [`Decision::Forward::left_out`]. If nobody remains, the message is dropped, and where
//! recipients differ, for the reason that its owner most needs to hear of: `bounce`, `loop`,
//! `no-route`, `auto-reply`, and only then `discarded`, which was asked for.

use std::collections::HashSet;

use crate::{
    address::Address,
    delivery::{Delivery, LeftOut, Reason},
    header::{HeaderFacts, Marks},
    notice,
    notification::{Notification, Verdict},
    routes::{How, Match, Routes},
};

/// With more `Received` fields than this, a message is taken to travel in circles. RFC 5321 section
/// 6.3 wants a large number and calls 100 normal; a forwarder that every turn costs money stops
/// earlier. Real mail has fewer than 20.
pub const RECEIVED_MAX: usize = 50;

/// What to do with a message that failed a check: `ON_SPAM` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `forward`: as if it had passed.
    Forward,
    /// `tag`: forward, marked in the subject and in `X-Forwarder-Verdict`.
    Tag,
    /// `drop`: record it, do not send it.
    Drop,
}

/// One [`Action`] for each check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `ON_SPAM`.
    pub spam: Action,
    /// `ON_VIRUS`.
    pub virus: Action,
    /// `ON_DMARC_REJECT`: DMARC failed and the sender's domain asks for rejection.
    pub dmarc_reject: Action,
    /// `ON_UNAUTHENTICATED`: neither SPF nor DKIM passed.
    pub unauthenticated: Action,
}

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send it.
    Forward {
        /// Each recipient that leads somewhere, with its destinations, in the order of the envelope.
        deliveries: Vec<Delivery>,
        /// The destinations of all deliveries, each once, in the order of the deliveries. Domains
        /// compare case-insensitively, local parts do not: `Ann@` and `ann@` may be two people at
        /// their domain, and a copy too many is better than one too few.
        destinations: Vec<Address>,
        /// The checks that asked for a tag.
        tags: Vec<Reason>,
        /// The other recipients, and why nothing goes out for them.
        left_out: Vec<LeftOut>,
    },
    /// Record it and do not send it.
    Drop {
        /// Why: of several reasons the one that its owner most needs to hear of.
        reason: Reason,
        /// Each recipient's own, where these decided.
        left_out: Vec<LeftOut>,
    },
}

impl Decision {
    /// What the outcome gives as its reason: why the message is dropped; else why some recipient
    /// gets nothing, if that was not asked for; else the first tag.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Decision::Drop { reason, .. } => Some(*reason),
            Decision::Forward { tags, left_out, .. } => {
                gravest(left_out).filter(|reason| *reason != Reason::Discarded).or(tags.first().copied())
            }
        }
    }
}

/// What the verdicts alone decide, before the message is read: the reason to drop it, or the tags.
pub fn judge(notification: &Notification, policy: &Policy) -> Result<Vec<Reason>, Reason> {
    let mut tags = Vec::new();
    for (reason, action) in failed(notification, policy) {
        match action {
            Action::Forward => {}
            Action::Tag => tags.push(reason),
            Action::Drop => return Err(reason),
        }
    }
    Ok(tags)
}

/// The whole decision.
///
/// ```
/// use ses_forwarder::{
///     decision::{Action, Decision, Policy, decide},
///     delivery::Reason,
///     header::{HeaderFacts, split},
///     notification::{Record, records},
///     routes::Routes,
/// };
///
/// let event = r#"{"mail": {"messageId": "m1"}, "receipt": {"recipients": ["info@in.example"],
///     "spfVerdict": {"status": "PASS"}, "spamVerdict": {"status": "FAIL"}}}"#;
/// let event = serde_json::from_str(event)?;
/// let [Record::Received { notification, .. }] = &records(event)[..] else { panic!("one message") };
/// let facts = HeaderFacts::of(&split(b"Subject: Hello\r\n\r\n"));
/// let routes = Routes::default_for("in.example", Some("out.example"));
/// let mut policy = Policy {
///     spam: Action::Tag,
///     virus: Action::Drop,
///     dmarc_reject: Action::Drop,
///     unauthenticated: Action::Tag,
/// };
/// let decision = decide(notification, &facts, &policy, &routes, "in.example");
/// let Decision::Forward { destinations, tags, .. } = decision else { panic!("it is forwarded") };
/// assert_eq!(destinations[0].to_string(), "info@out.example");
/// assert_eq!(tags, [Reason::Spam]);
///
/// policy.spam = Action::Drop;
/// let decision = decide(notification, &facts, &policy, &routes, "in.example");
/// assert_eq!(decision, Decision::Drop { reason: Reason::Spam, left_out: vec![] });
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn decide(
    notification: &Notification,
    header: &HeaderFacts,
    policy: &Policy,
    routes: &Routes,
    email_domain: &str,
) -> Decision {
    let tags = match judge(notification, policy) {
        Ok(tags) => tags,
        Err(reason) => return Decision::Drop { reason, left_out: Vec::new() },
    };
    if header.notice || header.received > RECEIVED_MAX {
        return Decision::Drop { reason: Reason::Loop, left_out: Vec::new() };
    }
    let been_to: HashSet<Address> = header.loops.iter().flat_map(|value| Address::parse(value)).collect();
    let mut seen = HashSet::new();
    let mut deliveries = Vec::new();
    let mut left_out = Vec::new();
    for recipient in notification.recipients.iter().filter(|recipient| seen.insert(*recipient)) {
        match deliver(recipient, notification, header, &been_to, routes, email_domain) {
            Ok(delivery) => deliveries.push(delivery),
            Err(reason) => left_out.push(LeftOut { recipient: recipient.clone(), reason }),
        }
    }
    if deliveries.is_empty() {
        let reason = gravest(&left_out).unwrap_or(Reason::NoRoute);
        return Decision::Drop { reason, left_out };
    }
    let mut seen = HashSet::new();
    let all = deliveries.iter().flat_map(|delivery| &delivery.destinations);
    // The written form tells what addresses that compare as equal differ in: the local part's case.
    let destinations = all.filter(|address| seen.insert(address.to_string())).cloned().collect();
    Decision::Forward { deliveries, destinations, tags, left_out }
}

/// The checks that the message failed, each with what its setting asks for.
///
/// A verdict fails on the word FAIL alone. `unauthenticated` is the other way round, as that is what
/// the setting is for: unless SPF or DKIM passed, nobody vouches for the sender, whether the sender
/// uses neither (GRAY), or nobody could tell or looked.
fn failed(notification: &Notification, policy: &Policy) -> impl Iterator<Item = (Reason, Action)> {
    let rejects = |word: &str| word.eq_ignore_ascii_case("reject");
    let dmarc =
        notification.dmarc == Verdict::Fail && notification.dmarc_policy.as_deref().is_some_and(rejects);
    let authenticated = notification.spf == Verdict::Pass || notification.dkim == Verdict::Pass;
    [
        (notification.spam == Verdict::Fail, Reason::Spam, policy.spam),
        (notification.virus == Verdict::Fail, Reason::Virus, policy.virus),
        (dmarc, Reason::Dmarc, policy.dmarc_reject),
        (!authenticated, Reason::Unauthenticated, policy.unauthenticated),
    ]
    .into_iter()
    .filter_map(|(failed, reason, action)| failed.then_some((reason, action)))
}

/// Where one recipient's mail goes, or why nowhere.
fn deliver(
    recipient: &str,
    notification: &Notification,
    header: &HeaderFacts,
    been_to: &HashSet<Address>,
    routes: &Routes,
    email_domain: &str,
) -> Result<Delivery, Reason> {
    // RFC 5321 section 4.5.1: `postmaster` may come without a domain.
    let qualified =
        if recipient.contains('@') { recipient.to_owned() } else { format!("{recipient}@{email_domain}") };
    let recipient = Address::parse_bare(&qualified).map_err(|_| Reason::NoRoute)?;
    if been_to.contains(&recipient) {
        return Err(Reason::Loop);
    }
    let found = routes.lookup(&recipient);
    if let Some(reason) = answer_of_a_machine(notification, header) {
        if is_notice_sender(&recipient, email_domain) {
            // A bounce of a notice must not make a notice.
            return Err(if reason == Reason::Bounce { Reason::Loop } else { reason });
        }
        let has_a_line = found.as_ref().is_some_and(|line| line.how != How::Domain);
        if is_made_up(&recipient, email_domain) && !has_a_line {
            return Err(reason);
        }
    }
    match found {
        None => Err(Reason::NoRoute),
        Some(Match { destinations, .. }) if destinations.is_empty() => Err(Reason::Discarded),
        Some(Match { destinations, .. }) => Ok(Delivery { recipient, destinations }),
    }
}

/// Whether our own notices come from this address.
fn is_notice_sender(recipient: &Address, email_domain: &str) -> bool {
    Address::parse(&notice::sender(email_domain)).is_ok_and(|sender| sender == *recipient)
}

/// Whether rewriting a From may have made this address of its author's: `jane@example.com` becomes
/// `jane_example.com@EMAIL_DOMAIN`, and what is too long for a local part ends in `-` and eight hex
/// digits. A real mailbox can look the same; a line in the routes says so.
fn is_made_up(recipient: &Address, email_domain: &str) -> bool {
    let local = recipient.local();
    let names_a_domain = local.rsplit_once('_').is_some_and(|(author, domain)| {
        let mut labels = domain.split('.');
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        !author.is_empty() && domain.contains('.') && labels.all(label)
    });
    let is_cut = local.len() >= CUT_MIN
        && local
            .rsplit_once('-')
            .is_some_and(|(_, hash)| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    recipient.domain().eq_ignore_ascii_case(email_domain) && (names_a_domain || is_cut)
}

/// The shortest local part that can be a cut one, in octets: 64, less what is trimmed at the cut.
const CUT_MIN: usize = 60;

/// What kind of answer to a forwarded message this is, if a machine wrote it.
///
/// Bounces and vacation notices come from the null sender alike, and many mail systems mark both as
/// `auto-replied`. The report type tells them apart (RFC 6522); without one, what is marked is an
/// automatic reply (Exchange marks them `auto-generated`), and what is not is a bounce of an older
/// mail system. From an ordinary sender, only `auto-replied` and `auto-notified` (RFC 3834 section
/// 5, RFC 5436 section 2.7.1) count: `auto-generated` is on much mail that people want. The older
/// [`Marks`] stand in where these fields say nothing.
fn answer_of_a_machine(notification: &Notification, header: &HeaderFacts) -> Option<Reason> {
    let Marks { bounce, auto_reply, bulk } = header.marks;
    match (header.report_type.as_deref(), header.auto_submitted.as_deref()) {
        (Some("delivery-status" | "feedback-report"), _) => Some(Reason::Bounce),
        (None, _) if bounce => Some(Reason::Bounce),
        (Some(_), _) | (None, Some("auto-replied" | "auto-notified")) => Some(Reason::AutoReply),
        (None, _) if auto_reply => Some(Reason::AutoReply),
        (None, Some("no") | None) if !bulk => from_a_mail_system(notification).then_some(Reason::Bounce),
        (None, _) => from_a_mail_system(notification).then_some(Reason::AutoReply),
    }
}

/// Whether nobody wrote this: the null reverse-path (RFC 5321 section 4.5.5), or the
/// `MAILER-DAEMON@…amazonses.com` that SES sends bounces from.
/// <https://docs.aws.amazon.com/ses/latest/dg/monitor-sending-activity-using-notifications-email.html>
fn from_a_mail_system(notification: &Notification) -> bool {
    let Some(source) = &notification.source else { return true };
    source.split('@').next().is_some_and(|local| local.eq_ignore_ascii_case("MAILER-DAEMON"))
}

/// Of several reasons, the one to tell of.
fn gravest(left_out: &[LeftOut]) -> Option<Reason> {
    [Reason::Bounce, Reason::Loop, Reason::NoRoute, Reason::AutoReply, Reason::Discarded]
        .into_iter()
        .find(|reason| left_out.iter().any(|one| one.reason == *reason))
}

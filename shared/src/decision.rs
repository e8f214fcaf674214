//! What to do with a message: drop it and why, or forward it to whom and how marked.
//!
//! Pure: the notification, a few facts of the header block, the policy and the routes go in; a
//! [`Decision`] comes out. What is asked, in this order:
//!
//! 1. **Verdicts** ([`judge`]), since they need no more than the notification: a message that
//!    they drop is not even read, unless a line of the routes may let its sender past them. In the
//!    order spam, virus, DMARC, unauthenticated, SPF, DKIM, the first check that failed and whose
//!    setting says `drop` gives the reason; those that say `tag` mark the message if nothing drops it.
//!    What claims to be from a domain of ours, and can't prove it, is always marked.
//! 2. **The message as a whole**: one of our own notices, or more than [`RECEIVED_MAX`] `Received`
//!    fields, is a `loop`.
//! 3. **Each recipient by itself**: an `X-Loop` field that names it; a bounce of or an automatic
//!    reply to a forwarded message, addressed to a sender we made up, or to that of our notices; no
//!    line in the routes; a line that discards or refuses it; the line for its sender, which may drop,
//!    refuse or tag it, or let it past the verdicts; otherwise the line's destinations.
//!
//! Of bounces only those make a notice that SES sent, and DMARC says so: our envelope sender is SES's
//! (<https://docs.aws.amazon.com/ses/latest/dg/mail-from.html>), so no other mail system has an address
//! of ours to report to, and whoever writes to one can't have the operator told of it at will.
//!
//! What remains of step 3 is forwarded, whatever became of the other recipients; the decision names
//! those in [`Decision::Forward::left_out`]. If nobody remains, the message is dropped, and where
//! recipients differ, for the reason that its owner most needs to hear of: `bounce`, `loop`,
//! `no-route`, `unverified-bounce`, `auto-reply`, a verdict, and only then what was asked for: `refused`,
//! `sender`, `discarded`.

use std::collections::HashSet;

use crate::{
    address::Address,
    delivery::{Delivery, Reason, Undelivered},
    domains::{Domains, is_at_or_below},
    header::{self, HeaderFacts, Marks},
    notice_mark,
    notification::{Notification, Verdict},
    routes::{How, Match, Routes, senders::SenderAction},
    sender::Sender,
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
    /// `ON_DMARC_FAIL`: DMARC failed, and the sender's domain asks for quarantine or nothing.
    pub dmarc_fail: Action,
    /// `ON_UNAUTHENTICATED`: neither SPF nor DKIM passed.
    pub unauthenticated: Action,
    /// `ON_SPF_FAIL`.
    pub spf_fail: Action,
    /// `ON_DKIM_FAIL`.
    pub dkim_fail: Action,
}

impl Policy {
    /// The policy for a message that the owner asks for although it was dropped: it passes whatever check it
    /// failed, without a mark. A virus is another matter: only if that is asked for too, and then marked.
    #[must_use]
    pub fn released(self, virus: bool) -> Policy {
        Policy {
            spam: Action::Forward,
            virus: if virus { Action::Tag } else { self.virus },
            dmarc_reject: Action::Forward,
            dmarc_fail: Action::Forward,
            unauthenticated: Action::Forward,
            spf_fail: Action::Forward,
            dkim_fail: Action::Forward,
        }
    }
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
        /// What asked for a tag, for any of the deliveries.
        tags: Vec<Reason>,
        /// The other recipients, and why nothing goes out for them.
        left_out: Vec<Undelivered>,
    },
    /// Record it and do not send it.
    Drop {
        /// Why: of several reasons the one that its owner most needs to hear of.
        reason: Reason,
        /// Each recipient's own, where these decided.
        left_out: Vec<Undelivered>,
    },
}

impl Decision {
    /// What the outcome gives as its reason: why the message is dropped; else why some recipient
    /// gets nothing, if that was not asked for; else the first tag.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Decision::Drop { reason, .. } => Some(*reason),
            Decision::Forward { tags, left_out, .. } => {
                let asked_for = [Reason::Discarded, Reason::Sender, Reason::Refused];
                gravest(left_out).filter(|reason| !asked_for.contains(reason)).or(tags.first().copied())
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
///     domains::Domains,
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
/// let domains = Domains::parse("in.example").expect("a domain");
/// let routes = Routes::default_for(&domains, Some("out.example"));
/// let mut policy = Policy {
///     spam: Action::Tag,
///     virus: Action::Drop,
///     dmarc_reject: Action::Drop,
///     dmarc_fail: Action::Tag,
///     unauthenticated: Action::Tag,
///     spf_fail: Action::Forward,
///     dkim_fail: Action::Forward,
/// };
/// let decision = decide(notification, &facts, &policy, &routes, &domains);
/// let Decision::Forward { destinations, tags, .. } = decision else { panic!("it is forwarded") };
/// assert_eq!(destinations[0].to_string(), "info@out.example");
/// assert_eq!(tags, [Reason::Spam]);
///
/// policy.spam = Action::Drop;
/// let decision = decide(notification, &facts, &policy, &routes, &domains);
/// assert_eq!(decision, Decision::Drop { reason: Reason::Spam, left_out: vec![] });
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn decide(
    notification: &Notification,
    header: &HeaderFacts,
    policy: &Policy,
    routes: &Routes,
    domains: &Domains,
) -> Decision {
    let verdicts = judge(notification, policy);
    if let Err(reason) = verdicts
        && !routes.senders().let_past_verdicts()
    {
        return Decision::Drop { reason, left_out: Vec::new() };
    }
    if header.notice.is_some() || header.received > RECEIVED_MAX {
        return Decision::Drop { reason: Reason::Loop, left_out: Vec::new() };
    }
    let message = Judged {
        notification,
        header,
        sender: Sender::of(notification, header),
        verdicts,
        been_to: header.loops.iter().flat_map(|value| Address::parse(value)).collect(),
        routes,
        domains,
    };
    let mut seen = HashSet::new();
    let mut deliveries = Vec::new();
    let mut left_out = Vec::new();
    for recipient in notification.recipients.iter().filter(|recipient| seen.insert(*recipient)) {
        match message.deliver(recipient) {
            Ok(delivery) => deliveries.push(delivery),
            Err(reason) => left_out.push(Undelivered { recipient: recipient.clone(), reason }),
        }
    }
    if deliveries.is_empty() {
        if let Err(reason) = message.verdicts {
            return Decision::Drop { reason, left_out: Vec::new() };
        }
        let reason = gravest(&left_out).unwrap_or(Reason::NoRoute);
        return Decision::Drop { reason, left_out };
    }
    let mut seen = HashSet::new();
    let all = deliveries.iter().flat_map(|delivery| &delivery.destinations);
    // The written form tells what addresses that compare as equal differ in: the local part's case.
    let destinations = all.filter(|address| seen.insert(address.to_string())).cloned().collect();
    let mut tags: Vec<Reason> = Vec::new();
    for tag in deliveries.iter().flat_map(|delivery| &delivery.tags) {
        if !tags.contains(tag) {
            tags.push(*tag);
        }
    }
    Decision::Forward { deliveries, destinations, tags, left_out }
}

/// Whether a sender may be told that a recipient refuses its mail: somebody vouches for its envelope sender,
/// and this is no machine's answer to something. Anybody else would get a bounce of what they may never have
/// sent.
pub fn may_be_told(notification: &Notification, header: &HeaderFacts) -> bool {
    let sender = Sender::of(notification, header);
    sender.envelope().is_some_and(|envelope| envelope.authenticated)
        && answer_of_a_machine(notification, header).is_none()
}

/// The checks that the message failed, each with what its setting asks for.
///
/// A verdict fails on the word FAIL alone. `unauthenticated` is the other way round, as that is what
/// the setting is for: unless SPF or DKIM passed, nobody vouches for the sender, whether the sender
/// uses neither (GRAY), or nobody could tell or looked.
fn failed(notification: &Notification, policy: &Policy) -> impl Iterator<Item = (Reason, Action)> {
    let rejects = |word: &str| word.eq_ignore_ascii_case("reject");
    let asked = match &notification.dmarc_policy {
        Some(word) if rejects(word) => policy.dmarc_reject,
        _ => policy.dmarc_fail,
    };
    let Notification { spam, virus, spf, dkim, dmarc, .. } = notification;
    let authenticated = *spf == Verdict::Pass || *dkim == Verdict::Pass;
    [
        (*spam == Verdict::Fail, Reason::Spam, policy.spam),
        (*virus == Verdict::Fail, Reason::Virus, policy.virus),
        (*dmarc == Verdict::Fail, Reason::Dmarc, asked),
        (!authenticated, Reason::Unauthenticated, policy.unauthenticated),
        (*spf == Verdict::Fail, Reason::Spf, policy.spf_fail),
        (*dkim == Verdict::Fail, Reason::Dkim, policy.dkim_fail),
    ]
    .into_iter()
    .filter_map(|(failed, reason, action)| failed.then_some((reason, action)))
}

/// A message, and all that deciding on one of its recipients takes.
struct Judged<'a> {
    notification: &'a Notification,
    header: &'a HeaderFacts,
    sender: Sender,
    verdicts: Result<Vec<Reason>, Reason>,
    /// The recipients that it has been forwarded for.
    been_to: HashSet<Address>,
    routes: &'a Routes,
    domains: &'a Domains,
}

impl Judged<'_> {
    /// Where one recipient's mail goes, or why nowhere.
    fn deliver(&self, recipient: &str) -> Result<Delivery, Reason> {
        let recipient = self.qualified(recipient)?;
        let line = self.routes.senders().lookup(&recipient, self.sender.author(), self.sender.envelope());
        let action = line.map(|line| line.action);
        let verdicts = match action {
            Some(SenderAction::Forward) => &[][..],
            _ => self.verdicts.as_ref().map_err(|reason| *reason)?,
        };
        let destinations = self.route(&recipient)?;
        let mut tags = verdicts.to_vec();
        match action {
            Some(SenderAction::Drop) => return Err(Reason::Sender),
            Some(SenderAction::Refuse) => return Err(Reason::Refused),
            Some(SenderAction::Tag) => tags.push(Reason::Sender),
            Some(SenderAction::Forward) | None => {}
        }
        let says_so = |tag: &Reason| {
            matches!(tag, Reason::Dmarc | Reason::Unauthenticated | Reason::Spf | Reason::Dkim)
        };
        if !tags.iter().any(says_so) && self.is_forged() {
            tags.push(Reason::Forged);
        }
        Ok(Delivery { recipient, destinations, tags })
    }

    /// The recipient's address. `postmaster` may come without a domain (RFC 5321 section 4.5.1).
    fn qualified(&self, recipient: &str) -> Result<Address, Reason> {
        let qualified = if recipient.contains('@') {
            recipient.to_owned()
        } else {
            format!("{recipient}@{}", self.domains.first())
        };
        Address::parse_bare(&qualified).map_err(|_| Reason::NoRoute)
    }

    /// Whether it says that it is from here, and nobody vouches for that.
    fn is_forged(&self) -> bool {
        self.sender.claims(|domain| self.domains.iter().any(|own| is_at_or_below(domain, own)))
    }

    /// What the routes say, unless it must not come back or is for nobody.
    fn route(&self, recipient: &Address) -> Result<Vec<Address>, Reason> {
        let Judged { notification, header, domains, .. } = self;
        if self.been_to.contains(recipient) {
            return Err(Reason::Loop);
        }
        let found = self.routes.lookup(recipient);
        let machine = answer_of_a_machine(notification, header);
        if let Some(reason) = machine
            && is_notice_sender(recipient, domains)
        {
            // A bounce of a notice must not make a notice.
            return Err(if reason == Reason::AutoReply { reason } else { Reason::Loop });
        }
        let has_a_line = found.as_ref().is_some_and(|line| line.how < How::Domain);
        let may_be_made_up = domains.contains(recipient.domain()) && header::is_made_up(recipient.local());
        if may_be_made_up && !has_a_line {
            match machine {
                Some(Reason::Bounce) => return Err(Reason::Bounce),
                // A real mailbox that looks the same may well have sent what this answers.
                Some(reason) if !may_be_real(recipient.local()) => return Err(reason),
                _ => {}
            }
            let destinations = found.iter().flat_map(|line| &line.destinations);
            if let Some(reason) = goes_back(recipient, notification, header, destinations) {
                return Err(reason);
            }
        }
        match found {
            None => Err(Reason::NoRoute),
            Some(Match { refused: true, .. }) => Err(Reason::Refused),
            Some(Match { destinations, .. }) if destinations.is_empty() => Err(Reason::Discarded),
            Some(Match { destinations, .. }) => Ok(destinations),
        }
    }
}

/// Whether our own notices come from this address.
fn is_notice_sender(recipient: &Address, domains: &Domains) -> bool {
    Address::parse(&notice_mark::sender(domains.first())).is_ok_and(|sender| sender == *recipient)
}

/// Whether an address that rewriting may have made is as likely a mailbox that somebody has: `jane_doe`
/// rather than `jane_example.com`. Either can be the other; a line in the routes says which.
fn may_be_real(local: &str) -> bool {
    // `a__192.0.2.1_` was `a@[192.0.2.1]`.
    let parts = local.trim_end_matches('_').rsplit_once('_');
    let is_cut = local.len() == 64;
    !is_cut && parts.is_some_and(|(_, domain)| !domain.contains('.') && domain != "localhost")
}

/// Why a message to an address that we made up must not go to `destinations`, the owner of a catch-all, say.
///
/// A vacation program answers the From it sees, and what it answers comes back to its owner. Not all mark what they
/// write (RFC 3834), but one that answers nothing by name is no person's reply, unless it is to a name that
/// [may be somebody's](may_be_real), to whom people write of themselves. A reply is still sent: its author then sees that
/// it reached nobody else. Should a program answer even that, its answer is for the address that we made of its
/// owner's, and ends here.
fn goes_back<'a>(
    recipient: &Address,
    notification: &Notification,
    header: &HeaderFacts,
    mut destinations: impl Iterator<Item = &'a Address> + Clone,
) -> Option<Reason> {
    let source = notification.source.as_deref().and_then(|source| Address::parse_bare(source).ok());
    if destinations.clone().any(|destination| is_made_of(recipient.local(), destination)) {
        return Some(Reason::Loop);
    }
    let is_from = |destination: &Address| source.as_ref() == Some(destination);
    let is_reply = !header.is_answer && !may_be_real(recipient.local()) && destinations.any(is_from);
    is_reply.then_some(Reason::AutoReply)
}

/// Whether a local part is what rewriting makes of an address, as far as it was not cut.
fn is_made_of(local: &str, address: &Address) -> bool {
    let made = format!("{}_{}", address.local(), address.domain());
    made.eq_ignore_ascii_case(local)
}

/// What kind of answer to a forwarded message this is, if a machine wrote it.
///
/// Bounces and vacation notices come from the null sender alike, and many mail systems mark both as
/// `auto-replied`. The report type tells them apart (RFC 6522); without one, what is marked is an
/// automatic reply (Exchange marks them `auto-generated`), and what is not is a bounce of an older
/// mail system. Reports of other types are none: a read receipt goes to the address that asked for it
/// (RFC 8098 section 2.1), which forwarding leaves as it is, and a TLS report to one that the domain names.
/// From an ordinary sender, only `auto-replied` and `auto-notified` (RFC 3834 section
/// 5, RFC 5436 section 2.7.1) count: `auto-generated` is on much mail that people want. The older
/// [`Marks`] stand in where these fields say nothing.
pub(crate) fn answer_of_a_machine(notification: &Notification, header: &HeaderFacts) -> Option<Reason> {
    let Marks { bounce, auto_reply, bulk } = header.marks;
    let is_bounce = if is_of_ses(notification, header) { Reason::Bounce } else { Reason::UnverifiedBounce };
    match (header.report_type.as_deref(), header.auto_submitted.as_deref()) {
        (Some("delivery-status" | "feedback-report"), _) => Some(is_bounce),
        (Some(_), _) => None,
        (None, _) if bounce => Some(is_bounce),
        (None, Some("auto-replied" | "auto-notified")) => Some(Reason::AutoReply),
        (None, _) if auto_reply => Some(Reason::AutoReply),
        (None, Some("no") | None) if !bulk => from_a_mail_system(notification).then_some(is_bounce),
        (None, _) => from_a_mail_system(notification).then_some(Reason::AutoReply),
    }
}

/// Whether SES sent it: From says so, and DMARC does not say otherwise. Where SES's domain has no policy, or
/// nobody looked, SPF or DKIM have to vouch for somebody at least.
fn is_of_ses(notification: &Notification, header: &HeaderFacts) -> bool {
    let Notification { spf, dkim, dmarc, .. } = notification;
    header.from_ses
        && *dmarc != Verdict::Fail
        && [spf, dkim, dmarc].into_iter().any(|verdict| *verdict == Verdict::Pass)
}

/// Whether nobody wrote this: the null reverse-path (RFC 5321 section 4.5.5), or the
/// `MAILER-DAEMON@…amazonses.com` that SES sends bounces from.
/// <https://docs.aws.amazon.com/ses/latest/dg/monitor-sending-activity-using-notifications-email.html>
fn from_a_mail_system(notification: &Notification) -> bool {
    let Some(source) = &notification.source else { return true };
    source.split('@').next().is_some_and(|local| local.eq_ignore_ascii_case("MAILER-DAEMON"))
}

/// Of several reasons, the one to tell of.
pub(crate) fn gravest(left_out: &[Undelivered]) -> Option<Reason> {
    use Reason::{
        AutoReply, Bounce, Discarded, Dkim, Dmarc, Loop, NoRoute, Refused, Sender, Spam, Spf,
        Unauthenticated, UnverifiedAnswer, UnverifiedBounce, Virus,
    };
    [
        Bounce,
        Loop,
        NoRoute,
        UnverifiedAnswer,
        UnverifiedBounce,
        AutoReply,
        Spam,
        Virus,
        Dmarc,
        Unauthenticated,
        Spf,
        Dkim,
        Refused,
        Sender,
        Discarded,
    ]
    .into_iter()
    .find(|reason| left_out.iter().any(|one| one.reason == *reason))
}

//! What comes for a signed address: an answer that goes out from the alias, a bounce of one, or neither.
//!
//! An answer goes out only if all of this holds. Each line alone is what keeps somebody from sending as the alias.
//!
//! 1. The address is signed ([`replies`]), and `[replies]` is not switched off.
//! 2. The only author is one of the destinations that the routes give the alias now, or `[replies] allow` names him.
//!    One From field with one address, and no `@` beside it that another reader could take for the author's.
//! 3. DMARC passed; or the author's domain has no policy, and SPF passed for that domain or one below it. DKIM alone
//!    does not do: with two signatures there is no telling which of them passed.
//! 4. It has not gone out before, if SPF did not pass for the author: who has got a message of the owner's can send
//!    it again, and its signature still holds. So To or Cc have to name the address, and each Message-ID is taken once
//!    for each correspondent, whether SPF passed then or not ([`Answer::once`]); of these fields only such count as
//!    every signature covers ([`Signatures`](crate::header::Signatures)), as whoever sends it again may add others.
//!    Nor may its reader see what he has added
//!    ([`cover_what_is_read`](crate::header::Signatures::cover_what_is_read)).
//! 5. It is no machine's: a vacation notice to Jane would be answered by hers.
//! 6. It is neither spam nor a virus, unless such mail is forwarded too.
//!
//! If the tag is wrong, the address is one with a tag like any other. If it is right, and yet 1 or 2 does not hold, it
//! is mail to the alias, and goes to its owner. What fails by 3 to 6 says that it is the owner's, so it goes nowhere, and is on
//! record.
//!
//! [`replies`]: crate::replies

use crate::{
    address::Address,
    decision::{self, Action, Decision, Policy, RECEIVED_MAX, answer_of_a_machine, gravest, judge},
    delivery::{Delivery, Reason, Undelivered},
    domains::{Domains, is_at_or_below},
    header::HeaderFacts,
    notification::{Notification, Verdict},
    replies::{
        Replies,
        signed::{Meaning, Purpose},
    },
    routes::Routes,
};

/// A recipient whose mail goes out from an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who it is from.
    pub alias: Address,
    /// Whom it goes to.
    pub correspondent: Address,
    /// Whether it may have gone out before, and somebody sends it again: then it is for the caller to see that it
    /// goes out once.
    pub once: bool,
}

/// The whole decision: what to forward, as [`decision::decide`] has it of all recipients that are not signed, and what
/// goes out as answers.
pub fn decide(
    notification: &Notification,
    header: &HeaderFacts,
    policy: &Policy,
    routes: &Routes,
    domains: &Domains,
    replies: Option<&Replies<'_>>,
) -> (Decision, Vec<Answer>) {
    let rest = |notification: &Notification| decision::decide(notification, header, policy, routes, domains);
    let Some(replies) = replies else { return (rest(notification), Vec::new()) };
    let judged = Judged { named: replies.named, notification, header, policy, routes };
    let (mut answers, mut bounces, mut left_out, mut others) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for recipient in &notification.recipients {
        let address = Address::parse_bare(recipient).ok();
        let meaning = address.as_ref().and_then(|address| replies.read(address));
        let Some((address, meaning)) = address.zip(meaning) else {
            others.push(recipient.clone());
            continue;
        };
        let alias = meaning.alias.to_string();
        match judged.signed(&address, meaning) {
            None => others.push(alias),
            Some(Ok(Goes::Out(answer))) if answers.contains(&answer) => {}
            Some(Ok(Goes::Out(answer))) => answers.push(answer),
            Some(Ok(Goes::Back(delivery))) => bounces.push(delivery),
            Some(Err(reason)) => left_out.push(Undelivered { recipient: recipient.clone(), reason }),
        }
    }
    if others == notification.recipients {
        return (rest(notification), answers);
    }
    let (mut deliveries, mut tags) = (bounces, Vec::new());
    let mut destinations: Vec<Address> =
        deliveries.iter().flat_map(|delivery: &Delivery| delivery.destinations.clone()).collect();
    if !others.is_empty() {
        let notification = Notification { recipients: others, ..notification.clone() };
        match rest(&notification) {
            // By a verdict, which is on all of them.
            Decision::Drop { reason, left_out: rest } if rest.is_empty() => {
                let dropped = |recipient: String| Undelivered { recipient, reason };
                left_out.extend(notification.recipients.into_iter().map(dropped));
            }
            Decision::Drop { left_out: rest, .. } => left_out.extend(rest),
            Decision::Forward { deliveries: more, destinations: theirs, tags: asked, left_out: rest } => {
                deliveries.extend(more);
                destinations.extend(theirs);
                tags = asked;
                left_out.extend(rest);
            }
        }
    }
    if deliveries.is_empty() && answers.is_empty() {
        let reason = gravest(&left_out).unwrap_or(Reason::NoRoute);
        return (Decision::Drop { reason, left_out }, answers);
    }
    (Decision::Forward { deliveries, destinations, tags, left_out }, answers)
}

/// Puts on record that some answers do not go out after all; `none` says that no other does.
pub fn leave_out(
    decision: &mut Decision,
    recipients: &[String],
    answers: &[Answer],
    none: bool,
    replies: &Replies<'_>,
) {
    let is_of_one = |recipient: &&String| {
        let meaning = Address::parse_bare(recipient).ok().and_then(|address| replies.read(&address));
        meaning.is_some_and(|Meaning { purpose, alias, correspondent }| {
            purpose == Purpose::Answer
                && answers.iter().any(|one| one.alias == alias && one.correspondent == correspondent)
        })
    };
    let reason = Reason::UnverifiedAnswer;
    let left = recipients.iter().filter(is_of_one);
    let left = left.map(|recipient| Undelivered { recipient: recipient.clone(), reason });
    let (Decision::Forward { left_out, .. } | Decision::Drop { left_out, .. }) = decision;
    left_out.extend(left);
    if let Decision::Forward { deliveries, left_out, .. } = decision
        && deliveries.is_empty()
        && none
    {
        let left_out = std::mem::take(left_out);
        *decision = Decision::Drop { reason, left_out };
    }
}

/// Who may answer for an alias: the addresses that the routes lead it to, and those that `[replies] allow` names.
pub fn owners(routes: &Routes, alias: &Address) -> Vec<Address> {
    let mut owners = routes.lookup(alias).map(|line| line.destinations).unwrap_or_default();
    owners.extend(routes.replies().allow.iter().cloned());
    owners
}

/// Where mail to a signed address goes.
enum Goes {
    Out(Answer),
    /// To who wrote what bounced.
    Back(Delivery),
}

struct Judged<'a> {
    /// The addresses of ours that To and Cc name.
    named: &'a [Address],
    notification: &'a Notification,
    header: &'a HeaderFacts,
    policy: &'a Policy,
    routes: &'a Routes,
}

impl Judged<'_> {
    /// What becomes of mail to a signed address; `None` if it is mail to the alias.
    fn signed(&self, recipient: &Address, meaning: Meaning) -> Option<Result<Goes, Reason>> {
        let Judged { notification, header, routes, .. } = self;
        let Meaning { purpose, alias, correspondent } = meaning;
        let owners = owners(routes, &alias);
        let machine = answer_of_a_machine(notification, header);
        if header.notice.is_some() || header.received > RECEIVED_MAX {
            return Some(Err(Reason::Loop));
        }
        if purpose == Purpose::Bounce {
            return match machine? {
                Reason::Bounce if owners.contains(&correspondent) => {
                    let delivery = Delivery {
                        recipient: recipient.clone(),
                        destinations: vec![correspondent],
                        tags: Vec::new(),
                    };
                    Some(Ok(Goes::Back(delivery)))
                }
                reason => Some(Err(reason)),
            };
        }
        // Of what was forwarded under this address, as of one that forwarding makes of the author's.
        if let Some(reason) = machine {
            return Some(Err(reason));
        }
        let author = header.sole_author.as_ref().filter(|author| owners.contains(author))?;
        if !routes.replies().enabled {
            return None;
        }
        let once = !self.is_sent_by(author);
        let is_named = self.named.contains(recipient);
        Some(match self.check(author) {
            Ok(()) if once && !is_named => Err(Reason::UnverifiedAnswer),
            checked => checked.map(|()| Goes::Out(Answer { alias, correspondent, once })),
        })
    }

    /// Whether it comes from where the author's domain sends, by SPF (RFC 7208).
    fn is_sent_by(&self, author: &Address) -> bool {
        let Notification { spf, source, .. } = self.notification;
        let envelope = source.as_deref().and_then(|source| Address::parse_bare(source).ok());
        *spf == Verdict::Pass
            && envelope.is_some_and(|envelope| is_at_or_below(envelope.domain(), author.domain()))
    }

    /// Whether what says that it is from an owner is, and may go out.
    fn check(&self, author: &Address) -> Result<(), Reason> {
        let Judged { notification, header, policy, .. } = self;
        let Notification { spam, virus, dmarc, source, .. } = notification;
        let looked_at = header.header_from.as_deref().is_none_or(|looked_at| {
            is_at_or_below(looked_at, author.domain()) || is_at_or_below(author.domain(), looked_at)
        });
        let by_spf = *dmarc == Verdict::Gray && self.is_sent_by(author);
        if !looked_at || !(*dmarc == Verdict::Pass || by_spf) {
            return Err(Reason::UnverifiedAnswer);
        }
        if header.auto_submitted.as_deref().is_some_and(|word| word != "no")
            || header.marks.bulk
            || source.is_none()
        {
            return Err(Reason::AutoReply);
        }
        for (verdict, action, reason) in
            [(spam, policy.spam, Reason::Spam), (virus, policy.virus, Reason::Virus)]
        {
            if *verdict == Verdict::Fail && action != Action::Forward {
                return Err(reason);
            }
        }
        // What a verdict drops is dropped, whoever it is for.
        judge(notification, policy).map(drop)
    }
}

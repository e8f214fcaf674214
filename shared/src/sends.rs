//! Who shares a send with whom, so that blind copies stay blind.
//!
//! Each send names its recipients in `X-Original-To` and `X-Loop`, and everybody who gets it reads
//! that. Recipients that To or Cc name are known to all readers anyway, and share sends. A recipient
//! that neither names was a blind copy (RFC 5322 section 3.6.3, "Bcc"), or the member of a list
//! elsewhere: it gets a send of its own, and nobody else's names it.
//!
//! A send has one From, at the domain that the mail came for, and one set of tags. So recipients at several
//! domains, or some of which have the message tagged, share none either.
//!
//! A destination gets one copy, whatever number of recipients lead to it: that of the recipients named in To
//! and Cc if it is among theirs, so that what its reader sees is what the message shows everybody.

use std::collections::HashMap;

use crate::{
    address::Address,
    delivery::{Delivery, Reason},
    domains::Domains,
};

/// Recipients that one SendEmail takes.
/// <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>
pub const MAX_DESTINATIONS: usize = 50;

/// One SendEmail: for whom, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The envelope recipients that it may name: those that lead to one of its destinations, in the
    /// order of the envelope.
    pub recipients: Vec<Address>,
    /// The destinations as SES is given them, at most [`MAX_DESTINATIONS`].
    pub destinations: Vec<String>,
    /// The domain of its From.
    pub domain: String,
    /// What asked for a tag.
    pub tags: Vec<Reason>,
}

/// The sends that are left to make for a message.
///
/// `named` says of each delivery whether To or Cc name its recipient ([`header::named`]), `is_sent`
/// whether a destination, as SES is given it, has its copy from an earlier try. Each destination that
/// has none is in exactly one send. The sends of the recipients that are named come first; the others
/// follow in the order of the envelope.
///
/// [`header::named`]: crate::header::named
pub fn sends(
    deliveries: &[Delivery],
    named: &[bool],
    domains: &Domains,
    is_sent: impl Fn(&str) -> bool,
) -> Vec<Send> {
    let is_named = |at: usize| named.get(at).copied().unwrap_or_default();
    let (visible, blind): (Vec<_>, Vec<_>) = deliveries.iter().enumerate().partition(|(at, _)| is_named(*at));
    let domain = |delivery: &Delivery| domains.sender_for(delivery.recipient.domain());
    let mut groups: Vec<Vec<&Delivery>> = Vec::new();
    for (_, delivery) in visible {
        let alike = |other: &&Delivery| domain(other) == domain(delivery) && other.tags == delivery.tags;
        match groups.iter_mut().find(|group| group.first().is_some_and(alike)) {
            Some(group) => group.push(delivery),
            None => groups.push(vec![delivery]),
        }
    }
    groups.extend(blind.into_iter().map(|(_, delivery)| vec![delivery]));
    // Which group a destination belongs to, and its place among that group's destinations.
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    let mut sends = Vec::new();
    for (group, members) in groups.into_iter().enumerate() {
        let Some(&first) = members.first() else { continue };
        let mut destinations: Vec<String> = Vec::new();
        // Which recipients each fifty destinations are for.
        let mut recipients: Vec<Vec<Address>> = Vec::new();
        for delivery in members {
            for destination in delivery.destinations.iter().map(ToString::to_string) {
                if is_sent(&destination) {
                    continue;
                }
                let (owner, place) =
                    *places.entry(destination.clone()).or_insert((group, destinations.len()));
                if owner != group {
                    continue;
                }
                if place == destinations.len() {
                    destinations.push(destination);
                }
                let batch = place / MAX_DESTINATIONS;
                if batch == recipients.len() {
                    recipients.push(Vec::new());
                }
                if recipients[batch].last() != Some(&delivery.recipient) {
                    recipients[batch].push(delivery.recipient.clone());
                }
            }
        }
        let batches = destinations.chunks(MAX_DESTINATIONS).map(<[String]>::to_vec);
        sends.extend(batches.zip(recipients).map(|(destinations, recipients)| Send {
            recipients,
            destinations,
            domain: domain(first).to_owned(),
            tags: first.tags.clone(),
        }));
    }
    sends
}

/// The same where mail can be answered from an alias: an address that can be is one alias's, and so is a send. Each
/// recipient is as if it were blind; those that are named come first.
pub fn sends_apart(
    deliveries: &[Delivery],
    named: &[bool],
    domains: &Domains,
    is_sent: impl Fn(&str) -> bool,
) -> Vec<Send> {
    let mut apart: Vec<_> = deliveries.iter().zip(named).collect();
    apart.sort_by_key(|(_, named)| !**named);
    let apart: Vec<Delivery> = apart.into_iter().map(|(delivery, _)| delivery.clone()).collect();
    sends(&apart, &[], domains, is_sent)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("a constant address")
    }

    fn delivery(recipient: &str, destinations: &[&str]) -> Delivery {
        Delivery {
            recipient: address(recipient),
            destinations: destinations.iter().map(|text| address(text)).collect(),
            tags: Vec::new(),
        }
    }

    fn domains() -> Domains {
        Domains::parse("in.example,second.example").expect("constant domains")
    }

    /// Each send as `recipients > destinations`.
    fn shown(sends: &[Send]) -> Vec<String> {
        let joined = |texts: Vec<String>| texts.join(" ");
        sends
            .iter()
            .map(|send| {
                let recipients = send.recipients.iter().map(|recipient| recipient.local().to_owned());
                format!("{} > {}", joined(recipients.collect()), joined(send.destinations.clone()))
            })
            .collect()
    }

    #[test]
    fn who_shares_a_send() {
        let deliveries = [
            delivery("boss@in.example", &["zoe@out.example", "ann@out.example"]),
            delivery("info@in.example", &["ann@out.example", "bob@out.example"]),
            delivery("team@in.example", &["bob@out.example", "cat@out.example"]),
            delivery("hr@in.example", &["zoe@out.example", "dan@out.example"]),
            delivery("old@in.example", &["cat@out.example"]),
        ];
        for (named, sent, expected) in [
            (
                &["boss", "info", "team", "hr", "old"][..],
                &[][..],
                &["boss info team hr old > zoe@out.example ann@out.example bob@out.example cat@out.example \
                   dan@out.example"][..],
            ),
            (
                &["info", "team"],
                &[],
                &[
                    "info team > ann@out.example bob@out.example cat@out.example",
                    "boss > zoe@out.example",
                    "hr > dan@out.example",
                ],
            ),
            (
                &[],
                &[],
                &[
                    "boss > zoe@out.example ann@out.example",
                    "info > bob@out.example",
                    "team > cat@out.example",
                    "hr > dan@out.example",
                ],
            ),
            (
                &["info", "team"],
                &["ann@out.example", "bob@out.example", "zoe@out.example"],
                &["team > cat@out.example", "hr > dan@out.example"],
            ),
            (
                &["info"],
                &["dan@out.example", "zoe@out.example"],
                &["info > ann@out.example bob@out.example", "team > cat@out.example"],
            ),
        ] {
            let is_named = |delivery: &Delivery| named.contains(&delivery.recipient.local());
            let marks: Vec<bool> = deliveries.iter().map(is_named).collect();
            let sends = sends(&deliveries, &marks, &domains(), |destination| sent.contains(&destination));
            assert_eq!(shown(&sends), expected, "named {named:?}, sent {sent:?}");
        }
    }

    #[test]
    fn a_send_has_one_domain_and_one_set_of_tags() {
        let tagged = |delivery: Delivery| Delivery { tags: vec![Reason::Sender], ..delivery };
        let deliveries = [
            delivery("a@in.example", &["ann@out.example"]),
            delivery("b@second.example", &["bob@out.example"]),
            delivery("c@mail.in.example", &["cat@out.example"]),
            tagged(delivery("d@in.example", &["dan@out.example", "ann@out.example"])),
            delivery("e@second.example", &["eve@out.example"]),
            tagged(delivery("f@second.example", &["fay@out.example"])),
        ];
        let named = [true, true, true, true, true, false];
        let sends = sends(&deliveries, &named, &domains(), |_| false);
        let of = |send: &Send| (send.domain.clone(), send.tags.clone());
        assert_eq!(
            shown(&sends),
            [
                "a c > ann@out.example cat@out.example",
                "b e > bob@out.example eve@out.example",
                "d > dan@out.example",
                "f > fay@out.example"
            ]
        );
        let (first, second) = ("in.example".to_owned(), "second.example".to_owned());
        assert_eq!(
            sends.iter().map(of).collect::<Vec<_>>(),
            [
                (first.clone(), vec![]),
                (second.clone(), vec![]),
                (first, vec![Reason::Sender]),
                (second, vec![Reason::Sender])
            ]
        );
    }

    #[test]
    fn addresses_that_differ_in_case_are_two_destinations() {
        let deliveries = [delivery("a@in.example", &["Ann@out.example", "ann@out.example"])];
        let sends = sends(&deliveries, &[true; 3], &domains(), |_| false);
        assert_eq!(shown(&sends), ["a > Ann@out.example ann@out.example"]);
    }

    #[test]
    fn fifty_at_a_time_and_only_those_named_that_lead_there() {
        let many: Vec<String> = (0..60).map(|i| format!("d{i}@out.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let deliveries = [
            delivery("few@in.example", &many[..2]),
            delivery("many@in.example", &many),
            delivery("last@in.example", &many[59..]),
        ];
        let sends = sends(&deliveries, &[true; 3], &domains(), |_| false);
        let of = |send: &Send| {
            (
                send.recipients.iter().map(|recipient| recipient.local().to_owned()).collect(),
                send.destinations.len(),
            )
        };
        let expected: [(Vec<String>, usize); 2] =
            [(vec!["few".into(), "many".into()], 50), (vec!["many".into(), "last".into()], 10)];
        assert_eq!(sends.iter().map(of).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn each_destination_once_and_no_blind_recipient_beside_another(
            table in vec((0..2_usize, vec(0..90_u8, 0..70), 0..2_usize, any::<bool>()), 0..6),
            sent in vec(0..90_u8, 0..40),
        ) {
            let destination = |number: &u8| format!("d{number}@out.example");
            let deliveries: Vec<Delivery> = table.iter().enumerate().map(|(at, (_, destinations, domain, tagged))| Delivery {
                recipient: address(&format!("r{at}@{}", ["in.example", "second.example"][*domain])),
                destinations: destinations.iter().map(|number| address(&destination(number))).collect(),
                tags: if *tagged { vec![Reason::Sender] } else { vec![] },
            }).collect();
            let named: BTreeSet<String> = table.iter().enumerate()
                .filter(|(_, (named, ..))| *named == 1).map(|(at, _)| format!("r{at}")).collect();
            let is_named = |recipient: &Address| named.contains(recipient.local());
            let sent: BTreeSet<String> = sent.iter().map(destination).collect();
            let marks: Vec<bool> = deliveries.iter().map(|delivery| is_named(&delivery.recipient)).collect();
            let sends = sends(&deliveries, &marks, &domains(), |destination| sent.contains(destination));

            let leads_to = |recipient: &Address| -> BTreeSet<String> {
                let it = deliveries.iter().filter(|delivery| delivery.recipient == *recipient);
                it.flat_map(|delivery| delivery.destinations.iter().map(ToString::to_string)).collect()
            };
            let mut got = BTreeSet::new();
            for send in &sends {
                prop_assert!((1..=MAX_DESTINATIONS).contains(&send.destinations.len()));
                prop_assert!(!send.recipients.is_empty());
                for destination in &send.destinations {
                    prop_assert!(got.insert(destination.clone()), "{} twice", destination);
                    prop_assert!(send.recipients.iter().any(|recipient| leads_to(recipient).contains(destination)));
                }
                for recipient in &send.recipients {
                    prop_assert_eq!(recipient.domain(), &send.domain);
                    let delivery = deliveries.iter().find(|delivery| delivery.recipient == *recipient);
                    prop_assert_eq!(delivery.map(|delivery| &delivery.tags), Some(&send.tags));
                    prop_assert!(send.destinations.iter().any(|destination| leads_to(recipient).contains(destination)));
                    prop_assert!(is_named(recipient) || send.recipients.len() == 1);
                }
            }
            let all: BTreeSet<String> = deliveries.iter()
                .flat_map(|delivery| leads_to(&delivery.recipient)).filter(|destination| !sent.contains(destination)).collect();
            prop_assert_eq!(got, all);
        }
    }
}

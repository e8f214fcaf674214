//! Who says that he sent a message, and whether anybody vouches for it.

use crate::{
    address::Address,
    domains::is_at_or_below,
    header::HeaderFacts,
    notification::{Notification, Verdict},
    routes::senders::Claim,
};

/// The author in the From field and the envelope sender, each as far as it can be read, and whether it is
/// authenticated.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    author: Option<(Address, bool)>,
    envelope: Option<(Address, bool)>,
}

impl Sender {
    /// The envelope sender is authenticated by SPF, which is about nothing else (RFC 7208 section 2.4), or by a
    /// signature of its domain, or with an author who is and has the same domain; but not if DMARC failed.
    ///
    /// The author is by DMARC (RFC 7489 section 3.1): if that passed, or, where his domain has no policy
    /// and so no verdict, if SPF or DKIM passed for an address that is aligned. With several authors, or
    /// several From fields, there is no telling which of them was looked at, so none is.
    pub(crate) fn of(notification: &Notification, header: &HeaderFacts) -> Sender {
        let envelope = notification.source.as_deref().and_then(|source| Address::parse_bare(source).ok());
        let by_spf = envelope.as_ref().filter(|_| notification.spf == Verdict::Pass).map(Address::domain);
        let by_dkim = header.signers.iter().filter(|_| notification.dkim == Verdict::Pass);
        let vouch: Vec<&str> = by_spf.into_iter().chain(by_dkim.map(|domain| &**domain)).collect();
        let author: Option<(Address, bool)> = header.author.clone().map(|author| {
            let vouched = match notification.dmarc {
                Verdict::Pass => true,
                Verdict::Fail => false,
                _ => vouch.iter().any(|domain| is_aligned(domain, author.domain())),
            };
            (author, vouched && header.authors == 1)
        });
        let envelope = envelope.as_ref().map(|address| {
            let of_author = author.iter().filter(|(_, vouched)| *vouched).map(|(author, _)| author.domain());
            let mut by = vouch.iter().copied().chain(of_author);
            let vouched =
                notification.dmarc != Verdict::Fail && by.any(|domain| is_aligned(domain, address.domain()));
            (address.clone(), vouched)
        });
        Sender { author, envelope }
    }

    /// The author whom From shows.
    pub(crate) fn author(&self) -> Option<Claim<'_>> {
        claim(&self.author)
    }

    /// The envelope sender; `None` if it is null.
    pub(crate) fn envelope(&self) -> Option<Claim<'_>> {
        claim(&self.envelope)
    }

    /// Whether the author claims to be at such a domain, and nobody vouches for it.
    pub(crate) fn claims(&self, domain: impl Fn(&str) -> bool) -> bool {
        self.author().is_some_and(|author| !author.authenticated && domain(author.address.domain()))
    }
}

fn claim(sender: &Option<(Address, bool)>) -> Option<Claim<'_>> {
    let (address, authenticated) = sender.as_ref()?;
    Some(Claim { address, authenticated: *authenticated })
}

/// Relaxed alignment (RFC 7489 section 3.1.1), without the list of public suffixes that it is defined by:
/// one is the other or above it. Two subdomains of one domain, which are aligned too, are not here.
fn is_aligned(vouched: &str, author: &str) -> bool {
    is_at_or_below(author, vouched) || is_at_or_below(vouched, author)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_vouched_for() {
        use Verdict::{Disabled, Fail, Gray, Pass};
        // SPF, DKIM and DMARC; the envelope sender; the domains that signed; how many authors there are.
        // Then whether jane@x.example is vouched for, and whether the envelope sender is.
        for (verdicts, envelope, signers, authors, expected) in [
            ([Pass, Pass, Pass], "jane@x.example", &["x.example"][..], 1, (true, true)),
            ([Fail, Fail, Pass], "jane@x.example", &[], 1, (true, true)),
            ([Fail, Fail, Pass], "bounce@else.example", &[], 1, (true, false)),
            ([Pass, Pass, Fail], "jane@x.example", &["x.example"], 1, (false, false)),
            ([Pass, Pass, Pass], "jane@x.example", &["x.example"], 2, (false, true)),
            // No policy.
            ([Pass, Gray, Gray], "bounce@x.example", &[], 1, (true, true)),
            ([Pass, Gray, Gray], "bounce@mail.x.example", &[], 1, (true, true)),
            ([Pass, Gray, Gray], "bounce@example", &[], 1, (true, true)),
            ([Pass, Gray, Gray], "bounce@else.example", &[], 1, (false, true)),
            ([Pass, Gray, Gray], "bounce@notx.example", &[], 1, (false, true)),
            ([Fail, Gray, Gray], "bounce@x.example", &[], 1, (false, false)),
            ([Gray, Pass, Gray], "bounce@else.example", &["x.example"], 1, (true, false)),
            ([Gray, Pass, Gray], "bounce@else.example", &["else.example", "m.x.example"], 1, (true, true)),
            ([Gray, Pass, Gray], "bounce@else.example", &["else.example"], 1, (false, true)),
            ([Gray, Fail, Gray], "bounce@else.example", &["x.example"], 1, (false, false)),
            ([Disabled, Disabled, Disabled], "jane@x.example", &["x.example"], 1, (false, false)),
        ] {
            let [spf, dkim, dmarc] = verdicts;
            let notification = Notification {
                source: Some(envelope.to_owned()),
                spf,
                dkim,
                dmarc,
                ..Notification::default()
            };
            let header = HeaderFacts {
                author: Address::parse("jane@x.example").ok(),
                authors,
                signers: signers.iter().map(ToString::to_string).collect(),
                ..HeaderFacts::default()
            };
            let sender = Sender::of(&notification, &header);
            let vouched = |claim: Option<Claim<'_>>| claim.expect("there is one").authenticated;
            assert_eq!(
                (vouched(sender.author()), vouched(sender.envelope())),
                expected,
                "{notification:?} {signers:?}"
            );
        }
        let nobody = Sender::of(&Notification::default(), &HeaderFacts::default());
        assert!(nobody.author().is_none() && nobody.envelope().is_none());
    }
}

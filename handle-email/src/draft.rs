//! A message as it is about to go out: which sends are left to make, and header and body of each.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use ses_forwarder::{
    address::Address,
    answers::{Answer, owners},
    body::{Cleaner, Recoding},
    domains::Domains,
    header::{self, AnswerHeader, HeaderBlock, Rewrite, Rewritten},
    outcome::Sent,
    replies::Replies,
    routes::{Routes, replies::ReplyRules},
    sends::{MAX_DESTINATIONS, Send, sends, sends_apart},
    settings::ReplyBody,
    stub::{About, Stub, stub},
};
use ses_forwarder_aws::outgoing::Outgoing;

use crate::asked::StubRequest;

/// A message to be forwarded. Its header is written for each send anew, as each names its own recipients.
pub(crate) struct Draft<'a> {
    pub(crate) block: &'a HeaderBlock<'a>,
    pub(crate) body: Bytes,
    pub(crate) recoding: Option<Arc<Recoding>>,
    /// For no recipient yet.
    pub(crate) how: Rewrite<'a>,
    pub(crate) domains: &'a Domains,
    /// Whether stubs are to go out in its place, and why.
    pub(crate) stubs: Option<&'a StubRequest>,
    pub(crate) answers: Vec<AnswerSend<'a>>,
    pub(crate) rules: &'a ReplyRules,
    pub(crate) reply_body: ReplyBody,
}

/// What goes out from an alias: one send, as the header names nobody that To and Cc do not.
#[derive(Debug, Clone)]
pub(crate) struct AnswerSend<'a> {
    pub(crate) replies: Replies<'a>,
    pub(crate) alias: Address,
    pub(crate) correspondents: Vec<Address>,
    /// Who wrote it.
    pub(crate) author: Address,
    /// Whose addresses are nobody's business.
    pub(crate) private: Vec<Address>,
}

/// What one destination gets of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Share {
    /// The alias that it goes out from, if it is an answer.
    pub(crate) alias: Option<String>,
    pub(crate) destination: String,
}

/// One send of a message.
pub(crate) enum Outbound<'a> {
    Forward(Send),
    Answer(AnswerSend<'a>),
}

impl Share {
    pub(crate) fn forwarded(destination: String) -> Share {
        Share { alias: None, destination }
    }

    /// All of a send.
    pub(crate) fn of(sent: &Sent) -> impl Iterator<Item = Share> {
        sent.destinations
            .iter()
            .map(|destination| Share { alias: sent.alias.clone(), destination: destination.clone() })
    }
}

impl Outbound<'_> {
    /// Whether a stub may stand in for it: it tells where the owner keeps mail, so not where an answer goes.
    pub(crate) fn may_be_stub(&self) -> bool {
        matches!(self, Outbound::Forward(_))
    }

    /// The alias that it goes out from, if it is an answer.
    pub(crate) fn alias(&self) -> Option<String> {
        match self {
            Outbound::Forward(_) => None,
            Outbound::Answer(answer) => Some(answer.alias.to_string()),
        }
    }

    pub(crate) fn destinations(&self) -> Vec<String> {
        match self {
            Outbound::Forward(send) => send.destinations.clone(),
            Outbound::Answer(answer) => answer.correspondents.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'a> AnswerSend<'a> {
    /// What each correspondent gets.
    pub(crate) fn shares(&self) -> impl Iterator<Item = Share> {
        self.correspondents.iter().map(|correspondent| self.share(correspondent))
    }

    fn share(&self, correspondent: &Address) -> Share {
        Share { alias: Some(self.alias.to_string()), destination: correspondent.to_string() }
    }

    /// The answers of a message by alias, each to as many as a send takes.
    pub(crate) fn of(
        answers: Vec<Answer>,
        author: Option<&Address>,
        routes: &Routes,
        replies: Option<Replies<'a>>,
    ) -> Vec<AnswerSend<'a>> {
        let Some((author, replies)) = author.zip(replies) else { return Vec::new() };
        let mut sends: Vec<AnswerSend> = Vec::new();
        for Answer { alias, correspondent, .. } in answers {
            let has_room =
                |send: &&mut AnswerSend| send.alias == alias && send.correspondents.len() < MAX_DESTINATIONS;
            match sends.iter_mut().find(has_room) {
                Some(send) => send.correspondents.push(correspondent),
                None => {
                    let mut private = owners(routes, &alias);
                    private.push(author.clone());
                    let author = author.clone();
                    let correspondents = vec![correspondent];
                    sends.push(AnswerSend { replies, alias, correspondents, author, private });
                }
            }
        }
        sends
    }
}

impl<'a> Draft<'a> {
    /// What is sent under a header.
    pub(crate) fn outgoing(&self, outbound: &Outbound<'_>, header: Vec<u8>) -> Outgoing {
        let body = self.body.clone();
        let recoding = match (outbound, self.reply_body) {
            (Outbound::Answer(AnswerSend { alias, private, .. }), ReplyBody::Clean) => {
                Recoding::cleaned(self.block, &body, Cleaner::new(private, alias)).map(Arc::new)
            }
            _ => self.recoding.clone(),
        };
        let header = match &recoding {
            Some(recoding) => recoding.declared_in(header),
            None => header,
        };
        Outgoing { header: header.into(), body, recoding }
    }

    /// A stub of the message under the same header.
    pub(crate) fn stub(&self, outgoing: &Outgoing, about: &About<'_>) -> Outgoing {
        let Stub { header, body } = stub(self.block, &outgoing.header, about);
        Outgoing { header: header.into(), body: body.into(), recoding: None }
    }

    /// The sends to those who have to have it, and do not.
    pub(crate) fn missing(&self, needless: &HashSet<Share>) -> Vec<Outbound<'a>> {
        let named = header::named(self.block, self.how.deliveries);
        let is_sent = |destination: &str| needless.contains(&Share::forwarded(destination.to_owned()));
        let sends = match self.how.replies {
            None => sends(self.how.deliveries, &named, self.domains, is_sent),
            Some(_) => sends_apart(self.how.deliveries, &named, self.domains, is_sent),
        };
        let answers = self.answers.iter().filter_map(|answer| {
            let lacks_it = |correspondent: &&Address| !needless.contains(&answer.share(correspondent));
            let correspondents: Vec<_> = answer.correspondents.iter().filter(lacks_it).cloned().collect();
            let any = !correspondents.is_empty();
            any.then(|| Outbound::Answer(AnswerSend { correspondents, ..answer.clone() }))
        });
        sends.into_iter().map(Outbound::Forward).chain(answers).collect()
    }

    /// The header of a send.
    pub(crate) fn header(&self, outbound: &Outbound<'_>) -> Rewritten {
        match outbound {
            Outbound::Answer(AnswerSend { replies, alias, correspondents, private, .. }) => {
                let (replies, subject_prefix) = (*replies, self.how.subject_prefix);
                header::answer(
                    self.block,
                    &AnswerHeader { alias, correspondents, private, replies, subject_prefix },
                )
            }
            Outbound::Forward(Send { recipients, domain, tags, .. }) => {
                header::rewrite(self.block, &Rewrite { email_domain: domain, recipients, tags, ..self.how })
            }
        }
    }
}

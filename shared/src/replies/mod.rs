//! Aliases that can be answered from: `REPLIES=on`.
//!
//! What Jane writes to `info@in.example` is forwarded with the From
//! `info+jane=example.com+KEYTAG@in.example`. Its owner answers to that address, and the answer goes out to Jane
//! from `info@in.example`, without the owner's own address in it. Nobody but the owner can send that way, since
//! nobody can make such an address ([`signed`]) without a key ([`keys`]), and an answer counts only if it is
//! surely the owner's ([`answers`](crate::answers)). [`thread`] keeps both sides' conversations together, although SES gives every
//! message an id of its own.

pub mod keys;
pub mod signed;
pub mod thread;

use crate::{address::Address, domains::Domains};

use self::{
    keys::ReplyKeys,
    signed::{Contact, Meaning, Purpose, Signed},
};

/// What it takes to tell signed addresses from others.
#[derive(Debug, Clone, Copy)]
pub struct Replies<'a> {
    /// The keys.
    pub keys: &'a ReplyKeys,
    /// The contacts that addresses of this message name, as far as they are kept.
    pub contacts: &'a [Contact],
    /// The addresses at these domains that To and Cc name, of a message that may be an answer: in fields that nobody
    /// can have added to it since it was signed.
    pub named: &'a [Address],
    /// The domains that mail is received for.
    pub domains: &'a Domains,
}

impl Replies<'_> {
    /// What an address means, if it is signed with one of the keys.
    pub fn read(&self, address: &Address) -> Option<Meaning> {
        if !self.domains.contains(address.domain()) {
            return None;
        }
        self.keys.read(address, |name| self.contacts.iter().find(|contact| contact.name == name))
    }

    /// The address that stands for a correspondent of `alias`. `None` where there is none: the alias is at no
    /// domain that we send from, or too long.
    pub fn sign(&self, purpose: Purpose, alias: &Address, correspondent: &Address) -> Option<Signed> {
        let can_send = self.domains.contains(alias.domain());
        can_send.then(|| self.keys.sign(purpose, alias, correspondent)).flatten()
    }
}

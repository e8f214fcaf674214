//! Where sent mail goes: into one Maildir per destination, or to a relay by SMTP.
//!
//! In the data folder, `sent/<ses id>.eml` is each message as the function sent it, and
//! `maildir/<address>/new/<ses id>` what a destination got. Names are safe: what is not a letter, digit
//! or one of `.-_+@` becomes `%XX`.
//!
//! Source: <https://cr.yp.to/proto/maildir.html>

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    address::Envelope,
    transport::smtp::{self, response::Response},
};

use crate::journal::{Event, Journal};

/// How often a relay is tried, and how long after a failure.
const RELAY_TRIES: u32 = 3;
const RELAY_PAUSE: Duration = Duration::from_secs(2);

/// Takes what SES has accepted. Clones deliver to the same place.
#[derive(Debug, Clone)]
pub struct Delivery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data: PathBuf,
    relay: Option<AsyncSmtpTransport<Tokio1Executor>>,
    /// What SES's bounce addresses end in.
    bounce_domain: String,
    journal: Arc<Journal>,
}

/// A message that SES has accepted.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) ses_id: String,
    /// SES's messageId of the incoming message it was made from, where known.
    pub(super) message_id: Option<String>,
    pub(super) from: String,
    pub(super) destinations: Vec<String>,
    /// Those of them that do not take it.
    pub(super) refusing: Vec<String>,
    /// Where bounces of it go, if the request says so.
    pub(super) feedback: Option<String>,
    /// As it was sent.
    pub(super) raw: Vec<u8>,
    /// As SES sends it on.
    pub(super) outgoing: Vec<u8>,
}

impl Delivery {
    pub(super) fn new(
        data: &Path,
        relay: Option<String>,
        region: &str,
        journal: Arc<Journal>,
    ) -> anyhow::Result<Delivery> {
        std::fs::create_dir_all(data.join("sent")).context("can't create the folder of sent mail")?;
        let relay = relay
            .map(|relay| {
                let (host, port) = relay
                    .rsplit_once(':')
                    .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                    .with_context(|| format!("the relay must be HOST:PORT, but is {relay:?}"))?;
                anyhow::Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).build())
            })
            .transpose()?;
        let bounce_domain = match region {
            "us-east-1" => "amazonses.com".to_owned(),
            region => format!("{region}.amazonses.com"),
        };
        Ok(Delivery(Arc::new(Inner { data: data.to_owned(), relay, bounce_domain, journal })))
    }

    /// Where what happens is told.
    pub(super) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Keeps a message and delivers it. A relay is spoken to after this returns, as SES's answer does not
    /// wait for it either; what it said is in the journal.
    pub(super) async fn accept(self, message: Outgoing) -> anyhow::Result<()> {
        let path = self.0.data.join("sent").join(format!("{}.eml", message.ses_id));
        tokio::fs::write(&path, &message.raw)
            .await
            .with_context(|| format!("can't write {}", path.display()))?;
        let Outgoing { ses_id, message_id, from, mut destinations, refusing, feedback, outgoing, .. } =
            message;
        let event =
            Event::Sent { ses_id: ses_id.clone(), from, destinations: destinations.clone(), feedback, path };
        self.0.journal.note(message_id.as_deref(), event);
        destinations.retain(|destination| !refusing.contains(destination));
        if destinations.is_empty() {
            return Ok(());
        }
        let return_path = format!("{ses_id}@{}", self.0.bounce_domain);
        if self.0.relay.is_some() {
            tokio::spawn(async move {
                self.relay(message_id.as_deref(), &return_path, &destinations, &outgoing).await;
            });
            return Ok(());
        }
        let mut mail = format!("Return-Path: <{return_path}>\r\n").into_bytes();
        mail.extend_from_slice(&outgoing);
        for destination in destinations {
            let file = self.drop(&ses_id, &destination, &mail).await?;
            self.0.journal.note(
                message_id.as_deref(),
                Event::Delivered { destination, to: file.display().to_string() },
            );
        }
        Ok(())
    }

    /// Puts a message into the Maildir of an address; it appears there whole.
    async fn drop(&self, ses_id: &str, destination: &str, mail: &[u8]) -> anyhow::Result<PathBuf> {
        let maildir = self.0.data.join("maildir").join(safe_name(destination));
        for folder in ["tmp", "new", "cur"] {
            let folder = maildir.join(folder);
            tokio::fs::create_dir_all(&folder)
                .await
                .with_context(|| format!("can't create {}", folder.display()))?;
        }
        let (unfinished, file) = (maildir.join("tmp").join(ses_id), maildir.join("new").join(ses_id));
        tokio::fs::write(&unfinished, mail)
            .await
            .with_context(|| format!("can't write {}", unfinished.display()))?;
        tokio::fs::rename(&unfinished, &file)
            .await
            .with_context(|| format!("can't write {}", file.display()))?;
        Ok(file)
    }

    /// Hands a message to the relay for all destinations at once.
    async fn relay(&self, message_id: Option<&str>, return_path: &str, destinations: &[String], mail: &[u8]) {
        let mut answer = self.transmit(return_path, destinations, mail).await;
        for _ in 1..RELAY_TRIES {
            if !answer.as_ref().is_err_and(may_pass) {
                break;
            }
            tokio::time::sleep(RELAY_PAUSE).await;
            answer = self.transmit(return_path, destinations, mail).await;
        }
        let answer = answer.map(|answer| {
            format!("relay: {} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "))
        });
        for destination in destinations {
            let destination = destination.clone();
            let event = match &answer {
                Ok(to) => Event::Delivered { destination, to: to.clone() },
                Err(error) => Event::Undelivered { destination, error: format!("relay: {error}") },
            };
            self.0.journal.note(message_id, event);
        }
    }

    async fn transmit(
        &self,
        return_path: &str,
        destinations: &[String],
        mail: &[u8],
    ) -> anyhow::Result<Response> {
        let relay = self.0.relay.as_ref().context("there is no relay")?;
        let destinations: Result<Vec<Address>, _> =
            destinations.iter().map(|destination| destination.parse()).collect();
        let envelope = Envelope::new(Some(return_path.parse()?), destinations?)?;
        Ok(relay.send_raw(&envelope, mail).await?)
    }
}

/// Whether a relay that did not take a message may take it later: not what it refused for good.
fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<smtp::Error>().is_some_and(|error| !error.is_permanent())
}

/// An address as the name of a folder: no separators, no dots alone, not too long.
fn safe_name(address: &str) -> String {
    let mut name = String::new();
    for byte in address.to_ascii_lowercase().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'+' | b'@' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => write!(name, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    // File systems end at 255 bytes; no more than a local part and a domain of odd bytes get there.
    name.truncate(240);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        let cases = [
            ("Info+tag@Out.Example", "info+tag@out.example"),
            ("../../etc@x.example", "%2E.%2F..%2Fetc@x.example"),
            ("\"a b\\c\"@x.example", "%22a%20b%5Cc%22@x.example"),
            (".", "%2E"),
            ("a\0@x.example", "a%00@x.example"),
        ];
        for (address, name) in cases {
            assert_eq!(safe_name(address), name);
        }
        assert_eq!(safe_name(&"/".repeat(300)).len(), 240);
    }
}

//! A message: what would be decided on it, and what its header would become, without sending anything.

use std::{fmt, fs, path::PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use ses_forwarder::{
    address::Address,
    decision::{Decision, decide},
    header::{self, HeaderBlock, HeaderFacts, Rewrite},
    notification::{Notification, Verdict},
    outcome::LeftOut,
    replies::{
        Replies,
        keys::{ReplyKeys, SECRET_OCTETS},
    },
    routes::Routes,
    sends::{Send, sends, sends_apart},
    settings::EmailSettings,
};

use crate::{diff, pair, routes};

/// Signs addresses here, and none that anything is sent under: what is shown is to be the same each time.
const SECRET: [u8; SECRET_OCTETS] = [0; SECRET_OCTETS];

/// How what is shown differs from what the stack does where mail is answered from aliases.
const SIGNED_HERE: &str = "Replies=on: addresses are signed with a key of this command, not with one of the stack's; an \
                           address that the stack has signed counts as one with a tag like any other";

/// Which message, and what SES would say of it.
#[derive(Debug, Clone, clap::Args)]
pub struct Question {
    /// The message, as SES stores it or as a mail program saves it
    pub message: PathBuf,
    /// An envelope recipient; may be given more than once
    #[arg(long, required = true, value_name = "ADDRESS")]
    pub to: Vec<Address>,
    /// The envelope sender, <> for the null one; by default the message's Return-Path, or that of an ordinary sender
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// A verdict of SES: spam, virus, spf, dkim, dmarc, each PASS by default, or dmarc-policy
    #[arg(long, value_name = "CHECK=WORD", value_parser = pair)]
    pub verdict: Vec<(String, String)>,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// How each recipient was looked up.
    pub routes: Vec<routes::Explained>,
    /// `forwarded` or `dropped`.
    pub decision: &'static str,
    /// Why it is dropped.
    pub reason: Option<&'static str>,
    /// Where it goes.
    pub destinations: Vec<String>,
    /// The checks that tag it.
    pub tags: Vec<&'static str>,
    /// The recipients that nothing goes out for.
    pub left_out: Vec<LeftOut>,
    /// How this differs from what the stack does; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
    /// What would go out; several sends where some recipients are not to see the others.
    pub sends: Vec<Rewritten>,
}

/// The header as it would go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Whom it is sent to.
    pub destinations: Vec<String>,
    /// The address it is sent from.
    pub from: String,
    /// What was done that a reader may wonder about.
    pub notes: Vec<String>,
    /// The header before and after, line by line: `-` went, `+` came, a space stayed.
    pub diff: Vec<String>,
}

/// Decides and rewrites.
pub fn explain(question: &Question, settings: &EmailSettings, routes: &Routes) -> anyhow::Result<Explained> {
    let path = &question.message;
    let message = fs::read(path).with_context(|| path.display().to_string())?;
    let block = header::split(&message);
    let notification = notification(question, &block)?;
    let domains = &settings.common.domains;
    let facts = HeaderFacts::of(&block).for_stack(settings.stack.as_deref());
    let decision = decide(&notification, &facts, &settings.policy, routes, domains);
    let from = notification.source.as_deref().and_then(|source| Address::parse_bare(source).ok());
    let from = facts.author.clone().or(from).filter(|_| routes.senders().lines() > 0);
    let keys = (settings.replies && routes.replies().enabled).then(|| ReplyKeys::first(SECRET));
    let replies = keys.as_ref().map(|keys| Replies { keys, contacts: &[], named: &[], domains });
    let mut explained = Explained {
        routes: question
            .to
            .iter()
            .map(|recipient| routes::explain(routes, recipient, from.as_ref()))
            .collect(),
        decision: "dropped",
        reason: None,
        destinations: Vec::new(),
        tags: Vec::new(),
        left_out: Vec::new(),
        note: replies.map(|_| SIGNED_HERE),
        sends: Vec::new(),
    };
    let left_out = match &decision {
        Decision::Drop { reason, left_out } => {
            explained.reason = Some(reason.word());
            left_out
        }
        Decision::Forward { destinations, tags, left_out, deliveries, .. } => {
            explained.decision = "forwarded";
            explained.destinations = destinations.iter().map(ToString::to_string).collect();
            explained.tags = tags.iter().map(|tag| tag.word()).collect();
            let named = header::named(&block, deliveries);
            let sends = match replies {
                None => sends(deliveries, &named, domains, |_| false),
                Some(_) => sends_apart(deliveries, &named, domains, |_| false),
            };
            for Send { recipients, destinations, domain, tags } in &sends {
                let how = Rewrite {
                    email_domain: domain,
                    envelope_sender: notification.source.as_deref(),
                    deliveries,
                    recipients,
                    hide_destinations: settings.hide_destinations,
                    subject_prefix: &settings.subject_prefix,
                    tags,
                    replies,
                };
                explained.sends.push(rewritten(destinations.clone(), &message, &block, &how));
            }
            left_out
        }
    };
    explained.left_out = left_out.iter().cloned().map(LeftOut::from).collect();
    Ok(explained)
}

/// The notification that SES would send.
fn notification(question: &Question, block: &HeaderBlock<'_>) -> anyhow::Result<Notification> {
    let return_path = || {
        let field = block.fields().find(|field| field.is("Return-Path"))?;
        Some(String::from_utf8_lossy(field.value).into_owned())
    };
    let source =
        question.from.clone().or_else(return_path).unwrap_or_else(|| "sender@sender.example".to_owned());
    let source = source.trim().trim_matches(['<', '>']).to_owned();
    let mut notification = Notification {
        message_id: "explained".to_owned(),
        source: Some(source).filter(|source| !source.is_empty()),
        recipients: question.to.iter().map(Address::to_string).collect(),
        spam: Verdict::Pass,
        virus: Verdict::Pass,
        spf: Verdict::Pass,
        dkim: Verdict::Pass,
        dmarc: Verdict::Pass,
        ..Notification::default()
    };
    for (check, word) in &question.verdict {
        let verdict = match &**check {
            "spam" => &mut notification.spam,
            "virus" => &mut notification.virus,
            "spf" => &mut notification.spf,
            "dkim" => &mut notification.dkim,
            "dmarc" => &mut notification.dmarc,
            "dmarc-policy" => {
                notification.dmarc_policy = Some(word.clone());
                continue;
            }
            other => bail!("--verdict {other}: expected spam, virus, spf, dkim, dmarc or dmarc-policy"),
        };
        *verdict = Verdict::from(&**word);
    }
    Ok(notification)
}

/// The header before and after.
fn rewritten(
    destinations: Vec<String>,
    message: &[u8],
    block: &HeaderBlock<'_>,
    how: &Rewrite<'_>,
) -> Rewritten {
    let rewritten = header::rewrite(block, how);
    Rewritten {
        destinations,
        from: rewritten.from.clone(),
        notes: rewritten.notes.iter().map(ToString::to_string).collect(),
        diff: diff::lines(&message[..block.body_at], &rewritten.header)
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for routes in &self.routes {
            write!(f, "{routes}")?;
        }
        f.write_str(self.decision)?;
        match self.reason {
            Some(reason) => write!(f, ": {reason}")?,
            None => {
                f.write_str(" to")?;
                self.destinations.iter().try_for_each(|destination| write!(f, " {destination}"))?;
                self.tags.iter().try_for_each(|tag| write!(f, ", tagged {tag}"))?;
            }
        }
        writeln!(f)?;
        // One recipient's reason is the message's.
        if self.reason.is_none() || self.left_out.len() > 1 {
            for LeftOut { recipient, reason } in &self.left_out {
                writeln!(f, "not for {recipient}: {reason}")?;
            }
        }
        self.note.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        for Rewritten { destinations, from, notes, diff } in &self.sends {
            if self.sends.len() > 1 {
                writeln!(f, "\nsent to {}:", destinations.join(", "))?;
            }
            writeln!(f, "from {from}")?;
            notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
            writeln!(f)?;
            diff.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

//! `cargo local explain MESSAGE.eml --to ADDRESS`: what would be decided, and what the header would
//! become, without sending anything.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use ses_forwarder::{
    address::Address,
    decision::{Decision, decide},
    header::{self, HeaderBlock, HeaderFacts, Rewrite},
    notification::{Notification, Verdict},
    sends::{Send, sends},
};

use super::{
    deployed::{Deployed, pair},
    routes,
};
use crate::diff;

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The message, as SES stores it or as a mail program saves it.
    message: PathBuf,
    /// An envelope recipient; may be given more than once.
    #[arg(long, required = true, value_name = "ADDRESS")]
    to: Vec<Address>,
    /// The envelope sender, <> for the null one; by default the message's Return-Path, or that of an ordinary sender.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// A verdict of SES: spam, virus, spf, dkim, dmarc, each PASS by default, or dmarc-policy.
    #[arg(long, value_name = "CHECK=WORD", value_parser = pair)]
    verdict: Vec<(String, String)>,
    /// The routes file; without it, the default alone.
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    #[command(flatten)]
    deployed: Deployed,
}

/// Decides, rewrites and shows.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.deployed.settings()?;
    let Some(routes) = routes::load(arguments.routes.as_deref(), &settings)? else {
        return Ok(ExitCode::FAILURE);
    };
    let path = &arguments.message;
    let message = fs::read(path).with_context(|| path.display().to_string())?;
    let block = header::split(&message);
    let notification = notification(arguments, &block)?;
    for recipient in &arguments.to {
        print!("{}", routes::explained(&routes, recipient));
    }
    let facts = HeaderFacts::of(&block);
    let decision = decide(&notification, &facts, &settings.policy, &routes, &settings.common.email_domain);
    print!("{}", shown(&decision));
    if let Decision::Forward { deliveries, tags, .. } = &decision {
        let sends = sends(deliveries, &header::named(&block, deliveries), |_| false);
        for Send { recipients, destinations } in &sends {
            if sends.len() > 1 {
                println!("\nsent to {}:", destinations.join(", "));
            }
            let how = Rewrite {
                email_domain: &settings.common.email_domain,
                envelope_sender: notification.source.as_deref(),
                deliveries,
                recipients,
                hide_destinations: settings.hide_destinations,
                subject_prefix: &settings.subject_prefix,
                tags,
            };
            print!("{}", rewritten(&message, &block, &how));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The notification that SES would send.
fn notification(arguments: &Arguments, block: &HeaderBlock<'_>) -> anyhow::Result<Notification> {
    let return_path = || {
        let field = block.fields().find(|field| field.is("Return-Path"))?;
        Some(String::from_utf8_lossy(field.value).into_owned())
    };
    let source =
        arguments.from.clone().or_else(return_path).unwrap_or_else(|| "sender@sender.example".to_owned());
    let source = source.trim().trim_matches(['<', '>']).to_owned();
    let mut notification = Notification {
        message_id: "explained".to_owned(),
        source: Some(source).filter(|source| !source.is_empty()),
        recipients: arguments.to.iter().map(Address::to_string).collect(),
        spam: Verdict::Pass,
        virus: Verdict::Pass,
        spf: Verdict::Pass,
        dkim: Verdict::Pass,
        dmarc: Verdict::Pass,
        ..Notification::default()
    };
    for (check, word) in &arguments.verdict {
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

/// The decision in sentences.
fn shown(decision: &Decision) -> String {
    let (mut text, left_out) = match decision {
        Decision::Drop { reason, left_out } => {
            // One recipient's reason is the message's.
            let each = if left_out.len() > 1 { &left_out[..] } else { &[] };
            (format!("dropped: {}", reason.word()), each)
        }
        Decision::Forward { destinations, tags, left_out, .. } => {
            let to: String = destinations.iter().map(|destination| format!(" {destination}")).collect();
            let tags: String = tags.iter().map(|tag| format!(", tagged {}", tag.word())).collect();
            (format!("forwarded to{to}{tags}"), &left_out[..])
        }
    };
    text.push('\n');
    for one in left_out {
        text.push_str(&format!("not for {}: {}\n", one.recipient, one.reason.word()));
    }
    text
}

/// The header before and after.
fn rewritten(message: &[u8], block: &HeaderBlock<'_>, how: &Rewrite<'_>) -> String {
    let rewritten = header::rewrite(block, how);
    let mut text = format!("from {}\n", rewritten.from);
    for note in &rewritten.notes {
        text.push_str(&format!("{note}\n"));
    }
    text.push('\n');
    for line in diff::lines(&message[..block.body_at], &rewritten.header) {
        text.push_str(&format!("{line}\n"));
    }
    text
}

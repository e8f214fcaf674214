//! The routes file: checked and explained before it is uploaded, fetched, and uploaded so that nobody
//! else's change is lost.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use aws_sdk_s3::{error::ProvideErrorMetadata, primitives::ByteStream};
use bytes::Bytes;
use serde::Serialize;
use ses_forwarder::{
    address::Address,
    answers::owners,
    routes::{RECIPIENTS_MAX, Routes},
};
use ses_forwarder_explain::{
    diff,
    message::{self, Question},
    routes::{self, Checked},
};

use crate::{
    arguments::{Assumed, RoutesCommand, Target},
    assumed::{self, Source},
    clients::Clients,
    deployed::Deployed,
    open, print,
};

/// Runs a command; `false` if the file has errors or is not there.
pub async fn run(command: &RoutesCommand, json: bool) -> anyhow::Result<bool> {
    match command {
        RoutesCommand::Check { file, assumed } => check(file, assumed, json).await,
        RoutesCommand::Explain { address, from, routes, assumed } => {
            let source = assumed::read(assumed, Some(address.domain())).await?;
            let Some(routes) = load(routes.as_ref(), &source).await? else { return Ok(false) };
            let mut explained = routes::explain(&routes, address, from.as_ref());
            if source.settings.replies && routes.replies().enabled {
                explained.owners = owners(&routes, address).iter().map(ToString::to_string).collect();
            }
            print(&explained, json);
            Ok(true)
        }
        RoutesCommand::Get { target, output } => get(target, output.as_deref(), json).await,
        RoutesCommand::Put { file, target, dry_run, strict } => {
            put(file, target, *dry_run, *strict, json).await
        }
    }
}

/// Explains a message; `false` if the routes file has errors.
pub async fn explain_message(
    question: &Question,
    routes: Option<&PathBuf>,
    assumed: &Assumed,
    json: bool,
) -> anyhow::Result<bool> {
    let source = assumed::read(assumed, question.to.first().map(Address::domain)).await?;
    let Some(routes) = load(routes, &source).await? else { return Ok(false) };
    print(&message::explain(question, &source.settings, &routes)?, json);
    Ok(true)
}

async fn check(path: &Path, assumed: &Assumed, json: bool) -> anyhow::Result<bool> {
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    let named = named_domains(&file);
    if assumed.stack.is_none() && assumed.email_domain.is_none() {
        eprintln!(
            "checked for mail to {}: give --stack STACK or --email-domain DOMAIN if it is for others",
            named.as_deref().unwrap_or(PLACEHOLDER)
        );
    }
    let settings = assumed::read(assumed, named.as_deref().or(Some(PLACEHOLDER))).await?.settings;
    let destination = settings.destination_domain.as_deref();
    let checked = routes::check(&path.display().to_string(), &file, &settings.common.domains, destination);
    print(&checked, json);
    Ok(checked.ok)
}

/// Where nothing names a domain, a file has local parts only, which hold for any.
const PLACEHOLDER: &str = "in.example";

/// The domains that lines of `[routes]` name, with commas between them.
fn named_domains(file: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(file);
    let mut in_routes = true;
    let mut domains: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(table) = line.trim_start().strip_prefix('[') {
            in_routes = table.starts_with("routes");
        }
        if !in_routes {
            continue;
        }
        let Some((key, _)) = line.trim_start().split_once('=') else { continue };
        let Some((_, domain)) = key.trim().trim_matches(['"', '\'']).rsplit_once('@') else { continue };
        let domain = domain.strip_prefix("*.").unwrap_or(domain);
        let Ok(address) = Address::parse_bare(&format!("postmaster@{domain}")) else { continue };
        if !domains.iter().any(|known| known == address.domain()) {
            domains.push(address.domain().to_owned());
        }
    }
    Some(domains.join(",")).filter(|domains| !domains.is_empty())
}

/// The routes of a file, of the stack, or the default; `None` if they have errors, which are then printed.
async fn load(path: Option<&PathBuf>, source: &Source) -> anyhow::Result<Option<Routes>> {
    let settings = &source.settings;
    let found = match (path, &source.stack) {
        (None, Some((clients, deployed))) => {
            let object = object(clients, deployed).await?;
            let (email, destination) = (&settings.common.domains, settings.destination_domain.as_deref());
            match object.file {
                Some((file, _)) => Routes::parse(&file, email, destination)
                    .map_err(|_| routes::check(&object.address, &file, email, destination)),
                None => Ok(Routes::default_for(email, destination)),
            }
        }
        _ => routes::load(path, settings)?,
    };
    match found {
        Ok(routes) => Ok(Some(routes)),
        Err(checked) => {
            eprint!("{}", checked.errors());
            Ok(None)
        }
    }
}

/// The stack's routes file.
struct RoutesObject {
    address: String,
    /// Its text and ETag; `None` if there is none.
    file: Option<(Bytes, String)>,
}

/// Where a stack's routes file is.
pub(crate) fn address(deployed: &Deployed) -> anyhow::Result<String> {
    Ok(format!("s3://{}/{}", deployed.bucket()?, deployed.settings()?.routes_key))
}

/// The routes of a stack.
pub(crate) async fn of_stack(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Routes> {
    let common = &deployed.settings()?.common;
    let destination = deployed.settings()?.destination_domain.as_deref();
    let RoutesObject { address, file } = object(clients, deployed).await?;
    let Some((file, _)) = file else { return Ok(Routes::default_for(&common.domains, destination)) };
    Routes::parse(&file, &common.domains, destination).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        anyhow::anyhow!("{address} is wrong: {first}")
    })
}

async fn object(clients: &Clients, deployed: &Deployed) -> anyhow::Result<RoutesObject> {
    let (bucket, key) = (deployed.bucket()?, &deployed.settings()?.routes_key);
    let address = address(deployed)?;
    let file = match clients.s3.get_object().bucket(bucket).key(key).send().await {
        Ok(object) => {
            let etag = object.e_tag().unwrap_or_default().to_owned();
            let text = object.body.collect().await.with_context(|| format!("{address} broke off"))?;
            Some((text.into_bytes(), etag))
        }
        Err(error) if error.code() == Some("NoSuchKey") => None,
        Err(error) => return Err(error).with_context(|| format!("{address} can't be read")),
    };
    Ok(RoutesObject { address, file })
}

/// What `get` prints.
#[derive(Debug, Serialize)]
struct Fetched {
    address: String,
    /// Absent if there is no file: then everything goes to the destination domain.
    text: Option<String>,
}

async fn get(target: &Target, output: Option<&Path>, json: bool) -> anyhow::Result<bool> {
    let (clients, deployed) = open(target).await?;
    let RoutesObject { address, file } = object(&clients, &deployed).await?;
    if let (Some(path), Some((text, _))) = (output, &file) {
        fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    let found = file.is_some();
    if !found {
        let destination = deployed.settings()?.destination_domain.as_deref().unwrap_or("nowhere");
        eprintln!("there is no {address}: all mail goes to {destination}");
    }
    let text = file.map(|(text, _)| String::from_utf8_lossy(&text).into_owned());
    if json || output.is_none() {
        print(&Fetched { address, text }, json);
    }
    Ok(found)
}

/// What `put` prints.
#[derive(Debug, Serialize)]
struct Put {
    address: String,
    checked: Checked,
    /// The lines that differ and those around them: `-` goes, `+` comes, a space stays.
    diff: Vec<String>,
    uploaded: bool,
    /// With --strict: what the parameter Recipients has to be for SES to refuse everyone whom no line is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<Vec<String>>,
    #[serde(skip)]
    dry_run: bool,
}

async fn put(path: &Path, target: &Target, dry_run: bool, strict: bool, json: bool) -> anyhow::Result<bool> {
    let new = fs::read(path).with_context(|| path.display().to_string())?;
    let (clients, deployed) = open(target).await?;
    let settings = deployed.settings()?;
    let destination = settings.destination_domain.as_deref();
    let name = path.display().to_string();
    let checked = routes::check(&name, &new, &settings.common.domains, destination);
    let RoutesObject { address, file } = object(&clients, &deployed).await?;
    let old = file.as_ref().map_or(&[][..], |(old, _)| old);
    let changed = file.is_none() || old != new;
    let diff = diff::lines(old, &new).iter().map(ToString::to_string).collect();
    let recipients = || {
        let routes = Routes::parse(&new, &settings.common.domains, destination).ok()?;
        Some(routes.recipients(&settings.common.domains).into_iter().collect())
    };
    let recipients = strict.then(recipients).flatten();
    let mut put = Put { address, checked, diff, uploaded: false, recipients, dry_run };
    if put.checked.ok && changed && !dry_run {
        let request = clients.s3.put_object().bucket(deployed.bucket()?).key(&settings.routes_key);
        let request = match file {
            Some((_, etag)) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        let sent = request.content_type("application/toml").body(ByteStream::from(new)).send().await;
        match sent {
            Ok(_) => put.uploaded = true,
            Err(error) if error.code() == Some("PreconditionFailed") => {
                bail!("someone else has changed {} meanwhile; nothing is uploaded, look again", put.address);
            }
            Err(error) => return Err(error).with_context(|| format!("{} can't be written", put.address)),
        }
    }
    print(&put, json);
    Ok(put.checked.ok)
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.checked)?;
        let differs = self.diff.iter().any(|line| !line.starts_with(' '));
        if differs {
            self.diff.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        let address = &self.address;
        match (self.uploaded, self.checked.ok) {
            (true, _) => writeln!(f, "{address} is uploaded; the function takes it within a minute"),
            (false, false) => writeln!(f, "{address} stays as it is, as the file has errors"),
            (false, true) if self.dry_run && differs => writeln!(f, "{address} would be uploaded"),
            (false, true) => writeln!(f, "{address} is the same already"),
        }?;
        self.recipients.as_deref().map_or(Ok(()), |recipients| write!(f, "{}", strictly(recipients)))
    }
}

/// How to have SES refuse everyone else.
fn strictly(recipients: &[String]) -> String {
    if recipients.is_empty() {
        return "no line takes mail, and a stack has to take some: there is no such list\n".to_owned();
    }
    let mut text = format!(
        "to have SES refuse everyone whom no line is for, deploy with the parameter\n  Recipients={}\n",
        recipients.join(",")
    );
    if recipients.len() > RECIPIENTS_MAX {
        text.push_str(&format!(
            "which is too long: it names {} recipients, and a receipt rule takes {RECIPIENTS_MAX}\n",
            recipients.len()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domains_named_are_taken_for_the_received_ones() {
        for (file, domain) in [
            ("[routes]\n\"abuse\" = \"x@out.example\"\n\"ann@In.example\" = []\n", Some("in.example")),
            (
                "[routes]\n'@in.example' = \"@out.example\"\n\"@*.b.example\" = []\n",
                Some("in.example,b.example"),
            ),
            (
                "[routes]\n\"a@in.example\" = []\n\"@in.example\" = []\n[senders]\n\"@x.example\" = \"drop\"\n",
                Some("in.example"),
            ),
            ("[routes]\n\"abuse\" = \"x@out.example\"\n", None),
            ("", None),
        ] {
            assert_eq!(named_domains(file.as_bytes()).as_deref(), domain, "{file}");
        }
    }
}

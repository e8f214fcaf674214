//! Recent notifications, saved as events that `sam local invoke` and the functions take.

use std::{fmt, fs, path::Path, time::SystemTime};

use anyhow::Context;
use aws_sdk_s3::types::Object;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{archive, clients::Clients, deployed::Deployed, print};

/// The files that were written.
#[derive(Debug, Serialize)]
struct Saved {
    files: Vec<String>,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            writeln!(f, "no notification in the past {} days", archive::DAYS)?;
        }
        self.files.iter().try_for_each(|file| writeln!(f, "{file}"))
    }
}

/// Saves the newest `limit` notifications; `false` if there is none.
pub async fn run(
    clients: &Clients,
    deployed: &Deployed,
    limit: usize,
    folder: &Path,
    json: bool,
) -> anyhow::Result<bool> {
    let keys = newest(clients, deployed, limit).await?;
    let mut saved = Saved { files: Vec::new() };
    if keys.is_empty() {
        print(&saved, json);
        return Ok(false);
    }
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    for key in keys {
        let Some(notification) = archive::get(clients, deployed.bucket()?, &key).await? else { continue };
        let notification: Value =
            serde_json::from_slice(&notification).with_context(|| format!("{key} is no JSON"))?;
        let name = key.rsplit('/').next().unwrap_or(&key);
        let path = folder.join(name);
        let text = serde_json::to_string_pretty(&event(&notification))?;
        fs::write(&path, text + "\n").with_context(|| format!("{} can't be written", path.display()))?;
        saved.files.push(path.display().to_string());
    }
    print(&saved, json);
    Ok(true)
}

async fn newest(clients: &Clients, deployed: &Deployed, limit: usize) -> anyhow::Result<Vec<String>> {
    let prefix = &deployed.prefixes()?.index;
    let mut keys = Vec::new();
    for day in archive::days_back(OffsetDateTime::from(SystemTime::now())).take(archive::DAYS) {
        if keys.len() >= limit {
            break;
        }
        let mut objects = archive::list(clients, deployed.bucket()?, &archive::folder(prefix, day)).await?;
        objects.sort_by_key(|object| {
            std::cmp::Reverse(object.last_modified().map(aws_sdk_s3::primitives::DateTime::as_nanos))
        });
        keys.extend(objects.into_iter().filter_map(|Object { key, .. }| key));
    }
    keys.truncate(limit);
    Ok(keys)
}

/// The event that brought a notification: that of SNS, if SES published it there, else of the Lambda action.
fn event(notification: &Value) -> Value {
    if notification.get("notificationType").is_some() {
        let sns = json!({
            "Type": "Notification",
            "Subject": "Amazon SES Email Receipt Notification",
            "Message": notification.to_string(),
        });
        json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]})
    } else {
        json!({"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": notification}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;
    use ses_forwarder::notification::{Record, records};

    #[test]
    fn an_event_leads_to_its_notification_again() {
        for file in [
            include_str!("../../../events/ses-event.json"),
            include_str!("../../../events/sns-ses-event.json"),
        ] {
            let file: Box<RawValue> = serde_json::from_str(file).unwrap();
            let [Record::Received { verbatim, notification }] = &records(&file)[..] else {
                panic!("one message")
            };
            let event = event(&serde_json::from_str(verbatim).unwrap());
            let event = serde_json::value::to_raw_value(&event).unwrap();
            let [Record::Received { notification: again, .. }] = &records(&event)[..] else {
                panic!("one message")
            };
            assert_eq!(again, notification);
        }
    }
}

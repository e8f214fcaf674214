//! Under which key bucket and topic are, and whether that is the one that the stack was deployed with.
//!
//! Under a key of yours the functions may read and publish only if the stack knows it; under the keys that AWS manages
//! SES can't store mail and CloudWatch can't publish, as nobody can give these a policy.
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-permissions.html>,
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html>

use anyhow::{Context, bail};
use aws_sdk_s3::{error::ProvideErrorMetadata, types::ServerSideEncryption};

use super::Finding;
use crate::{
    clients::Clients,
    deployed::{Deployed, outputs},
};

pub(super) const BUCKET: &str = "bucket's key";
pub(super) const TOPIC: &str = "topic's key";

/// Where the document says what a key's policy needs.
const DOCUMENT: &str = "docs/first-hour.md, Keys of your own";

/// Whether SES can store under the bucket's key, and the functions may use it.
pub(super) async fn bucket(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let bucket = deployed.bucket()?;
    let key = bucket_key(clients, bucket).await?;
    let region = &deployed.region;
    judge(
        &Kept {
            check: BUCKET,
            what: bucket,
            region,
            keys: keys_of(deployed),
            managed: "aws/s3",
            then: "SES can't store mail there",
            who: "SES",
            otherwise: format!(
                "aws s3api put-bucket-encryption --region {region} --bucket {bucket} \
                 --server-side-encryption-configuration \
                 '{{\"Rules\":[{{\"ApplyServerSideEncryptionByDefault\":{{\"SSEAlgorithm\":\"AES256\"}}}}]}}'"
            ),
            parameter: "BucketKeyArn",
            deployed_with: deployed.parameter("BucketKeyArn").filter(|key| !key.is_empty()),
        },
        key.as_deref(),
    )
}

/// The key of what is stored from now on; `None` if it is S3's own.
async fn bucket_key(clients: &Clients, bucket: &str) -> anyhow::Result<Option<String>> {
    let answer = match clients.s3.get_bucket_encryption().bucket(bucket).send().await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("ServerSideEncryptionConfigurationNotFoundError") => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("S3 does not tell how bucket {bucket} is encrypted"));
        }
    };
    // S3 has one rule, though it is in a list.
    let rule =
        answer.server_side_encryption_configuration().and_then(|configuration| configuration.rules().first());
    let default = rule.and_then(|rule| rule.apply_server_side_encryption_by_default());
    let by_kms = default.filter(|default| *default.sse_algorithm() != ServerSideEncryption::Aes256);
    // Where no key is named it is the one that AWS manages.
    Ok(by_kms.map(|default| default.kms_master_key_id().unwrap_or("alias/aws/s3").to_owned()))
}

/// Whether CloudWatch can publish under the topic's key, and the function may use it.
pub(super) async fn topic(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let topic = deployed.output(outputs::TOPIC)?;
    let attributes = clients.sns.get_topic_attributes().topic_arn(topic).send().await;
    let attributes = attributes.with_context(|| format!("SNS does not tell of {topic}"))?;
    let key = attributes.attributes().and_then(|attributes| attributes.get("KmsMasterKeyId"));
    judge(
        &Kept {
            check: TOPIC,
            what: topic,
            region: &deployed.region,
            keys: keys_of(deployed),
            managed: "aws/sns",
            then: "CloudWatch can't publish there, and alarms reach nobody",
            who: "CloudWatch",
            otherwise: format!(
                "aws sns set-topic-attributes --region {} --topic-arn {topic} --attribute-name KmsMasterKeyId \
                 --attribute-value ''",
                deployed.region
            ),
            parameter: "TopicKeyArn",
            deployed_with: deployed.parameter("TopicKeyArn").filter(|key| !key.is_empty()),
        },
        key.map(String::as_str).filter(|key| !key.is_empty()),
    )
}

/// What is under a key, or not.
struct Kept<'a> {
    check: &'static str,
    what: &'a str,
    region: &'a str,
    /// What the ARNs of the stack's account's keys begin with.
    keys: String,
    /// The key that AWS manages, without its `alias/`.
    managed: &'static str,
    /// What comes of that one.
    then: &'static str,
    /// Which service a key's policy has to let in.
    who: &'static str,
    /// The command that takes the key away.
    otherwise: String,
    parameter: &'static str,
    deployed_with: Option<&'a str>,
}

fn keys_of(deployed: &Deployed) -> String {
    let Deployed { partition, region, account, .. } = deployed;
    format!("arn:{partition}:kms:{region}:{account}:")
}

fn judge(kept: &Kept<'_>, key: Option<&str>) -> anyhow::Result<Finding> {
    let Kept { check, what, managed, then, otherwise, parameter, deployed_with, .. } = kept;
    let Some(key) = key.map(|key| kept.arn(key)) else {
        return Ok(match deployed_with {
            None => Finding::ok(check, format!("{what} is under no key of KMS")),
            Some(wanted) => Finding::warning(
                check,
                format!("{what} is under no key of KMS, though {parameter} names {wanted}"),
                format!("Encrypt it with that key, or deploy with {parameter} empty"),
            ),
        });
    };
    if key.ends_with(&format!(":alias/{managed}")) {
        let fix = format!("{otherwise}; or give it a key of yours: {DOCUMENT}");
        return Ok(Finding::wrong(check, format!("{what} is under {managed}, so {then}"), fix));
    }
    let is_alias = key.contains(":alias/");
    let found = match deployed_with {
        Some(wanted) if *wanted == key => {
            return Ok(Finding::ok(check, format!("{what} is under the key that {parameter} names")));
        }
        Some(wanted) if is_alias => {
            bail!("{what} is under {key}; {} says whether that is {wanted}", kept.describe(&key))
        }
        Some(wanted) => format!("{what} is under {key}, but {parameter} names {wanted}"),
        None => format!("{what} is under {key}, but {parameter} names none"),
    };
    let wanted = if is_alias {
        format!("{parameter}=ARN, which {} tells", kept.describe(&key))
    } else {
        format!("{parameter}={key}")
    };
    let fix = format!("Deploy with {wanted}; the key's policy has to let {} use it: {DOCUMENT}", kept.who);
    Ok(Finding::wrong(check, found + ", so the functions may not use it", fix))
}

impl Kept<'_> {
    /// The command that tells of a key.
    fn describe(&self, key: &str) -> String {
        format!("aws kms describe-key --region {} --key-id {key}", self.region)
    }

    /// The ARN of a key that may be told by its id or alias.
    fn arn(&self, key: &str) -> String {
        match key {
            key if key.starts_with("arn:") => key.to_owned(),
            alias if alias.starts_with("alias/") => format!("{}{alias}", self.keys),
            id => format!("{}key/{id}", self.keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn keys() {
        let ours = Some("arn:aws:kms:r:1:key/ours");
        for (key, deployed_with, state, found, fix) in [
            (None, None, State::Ok, "mail is under no key of KMS", ""),
            (Some("ours"), ours, State::Ok, "mail is under the key that BucketKeyArn names", ""),
            (ours, ours, State::Ok, "mail is under the key that BucketKeyArn names", ""),
            (
                None,
                ours,
                State::Warning,
                "mail is under no key of KMS, though BucketKeyArn names arn:aws:kms:r:1:key/ours",
                "Encrypt it with that key, or deploy with BucketKeyArn empty",
            ),
            (
                Some("ours"),
                None,
                State::Wrong,
                "mail is under arn:aws:kms:r:1:key/ours, but BucketKeyArn names none, so the functions may not use it",
                "Deploy with BucketKeyArn=arn:aws:kms:r:1:key/ours; the key's policy has to let SES use it: \
                 docs/first-hour.md, Keys of your own",
            ),
            (
                Some("arn:aws:kms:r:2:key/theirs"),
                ours,
                State::Wrong,
                "mail is under arn:aws:kms:r:2:key/theirs, but BucketKeyArn names arn:aws:kms:r:1:key/ours, so the \
                 functions may not use it",
                "Deploy with BucketKeyArn=arn:aws:kms:r:2:key/theirs; the key's policy has to let SES use it: \
                 docs/first-hour.md, Keys of your own",
            ),
            (
                Some("alias/ours"),
                None,
                State::Wrong,
                "mail is under arn:aws:kms:r:1:alias/ours, but BucketKeyArn names none, so the functions may not use it",
                "Deploy with BucketKeyArn=ARN, which aws kms describe-key --region r --key-id arn:aws:kms:r:1:alias/ours tells; the \
                 key's policy has to let SES use it: docs/first-hour.md, Keys of your own",
            ),
            (
                Some("alias/aws/s3"),
                None,
                State::Wrong,
                "mail is under aws/s3, so SES can't store mail there",
                "take it away; or give it a key of yours: docs/first-hour.md, Keys of your own",
            ),
            (
                Some("arn:aws:kms:r:1:alias/aws/s3"),
                ours,
                State::Wrong,
                "mail is under aws/s3, so SES can't store mail there",
                "take it away; or give it a key of yours: docs/first-hour.md, Keys of your own",
            ),
        ] {
            let finding = judge(&bucket_with(deployed_with), key).unwrap();
            let told = (finding.state, &*finding.found, finding.fix.as_deref().unwrap_or_default());
            assert_eq!(told, (state, found, fix));
        }
        // Which key an alias leads to only KMS tells.
        let unknown = judge(&bucket_with(ours), Some("alias/ours")).unwrap_err().to_string();
        assert!(unknown.ends_with("says whether that is arn:aws:kms:r:1:key/ours"), "{unknown}");
    }

    fn bucket_with(deployed_with: Option<&str>) -> Kept<'_> {
        Kept {
            check: BUCKET,
            what: "mail",
            region: "r",
            keys: "arn:aws:kms:r:1:".to_owned(),
            managed: "aws/s3",
            then: "SES can't store mail there",
            who: "SES",
            otherwise: "take it away".to_owned(),
            parameter: "BucketKeyArn",
            deployed_with,
        }
    }
}

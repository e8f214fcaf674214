//! What `handle-dead-letter` reads from its environment.

use std::{ops::RangeInclusive, time::Duration};

use ses_forwarder::{
    address::Address,
    domains::Domains,
    settings::{Common, Lookup, SettingsError, names},
};

use crate::{digest::Rhythm, notice::Place};

/// Settings of this function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// `EMAIL_DOMAIN`: notices come from there.
    pub domains: Domains,
    /// What notices tell about the stack.
    pub place: Place,
    /// `NOTICE_ADDRESS`; this or `topic` is set.
    pub address: Option<Address>,
    /// `NOTICE_TOPIC_ARN`.
    pub topic: Option<String>,
    /// `RETRY_HOURS`: from this age on a letter is given up.
    pub retry: Duration,
    /// `DELAY_NOTICE_MINUTES`: from this age on the operator is told of a letter that is still tried.
    pub delay_notice: Duration,
    /// `DIGEST`: how often a digest is sent; `None` is never.
    pub digest: Option<Rhythm>,
}

/// Most hours that letters are tried for: the queue keeps them for 14 days, and one is left for the last
/// wait and for notices that can't be sent.
const MAX_RETRY_HOURS: u64 = 13 * 24;

const ADDRESS: &str = "a mail address such as admin@example.com";
const TOPIC: &str = "the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME";
const STACK: &str = "the name of the stack: 1 to 128 letters, digits and hyphens";
const FUNCTION: &str = "the name or ARN of a function";
const RETRY_HOURS: &str = "a number of hours from 1 to 312 (13 days)";
const DELAY_NOTICE_MINUTES: &str = "a number of minutes from 0 (at the first failure) to 10080 (a week)";
const DIGEST: &str = "off, daily or weekly";
const REGION: &str = "an AWS region, which Lambda sets";

impl DeadLetterSettings {
    /// Reads them; `environment` is `|name| std::env::var(name).ok()` outside of tests.
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Result<DeadLetterSettings, SettingsError> {
        let mut lookup = Lookup::new(environment);
        let common = Common::read(&mut lookup);
        let stack = lookup.required(names::STACK_NAME, STACK, plain_name);
        let region = lookup.required(names::AWS_REGION, REGION, plain_name);
        let handle_email = lookup.optional(names::HANDLE_EMAIL_FUNCTION, FUNCTION, function);
        let address = lookup.optional(names::NOTICE_ADDRESS, ADDRESS, |text| Address::parse(text).ok());
        let topic = lookup.optional(names::NOTICE_TOPIC_ARN, TOPIC, topic);
        let retry_hours = |text: &str| number(text, 1..=MAX_RETRY_HOURS);
        let retry_hours = lookup.or_default(names::RETRY_HOURS, "96", RETRY_HOURS, retry_hours);
        let minutes = |text: &str| number(text, 0..=7 * 24 * 60);
        let minutes = lookup.or_default(names::DELAY_NOTICE_MINUTES, "60", DELAY_NOTICE_MINUTES, minutes);
        let digest = lookup.or_default(names::DIGEST, "off", DIGEST, rhythm);
        if address.is_none() && topic.is_none() {
            lookup.complain("NOTICE_ADDRESS and NOTICE_TOPIC_ARN are not set; one of them must be");
        }
        lookup.finish()?;
        let Common { bucket, domains, prefixes } = common.expect("finish reports what is missing");
        let stack = stack.expect("finish reports what is missing");
        let region = region.expect("finish reports what is missing");
        let handle_email = handle_email.unwrap_or_else(|| format!("{stack}-handle-email"));
        let place = Place { stack, region, bucket, prefixes, handle_email };
        let retry = Duration::from_secs(retry_hours * 60 * 60);
        let delay_notice = Duration::from_secs(minutes * 60);
        Ok(DeadLetterSettings { domains, place, address, topic, retry, delay_notice, digest })
    }

    /// What would make notices useless, though it is allowed.
    pub fn warning(&self) -> Option<&'static str> {
        let inside = self.address.as_ref().is_some_and(|address| self.domains.contains(address.domain()));
        inside.then_some(
            "NOTICE_ADDRESS is in EMAIL_DOMAIN: notices come back to this stack, which drops them; \
             set an address elsewhere",
        )
    }
}

/// The inner `None` is `off`.
fn rhythm(text: &str) -> Option<Option<Rhythm>> {
    let words = [("off", None), ("daily", Some(Rhythm::Daily)), ("weekly", Some(Rhythm::Weekly))];
    words.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, rhythm)| rhythm)
}

fn number(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| allowed.contains(number))
}

fn plain_name(value: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ((1..=128).contains(&value.len()) && value.bytes().all(allowed)).then(|| value.to_owned())
}

fn function(value: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'$');
    ((1..=170).contains(&value.len()) && value.bytes().all(allowed)).then(|| value.to_owned())
}

fn topic(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split(':').collect();
    let is_topic = matches!(parts[..], ["arn", partition, "sns", region, account, name]
        if [partition, region, account, name].iter().all(|part| !part.is_empty()));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.');
    (is_topic && value.bytes().all(allowed)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::place;

    const REQUIRED: [(&str, &str); 5] = [
        ("BUCKET", "mail"),
        ("EMAIL_DOMAIN", "in.example"),
        ("STACK_NAME", "forwarder"),
        ("AWS_REGION", "eu-west-1"),
        ("NOTICE_ADDRESS", "admin@out.example"),
    ];

    fn read(variables: &[(&str, &str)]) -> Result<DeadLetterSettings, SettingsError> {
        DeadLetterSettings::read(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn expected() -> DeadLetterSettings {
        DeadLetterSettings {
            domains: Domains::parse("in.example").expect("a domain"),
            place: place(),
            address: Some(Address::parse("admin@out.example").unwrap()),
            topic: None,
            retry: Duration::from_secs(96 * 60 * 60),
            delay_notice: Duration::from_secs(60 * 60),
            digest: None,
        }
    }

    #[test]
    fn ok_defaults() {
        assert_eq!(read(&REQUIRED), Ok(expected()));
        assert_eq!(expected().warning(), None);
    }

    #[test]
    fn ok_everything_set() {
        let mut variables = vec![
            ("NOTICE_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:x"),
            ("HANDLE_EMAIL_FUNCTION", "f-1_X"),
            ("RETRY_HOURS", "312"),
            ("DELAY_NOTICE_MINUTES", "0"),
            ("DIGEST", "Weekly"),
        ];
        variables.extend(REQUIRED);
        let mut all = expected();
        all.topic = Some("arn:aws:sns:eu-west-1:123456789012:x".to_owned());
        all.place.handle_email = "f-1_X".to_owned();
        all.retry = Duration::from_secs(312 * 60 * 60);
        all.delay_notice = Duration::ZERO;
        all.digest = Some(Rhythm::Weekly);
        assert_eq!(read(&variables), Ok(all));
    }

    #[test]
    fn ok_but_notices_come_back() {
        let mut variables = vec![("NOTICE_ADDRESS", "admin@In.Example")];
        variables.extend(REQUIRED);
        assert!(
            read(&variables).unwrap().warning().unwrap().starts_with("NOTICE_ADDRESS is in EMAIL_DOMAIN")
        );
    }

    #[test]
    fn err_no_channel() {
        let error = read(&REQUIRED[..4]).unwrap_err();
        assert_eq!(error.to_string(), "NOTICE_ADDRESS and NOTICE_TOPIC_ARN are not set; one of them must be");
    }

    #[test]
    fn err_one_variable_wrong() {
        let cases = [
            ("STACK_NAME", "my stack"),
            ("AWS_REGION", "eu west"),
            ("NOTICE_TOPIC_ARN", "topic"),
            ("NOTICE_TOPIC_ARN", "arn:aws:sqs:eu-west-1:123456789012:x"),
            ("NOTICE_TOPIC_ARN", "arn:aws:sns:eu-west-1::x"),
            ("HANDLE_EMAIL_FUNCTION", "$(reboot)"),
            ("DIGEST", "hourly"),
            ("RETRY_HOURS", "0"),
            ("RETRY_HOURS", "313"),
            ("RETRY_HOURS", "four days"),
            ("DELAY_NOTICE_MINUTES", "-1"),
        ];
        for (name, value) in cases {
            let mut variables = vec![(name, value)];
            variables.extend(REQUIRED);
            let error = read(&variables).expect_err(name);
            let problems = error.problems();
            assert_eq!(problems.len(), 1, "{name}={value:?}: {problems:?}");
            assert!(problems[0].starts_with(&format!("{name} is {value:?}")), "{problems:?}");
        }
    }
}

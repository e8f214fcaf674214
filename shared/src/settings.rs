//! Settings from the environment, read once, through a lookup, into validated types. One error
//! lists everything that is wrong.
//!
//! A variable that is set but empty counts as not set: a template hands an unused parameter on as
//! an empty text.

use std::fmt;

use crate::{
    decision::{Action, Policy},
    domains::{Domains, domain},
    keys::Prefixes,
};

/// Names of the variables, each in this one place. `template.yaml` sets them.
pub mod names {
    /// Bucket of messages, records and routes.
    pub const BUCKET: &str = "BUCKET";
    /// Domains that SES receives mail for, and that forwarded mail is sent from, with commas between them.
    pub const EMAIL_DOMAIN: &str = "EMAIL_DOMAIN";
    /// Domain that mail goes to where no route says otherwise.
    pub const DESTINATION_DOMAIN: &str = "DESTINATION_DOMAIN";
    /// Prefix of raw messages.
    pub const MESSAGES_PREFIX: &str = "MESSAGES_PREFIX";
    /// Prefix of notifications.
    pub const INDEX_PREFIX: &str = "INDEX_PREFIX";
    /// Prefix of outcomes.
    pub const OUTCOME_PREFIX: &str = "OUTCOME_PREFIX";
    /// Prefix of refused messages.
    pub const ERROR_PREFIX: &str = "ERROR_PREFIX";
    /// Key of the routes file.
    pub const ROUTES_KEY: &str = "ROUTES_KEY";
    /// What to do with spam.
    pub const ON_SPAM: &str = "ON_SPAM";
    /// What to do with viruses.
    pub const ON_VIRUS: &str = "ON_VIRUS";
    /// What to do with mail that DMARC asks to reject.
    pub const ON_DMARC_REJECT: &str = "ON_DMARC_REJECT";
    /// What to do with mail that fails DMARC under any other policy.
    pub const ON_DMARC_FAIL: &str = "ON_DMARC_FAIL";
    /// What to do with mail that neither SPF nor DKIM vouches for.
    pub const ON_UNAUTHENTICATED: &str = "ON_UNAUTHENTICATED";
    /// What to do with mail that fails SPF.
    pub const ON_SPF_FAIL: &str = "ON_SPF_FAIL";
    /// What to do with mail that fails DKIM.
    pub const ON_DKIM_FAIL: &str = "ON_DKIM_FAIL";
    /// Put before every subject.
    pub const SUBJECT_PREFIX: &str = "SUBJECT_PREFIX";
    /// Whether To and Cc keep the recipients that they name.
    pub const HIDE_DESTINATIONS: &str = "HIDE_DESTINATIONS";
    /// What the reader of a message gets that SES refuses.
    pub const ON_REFUSED: &str = "ON_REFUSED";
    /// Whether forwarded mail can be answered from the alias.
    pub const REPLIES: &str = "REPLIES";
    /// What becomes of the owner's address in the body of an answer.
    pub const REPLY_BODY: &str = "REPLY_BODY";
    /// SES configuration set of forwarded mail.
    pub const CONFIGURATION_SET: &str = "CONFIGURATION_SET";
    /// SES tenant that forwarded mail is sent for.
    pub const TENANT: &str = "TENANT";
    /// Where notices go by mail.
    pub const NOTICE_ADDRESS: &str = "NOTICE_ADDRESS";
    /// Where notices go by SNS.
    pub const NOTICE_TOPIC_ARN: &str = "NOTICE_TOPIC_ARN";
    /// Name of the CloudFormation stack.
    pub const STACK_NAME: &str = "STACK_NAME";
    /// Function that notices tell how to invoke again; by default `STACK_NAME-handle-email`.
    pub const HANDLE_EMAIL_FUNCTION: &str = "HANDLE_EMAIL_FUNCTION";
    /// Hours for which a message is tried again before it is given up.
    pub const RETRY_HOURS: &str = "RETRY_HOURS";
    /// Minutes after which a message that is still being tried is told.
    pub const DELAY_NOTICE_MINUTES: &str = "DELAY_NOTICE_MINUTES";
    /// How often a digest is sent of what did not reach its reader.
    pub const DIGEST: &str = "DIGEST";
    /// Region, which Lambda sets.
    pub const AWS_REGION: &str = "AWS_REGION";
}

/// Longest S3 key in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1024;

/// Longest subject prefix in characters: with it a subject still fits one line of a mail reader.
const MAX_SUBJECT_PREFIX: usize = 64;

/// Everything that is wrong with the environment: a sentence a variable, each naming the variable,
/// its value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct SettingsError(Vec<String>);

impl SettingsError {
    /// The sentences.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

/// What both functions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// `BUCKET`.
    pub bucket: String,
    /// `EMAIL_DOMAIN`.
    pub domains: Domains,
    /// `MESSAGES_PREFIX` and the like.
    pub prefixes: Prefixes,
}

/// What `handle-email` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailSettings {
    /// What `handle-dead-letter` needs as well.
    pub common: Common,
    /// `DESTINATION_DOMAIN`, in lower case, IDN as A-labels. May be absent where routes say it all.
    pub destination_domain: Option<String>,
    /// `ROUTES_KEY`.
    pub routes_key: String,
    /// `ON_SPAM` and the like.
    pub policy: Policy,
    /// `SUBJECT_PREFIX`; empty for none.
    pub subject_prefix: String,
    /// `HIDE_DESTINATIONS`: no destination takes the place of a recipient in To and Cc.
    pub hide_destinations: bool,
    /// `ON_REFUSED`.
    pub on_refused: OnRefused,
    /// `REPLIES`: forwarded mail can be answered from the alias that it came for.
    pub replies: bool,
    /// `REPLY_BODY`.
    pub reply_body: ReplyBody,
    /// `CONFIGURATION_SET`.
    pub configuration_set: Option<String>,
    /// `TENANT`: what SES counts bounces and complaints for, and pauses, apart from the rest of the account.
    pub tenant: Option<String>,
    /// `STACK_NAME`: whose notices are not forwarded; without it, nobody's are.
    pub stack: Option<String>,
}

/// What becomes of a message that SES refuses for its content: its size, or a file of a kind that it does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefused {
    /// `stub`: its reader gets a [`stub`](crate::stub) in its place.
    Stub,
    /// `notice`: the operator is told.
    Notice,
}

/// What becomes of the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyBody {
    /// `keep`: it stays byte for byte, with what it quotes.
    Keep,
    /// `clean`: the alias takes the place of the owner's address in text and HTML, unless that is signed or
    /// encrypted.
    Clean,
}

impl EmailSettings {
    /// Reads them; `environment` is `|name| std::env::var(name).ok()` outside of tests.
    ///
    /// ```
    /// use ses_forwarder::settings::EmailSettings;
    ///
    /// let given = |name: &str| match name {
    ///     "BUCKET" => Some("mail.in.example".to_owned()),
    ///     "EMAIL_DOMAIN" => Some("in.example".to_owned()),
    ///     "ON_SPAM" => Some("maybe".to_owned()),
    ///     _ => None,
    /// };
    /// let error = EmailSettings::read(given).unwrap_err().to_string();
    /// assert!(error.contains("ON_SPAM") && error.contains("maybe") && error.contains("drop"), "{error}");
    /// ```
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Result<EmailSettings, SettingsError> {
        let stack = environment(names::STACK_NAME).filter(|name| !name.is_empty());
        let mut lookup = Lookup::new(environment);
        let common = Common::read(&mut lookup);
        let destination_domain = lookup.optional(names::DESTINATION_DOMAIN, DOMAIN, domain);
        if let (Some(common), Some(destination)) = (&common, &destination_domain)
            && common.domains.contains(destination)
        {
            lookup.problem(
                names::DESTINATION_DOMAIN,
                destination,
                "a domain that is not in EMAIL_DOMAIN, or mail would go in circles",
            );
        }
        let routes_key = lookup.or_default(names::ROUTES_KEY, "config/routes.toml", KEY, object_key);
        let policy = Policy {
            spam: lookup.or_default(names::ON_SPAM, "drop", ACTION, action),
            virus: lookup.or_default(names::ON_VIRUS, "drop", ACTION, action),
            dmarc_reject: lookup.or_default(names::ON_DMARC_REJECT, "drop", ACTION, action),
            dmarc_fail: lookup.or_default(names::ON_DMARC_FAIL, "tag", ACTION, action),
            unauthenticated: lookup.or_default(names::ON_UNAUTHENTICATED, "tag", ACTION, action),
            spf_fail: lookup.or_default(names::ON_SPF_FAIL, "forward", ACTION, action),
            dkim_fail: lookup.or_default(names::ON_DKIM_FAIL, "forward", ACTION, action),
        };
        let subject_prefix =
            lookup.optional(names::SUBJECT_PREFIX, SUBJECT, subject_prefix).unwrap_or_default();
        let hide_destinations = lookup.or_default(names::HIDE_DESTINATIONS, "false", FLAG, flag);
        let on_refused = lookup.or_default(names::ON_REFUSED, "stub", REFUSED, on_refused);
        let replies = lookup.or_default(names::REPLIES, "off", SWITCH, switch);
        let reply_body = lookup.or_default(names::REPLY_BODY, "keep", REPLY_BODY, reply_body);
        let configuration_set = lookup.optional(names::CONFIGURATION_SET, SES_NAME, ses_name);
        let tenant = lookup.optional(names::TENANT, SES_NAME, ses_name);
        lookup.finish()?;
        let common = common.expect("finish reports what is missing");
        Ok(EmailSettings {
            common,
            destination_domain,
            routes_key,
            policy,
            subject_prefix,
            hide_destinations,
            on_refused,
            replies,
            reply_body,
            configuration_set,
            tenant,
            stack,
        })
    }
}

impl Common {
    /// Reads them; `None` if a required one is missing or malformed, which the lookup then knows.
    pub fn read<F: Fn(&str) -> Option<String>>(lookup: &mut Lookup<F>) -> Option<Common> {
        let bucket = lookup.required(names::BUCKET, BUCKET, bucket);
        let domains = lookup.required(names::EMAIL_DOMAIN, DOMAINS, Domains::parse);
        let prefixes = Prefixes {
            messages: lookup.or_default(names::MESSAGES_PREFIX, "messages/", PREFIX, prefix),
            index: lookup.or_default(names::INDEX_PREFIX, "index/", PREFIX, prefix),
            outcome: lookup.or_default(names::OUTCOME_PREFIX, "outcome/", PREFIX, prefix),
            error: lookup.or_default(names::ERROR_PREFIX, "error/", PREFIX, prefix),
        };
        if prefixes.index == prefixes.outcome {
            lookup.problem(
                names::OUTCOME_PREFIX,
                &prefixes.outcome,
                "a prefix other than INDEX_PREFIX, or outcomes would overwrite notifications",
            );
        }
        Some(Common { bucket: bucket?, domains: domains?, prefixes })
    }
}

/// Reads variables and collects what is wrong with them.
pub struct Lookup<F> {
    environment: F,
    problems: Vec<String>,
}

impl<F> fmt::Debug for Lookup<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl<F: Fn(&str) -> Option<String>> Lookup<F> {
    /// Reads from `environment`, which maps a name to its value.
    pub fn new(environment: F) -> Self {
        Lookup { environment, problems: Vec::new() }
    }

    /// A variable that must be there. `allowed` completes "… is not …"; `None` was reported.
    pub fn required<T>(
        &mut self,
        name: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.value(name) else {
            self.problems.push(format!("{name} is not set; it must be {allowed}"));
            return None;
        };
        self.parsed(name, &value, allowed, parse)
    }

    /// A variable that may be absent. A malformed one is reported and reads as `None`.
    pub fn optional<T>(
        &mut self,
        name: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        self.parsed(name, &value, allowed, parse)
    }

    /// A variable with a default. A malformed one is reported and reads as the default.
    pub fn or_default<T>(
        &mut self,
        name: &str,
        default: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.optional(name, allowed, &parse).unwrap_or_else(|| parse(default).expect("a default is allowed"))
    }

    /// Reports a value that is wrong beside others.
    pub fn problem(&mut self, name: &str, value: &str, allowed: &str) {
        self.problems.push(format!("{name} is {value:?}; it must be {allowed}"));
    }

    /// Reports what no single variable is to blame for, in a sentence without a full stop.
    pub fn complain(&mut self, sentence: impl Into<String>) {
        self.problems.push(sentence.into());
    }

    /// Everything that is wrong, if anything is: then whatever `required` gave is `Some`.
    pub fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError(self.problems)) }
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        value: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(value);
        if parsed.is_none() {
            self.problem(name, value, allowed);
        }
        parsed
    }
}

const BUCKET: &str = "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens";
const DOMAIN: &str = "a domain such as example.com";
const DOMAINS: &str = "a domain such as example.com, or several with commas between them";
const PREFIX: &str = "a key prefix that ends in a slash, such as mail/messages/, and does not begin with one";
const KEY: &str = "an S3 key such as config/routes.toml, without a slash at its beginning or end";
const ACTION: &str = "forward, tag or drop";
const REFUSED: &str = "stub or notice";
const FLAG: &str = "true or false";
const SWITCH: &str = "on or off";
const REPLY_BODY: &str = "keep or clean";
const SUBJECT: &str = "at most 64 characters of text without line breaks";
const SES_NAME: &str =
    "the name of a configuration set or tenant: 1 to 64 letters, digits, hyphens and underscores";

fn bucket(value: &str) -> Option<String> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    ((3..=63).contains(&value.len()) && value.bytes().all(allowed)).then(|| value.to_owned())
}

fn prefix(value: &str) -> Option<String> {
    (is_key(value) && value.ends_with('/')).then(|| value.to_owned())
}

fn object_key(value: &str) -> Option<String> {
    (is_key(value) && !value.ends_with('/')).then(|| value.to_owned())
}

fn is_key(value: &str) -> bool {
    value.len() <= MAX_KEY_BYTES && !value.starts_with('/') && !value.contains(char::is_control)
}

/// In any case: SES writes its own words in capitals.
fn action(value: &str) -> Option<Action> {
    let actions = [("forward", Action::Forward), ("tag", Action::Tag), ("drop", Action::Drop)];
    actions.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, action)| action)
}

fn on_refused(value: &str) -> Option<OnRefused> {
    let words = [("stub", OnRefused::Stub), ("notice", OnRefused::Notice)];
    words.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, what)| what)
}

fn flag(value: &str) -> Option<bool> {
    value.parse().ok()
}

fn switch(value: &str) -> Option<bool> {
    [("on", true), ("off", false)]
        .into_iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value))
        .map(|(_, on)| on)
}

fn reply_body(value: &str) -> Option<ReplyBody> {
    let words = [("keep", ReplyBody::Keep), ("clean", ReplyBody::Clean)];
    words.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, body)| body)
}

fn subject_prefix(value: &str) -> Option<String> {
    (value.chars().count() <= MAX_SUBJECT_PREFIX && !value.contains(char::is_control))
        .then(|| value.to_owned())
}

/// The name of a configuration set, or of a tenant.
fn ses_name(value: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (value.len() <= 64 && value.bytes().all(allowed)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<EmailSettings, SettingsError> {
        EmailSettings::read(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn expected() -> EmailSettings {
        EmailSettings {
            common: Common {
                bucket: "mail".to_owned(),
                domains: Domains::parse("in.example").unwrap(),
                prefixes: Prefixes {
                    messages: "messages/".to_owned(),
                    index: "index/".to_owned(),
                    outcome: "outcome/".to_owned(),
                    error: "error/".to_owned(),
                },
            },
            destination_domain: Some("out.example".to_owned()),
            routes_key: "config/routes.toml".to_owned(),
            policy: Policy {
                spam: Action::Drop,
                virus: Action::Drop,
                dmarc_reject: Action::Drop,
                dmarc_fail: Action::Tag,
                unauthenticated: Action::Tag,
                spf_fail: Action::Forward,
                dkim_fail: Action::Forward,
            },
            subject_prefix: String::new(),
            hide_destinations: false,
            on_refused: OnRefused::Stub,
            replies: false,
            reply_body: ReplyBody::Keep,
            configuration_set: None,
            tenant: None,
            stack: None,
        }
    }

    const REQUIRED: [(&str, &str); 3] =
        [("BUCKET", "mail"), ("EMAIL_DOMAIN", "in.example"), ("DESTINATION_DOMAIN", "out.example")];

    #[test]
    fn ok_defaults() {
        assert_eq!(read(&REQUIRED), Ok(expected()));
    }

    #[test]
    fn ok_an_empty_variable_is_an_absent_one() {
        let mut variables = REQUIRED.to_vec();
        variables.extend([("SUBJECT_PREFIX", ""), ("ON_SPAM", ""), ("CONFIGURATION_SET", "")]);
        assert_eq!(read(&variables), Ok(expected()));
    }

    #[test]
    fn ok_everything_set() {
        let mut variables = REQUIRED.to_vec();
        variables[1].1 = "Bücher.Example, b.example";
        variables.extend([
            ("MESSAGES_PREFIX", "in/"),
            ("INDEX_PREFIX", "a/index/"),
            ("OUTCOME_PREFIX", "a/outcome/"),
            ("ERROR_PREFIX", "e/"),
            ("ROUTES_KEY", "routes.toml"),
            ("ON_SPAM", "tag"),
            ("ON_VIRUS", "FORWARD"),
            ("ON_DMARC_REJECT", "tag"),
            ("ON_DMARC_FAIL", "Drop"),
            ("ON_UNAUTHENTICATED", "drop"),
            ("ON_SPF_FAIL", "tag"),
            ("ON_DKIM_FAIL", "drop"),
            ("SUBJECT_PREFIX", "[Firma ü] "),
            ("HIDE_DESTINATIONS", "true"),
            ("ON_REFUSED", "Notice"),
            ("CONFIGURATION_SET", "set-1"),
            ("TENANT", "tenant-1"),
        ]);
        let mut all = expected();
        all.common.domains = Domains::parse("xn--bcher-kva.example,b.example").unwrap();
        all.common.prefixes = Prefixes {
            messages: "in/".to_owned(),
            index: "a/index/".to_owned(),
            outcome: "a/outcome/".to_owned(),
            error: "e/".to_owned(),
        };
        all.routes_key = "routes.toml".to_owned();
        all.policy = Policy {
            spam: Action::Tag,
            virus: Action::Forward,
            dmarc_reject: Action::Tag,
            dmarc_fail: Action::Drop,
            unauthenticated: Action::Drop,
            spf_fail: Action::Tag,
            dkim_fail: Action::Drop,
        };
        all.subject_prefix = "[Firma ü] ".to_owned();
        all.hide_destinations = true;
        all.on_refused = OnRefused::Notice;
        all.configuration_set = Some("set-1".to_owned());
        all.tenant = Some("tenant-1".to_owned());
        assert_eq!(read(&variables), Ok(all));
    }

    #[test]
    fn err_everything_wrong_is_told_at_once() {
        let error = read(&[("EMAIL_DOMAIN", "in example"), ("ON_SPAM", "delete"), ("INDEX_PREFIX", "index")]);
        let sentences = [
            "BUCKET is not set; it must be the name of a bucket: 3 to 63 lower-case letters, digits, dots \
             and hyphens",
            "EMAIL_DOMAIN is \"in example\"; it must be a domain such as example.com, or several with \
             commas between them",
            "INDEX_PREFIX is \"index\"; it must be a key prefix that ends in a slash, such as \
             mail/messages/, and does not begin with one",
            "ON_SPAM is \"delete\"; it must be forward, tag or drop",
        ];
        assert_eq!(error, Err(SettingsError(sentences.map(str::to_owned).to_vec())));
        assert_eq!(error.unwrap_err().to_string(), sentences.join("; "));
    }

    #[test]
    fn err_one_variable_wrong() {
        let cases = [
            ("BUCKET", "My_Bucket"),
            ("BUCKET", "ab"),
            ("EMAIL_DOMAIN", "localhost"),
            ("EMAIL_DOMAIN", "in.example,"),
            ("EMAIL_DOMAIN", "in.example."),
            ("EMAIL_DOMAIN", "-in.example"),
            ("EMAIL_DOMAIN", "user@in.example"),
            ("DESTINATION_DOMAIN", "out..example"),
            ("DESTINATION_DOMAIN", "IN.example"),
            ("MESSAGES_PREFIX", "/messages/"),
            ("OUTCOME_PREFIX", "index/"),
            ("ERROR_PREFIX", "err\nor/"),
            ("ROUTES_KEY", "config/"),
            ("ON_VIRUS", "delete"),
            ("ON_DMARC_REJECT", "reject"),
            ("ON_UNAUTHENTICATED", "yes"),
            ("ON_SPF_FAIL", "bounce"),
            ("SUBJECT_PREFIX", "a\r\nBcc: x@y.example"),
            ("HIDE_DESTINATIONS", "yes"),
            ("ON_REFUSED", "drop"),
            ("CONFIGURATION_SET", "two words"),
            ("TENANT", "two words"),
        ];
        for (name, value) in cases {
            let mut variables = vec![(name, value)];
            variables.extend(REQUIRED);
            let SettingsError(problems) =
                read(&variables).expect_err(&format!("{name}={value:?} must be refused"));
            assert_eq!(problems.len(), 1, "{name}={value:?}: {problems:?}");
            assert!(problems[0].starts_with(&format!("{name} is ")), "{problems:?}");
        }
    }
}

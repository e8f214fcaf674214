//! Why a message was not forwarded, in words for the person who has to do something about it.
//!
//! Lambda hands a dead-letter queue the error's message only, not its type, so a cause is also
//! recognised by what the message says. A cause that is not in the table is shown as it was
//! reported: a wrong explanation would be worse than none.
//!
//! SES errors: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>;
//! Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>.

use ses_forwarder::outcome::{Failure, OUT_OF_TIME};

/// What failed, and what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// One plain sentence.
    pub what: &'static str,
    /// What to do about it, as one or two sentences.
    pub remedy: &'static str,
}

/// What the queue does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// The same message fails the same way again: it is told at once and not tried again.
    Final,
    /// It passes once a person has changed something: it is told at once, and tried until then.
    Configuration,
    /// It passes by itself: it is tried, and told only if that takes long.
    Transient,
    /// The same for whatever message is sent now: one try shows it for all.
    Outage,
    /// It passes within seconds, if less is sent.
    Throttled,
}

/// The cause of a failure.
pub fn of(failure: &Failure) -> Cause {
    row_of(failure).map_or(UNKNOWN, |row| row.cause)
}

/// What the queue does about a failure. What nobody has foreseen may pass.
pub fn nature(failure: &Failure) -> Nature {
    row_of(failure).map_or(Nature::Transient, |row| row.nature)
}

/// Whether SES may have accepted the message although the try failed: its answer never came, or the
/// function ended at a time that nobody knows.
pub fn may_have_been_sent(failure: &Failure) -> bool {
    let unanswered = ["Timeout", "ConnectionFailure", "UnreadableResponse"];
    let ended = ["Sandbox.Timedout", "TaskTimedOut", "Runtime.ExitError", "Sandbox.Failure"];
    let code = failure.code.as_str();
    let sending = ["SendEmail", "Invoke"].iter().any(|step| failure.message.contains(step));
    ended.contains(&code) || (unanswered.contains(&code) && sending)
}

fn row_of(failure: &Failure) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| row.codes.contains(&failure.code.as_str()) && row.says(&failure.message))
        .or_else(|| named_in(&failure.message).map(|(row, _)| row))
}

/// The error name in an error's message, such as `SendingPausedException`, where only the message
/// is known; `None` if the table has no row for it.
pub fn code_in(message: &str) -> Option<&'static str> {
    named_in(message).map(|(_, code)| code)
}

/// The row whose name stands first in the message, else the first row that the message suits
/// without naming it.
fn named_in(message: &str) -> Option<(&'static Row, &'static str)> {
    let named = TABLE.iter().filter(|row| row.says(message)).flat_map(|row| {
        row.codes.iter().filter_map(move |code| Some((word_at(message, code)?, (row, *code))))
    });
    named
        .min_by_key(|(at, _)| *at)
        .map(|(_, found)| found)
        .or_else(|| TABLE.iter().find(|row| contains_any(message, row.marks)).map(|row| (row, row.codes[0])))
}

/// One line of the table: the first that matches wins.
struct Row {
    /// Names of the error.
    codes: &'static [&'static str],
    /// What its message says, if the name alone does not tell; lower case, any of them.
    says: &'static [&'static str],
    /// What Lambda itself says where there is no name; lower case, any of them.
    marks: &'static [&'static str],
    nature: Nature,
    cause: Cause,
}

/// A row for any message that comes under one of these names.
const fn row(
    codes: &'static [&'static str],
    nature: Nature,
    what: &'static str,
    remedy: &'static str,
) -> Row {
    Row { codes, says: &[], marks: &[], nature, cause: Cause { what, remedy } }
}

impl Row {
    const fn if_it_says(mut self, says: &'static [&'static str]) -> Self {
        self.says = says;
        self
    }

    const fn or_marked_by(mut self, marks: &'static [&'static str]) -> Self {
        self.marks = marks;
        self
    }

    fn says(&self, message: &str) -> bool {
        self.says.is_empty() || contains_any(message, self.says)
    }
}

const UNKNOWN: Cause = Cause {
    what: "Forwarding failed with an error that this notice has no explanation for.",
    remedy: "The error below and the function's log say more.",
};

const TOO_LARGE: Cause = Cause {
    what: "The message is larger than SES sends.",
    remedy: "It can't be forwarded: download it from the address below. SES counts its base64 form, which is a \
             third larger.",
};
const TOO_LARGE_MARKS: &[&str] = &["message length is more than", "message too long"];

const TABLE: &[Row] = &[
    row(
        &["Bounce"],
        Nature::Final,
        "A destination refused a message that was forwarded to it; this is its report.",
        "Read the report at the address below; if the destination is gone, change the routes.",
    ),
    row(
        &["SettingsError"],
        Nature::Configuration,
        "The function's settings are wrong, so it did not start.",
        "Correct the setting that the error names and deploy the stack again.",
    ),
    row(
        &["InvalidRoutes"],
        Nature::Configuration,
        "The routes file has an error, so nobody knows where the message should go.",
        "Correct it (ses-forwarder routes check FILE shows every error) and upload it again.",
    ),
    row(
        &["InvalidReplyKeys"],
        Nature::Configuration,
        "The file of reply keys has an error, so mail would go out under an address that can't be answered.",
        "Put the file back as it was; if it is lost, delete it: new keys are made, and answers to earlier mail then \
         come to the alias.",
    ),
    row(
        &["AnswersOverLimit"],
        Nature::Transient,
        "More answers went out from an alias in an hour than [replies] per-hour allows.",
        "If you have not written them, somebody else may read your mailbox: set enabled = false under [replies] in the \
         routes file. Else raise per-hour, or wait for the next hour.",
    ),
    row(
        &["NoRoutes"],
        Nature::Configuration,
        "There is neither a routes file nor a destination domain, so nobody knows where the message should go.",
        "Upload a routes file, or set the stack's parameter DestinationDomain.",
    ),
    row(
        &["InvalidOutcome"],
        Nature::Configuration,
        "The record of what became of the message can't be read, so it may have been sent or not.",
        "If it did not arrive, delete the outcome at the address below.",
    ),
    row(
        &["UnreadableNotification"],
        Nature::Final,
        "SES's notification lacks what is needed to find the message or to tell whom it is for.",
        "Look for the message among the stored ones by its time.",
    ),
    row(
        &["SendingPausedException"],
        Nature::Outage,
        "Sending is paused for the SES tenant of this stack.",
        "Find out why, and let it send again: SES console, Tenant management, the tenant's reputation.",
    )
    .if_it_says(&["tenant"]),
    row(
        &["SendingPausedException"],
        Nature::Outage,
        "Sending is paused for this SES account or its configuration set.",
        "Find out why (SES console, Account dashboard) and enable it again: aws sesv2 put-account-sending-attributes \
         --sending-enabled.",
    )
    .or_marked_by(&["sending paused", "sending is paused", "sending is disabled"]),
    row(
        &["AccountSuspendedException"],
        Nature::Configuration,
        "AWS has shut down sending for this SES account.",
        "Only AWS can lift that: answer the case in the AWS Support Center.",
    ),
    row(
        &["MailFromDomainNotVerifiedException"],
        Nature::Configuration,
        "The custom MAIL FROM domain of the sending identity is not verified.",
        "Put its MX and TXT records into the DNS again (SES console, Identities), or remove the custom MAIL FROM \
         domain.",
    ),
    row(
        &["MessageRejected", "MessageRejectedException"],
        Nature::Configuration,
        "SES does not know the sender's domain as verified, or the account is in the SES sandbox and a destination is \
         not verified.",
        "Verify the identities that the error names (SES console, Identities); a sandboxed account needs production \
         access.",
    )
    .if_it_says(&["not verified"])
    .or_marked_by(&["address is not verified", "identities failed the check"]),
    // SES calls it by the names that it has for any refusal.
    row(
        &["BadRequestException", "MessageRejected", "InvalidParameterValue"],
        Nature::Final,
        TOO_LARGE.what,
        TOO_LARGE.remedy,
    )
    .if_it_says(TOO_LARGE_MARKS),
    row(
        &["MessageTooLarge", "MessageTooLong", "TooLarge"],
        Nature::Final,
        TOO_LARGE.what,
        TOO_LARGE.remedy,
    )
    .or_marked_by(TOO_LARGE_MARKS),
    row(
        &["MessageRejected", "MessageRejectedException"],
        Nature::Final,
        "SES refused the content of the message.",
        "Read the stored message at the address below, with care if the error speaks of a virus.",
    ),
    row(
        &["LimitExceededException", "TooManyRequestsException", "Throttling", "ThrottlingException"],
        Nature::Outage,
        "The account's SES quota for 24 hours is used up.",
        "It frees up hour by hour; a higher one can be requested (Service Quotas console).",
    )
    .if_it_says(&["quota"])
    .or_marked_by(&["daily message quota", "daily sending quota"]),
    row(
        &["LimitExceededException"],
        Nature::Outage,
        "A quota of the SES account is used up.",
        "It frees up by itself; a higher one can be requested (Service Quotas console).",
    ),
    row(
        &["TooManyRequestsException", "Throttling", "ThrottlingException", "SlowDown", "RequestLimitExceeded"],
        Nature::Throttled,
        "More was sent at once than the account may send a second.",
        "If it happens often, request a higher sending rate (Service Quotas console).",
    )
    .or_marked_by(&["maximum sending rate exceeded", "rate exceeded"]),
    row(
        &["BadRequestException", "NotFoundException"],
        Nature::Configuration,
        "The SES tenant of this stack does not exist, or an identity or configuration set is not given to it.",
        "Deploy the stack again; ses-forwarder doctor names what the tenant lacks, and the command that gives it.",
    )
    .if_it_says(&["tenant"]),
    row(
        &["BadRequestException"],
        Nature::Final,
        "SES found the rewritten message malformed.",
        "Read the stored message at the address below; the error says what SES stumbled over.",
    ),
    row(
        &["NotFoundException"],
        Nature::Configuration,
        "The SES configuration set does not exist.",
        "Create it, or correct the stack's parameter ConfigurationSet.",
    )
    .or_marked_by(&["configuration set"]),
    row(
        &["MessageNotFound", "NoSuchKey"],
        Nature::Configuration,
        "The stored message is not in the bucket.",
        "Check that the receipt rule stores it under the prefix that the function reads; if its retention is over, it \
         is gone.",
    )
    .or_marked_by(&["specified key does not exist"]),
    row(
        &["NoSuchBucket"],
        Nature::Configuration,
        "The bucket does not exist.",
        "Create it again or correct the stack's parameter ExistingBucket.",
    )
    .or_marked_by(&["specified bucket does not exist"]),
    row(
        &["AccessDenied", "AccessDeniedException"],
        Nature::Configuration,
        "The function's role does not allow a call that it made.",
        "Deploy the stack again; if it still fails, look for a bucket policy, key policy or service control policy \
         that forbids the call.",
    )
    .or_marked_by(&["not authorized to perform", "access denied"]),
    row(
        &["EventAgeExceeded"],
        Nature::Transient,
        "Lambda could not run the function in time: all its instances were busy or the account's concurrency was used \
         up.",
        "If it happens often, raise the account's concurrency (Service Quotas console).",
    ),
    row(
        &[OUT_OF_TIME],
        Nature::Transient,
        "One try had not enough time for all destinations of the message.",
        "The next one goes on where it ended. For many large messages raise the function's MemorySize in template.yaml, \
         which gives it more of a processor.",
    ),
    row(
        &["Sandbox.Timedout", "TaskTimedOut"],
        Nature::Transient,
        "Forwarding took longer than the function's time-out.",
        "A large message may need a longer Timeout and a larger MemorySize in template.yaml.",
    )
    .or_marked_by(&["task timed out"]),
    row(
        &["Runtime.ExitError", "Runtime.OutOfMemory", "OutOfMemory", "Sandbox.Failure"],
        Nature::Transient,
        "The function was stopped while it worked, most likely for lack of memory.",
        "Raise its MemorySize in template.yaml and deploy.",
    )
    .or_marked_by(&["runtime exited", "signal: killed"]),
    row(
        &[
            "Timeout",
            "ConnectionFailure",
            "NotConnected",
            "UnreadableResponse",
            "BodyTruncated",
            "BodyInterrupted",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "InternalServerError",
            "InternalFailure",
            "InternalError",
            "RequestTimeout",
        ],
        Nature::Transient,
        "An AWS service did not answer, or answered with an error of its own, each time it was tried.",
        "https://health.aws.amazon.com tells of disturbances.",
    )
    .or_marked_by(&["connection reset", "service unavailable"]),
];

fn contains_any(message: &str, marks: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    marks.iter().any(|mark| message.contains(mark))
}

/// Where `word` stands in `text` on its own: `MessageRejected` is not in `NotMessageRejected`.
fn word_at(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beginning of the sentence expected for what Lambda or a service says.
    #[test]
    fn causes() {
        let cases = [
            (
                "",
                "id: SendEmail failed: SendingPausedException: Email sending is paused.",
                "Sending is paused",
            ),
            ("SendingPausedException", "", "Sending is paused"),
            ("AccountSuspendedException", "x", "AWS has shut down"),
            ("MailFromDomainNotVerifiedException", "x", "The custom MAIL FROM"),
            (
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in region US-EAST-1: a@in.example",
                "SES does not know the sender's domain",
            ),
            ("MessageRejected", "Email contains a virus", "SES refused the content"),
            (
                "",
                "id: SendEmail failed: MessageRejected: Transaction failed: illegal filename",
                "SES refused the content",
            ),
            ("MessageTooLarge", "", "The message is larger"),
            (
                "MessageRejected",
                "Message length is more than 41943040 bytes long: '50'.",
                "The message is larger",
            ),
            (
                "BadRequestException",
                "Message length is more than 41943040 bytes long: '50'.",
                "The message is larger",
            ),
            (
                "InvalidParameterValue",
                "Message length is more than 41943040 bytes long: '50'.",
                "The message is larger",
            ),
            (
                "",
                "id: SendEmail failed: BadRequestException: Message length is more than 9",
                "The message is larger",
            ),
            (
                "LimitExceededException",
                "Daily message quota exceeded.",
                "The account's SES quota for 24 hours",
            ),
            (
                "TooManyRequestsException",
                "Daily message quota exceeded.",
                "The account's SES quota for 24 hours",
            ),
            ("LimitExceededException", "", "A quota of the SES account"),
            ("TooManyRequestsException", "Maximum sending rate exceeded.", "More was sent at once"),
            (
                "BadRequestException",
                "Duplicate header 'DKIM-Signature'.",
                "SES found the rewritten message malformed",
            ),
            ("NotFoundException", "Configuration set <x> does not exist.", "The SES configuration set"),
            ("NotFoundException", "Tenant <x> does not exist.", "The SES tenant of this stack"),
            (
                "BadRequestException",
                "Resource arn:aws:ses:us-east-1:1:identity/x is not associated with tenant s.",
                "The SES tenant of this stack",
            ),
            (
                "SendingPausedException",
                "Sending is paused for tenant s.",
                "Sending is paused for the SES tenant",
            ),
            ("MessageNotFound", "", "The stored message is not in the bucket"),
            ("", "The specified key does not exist.", "The stored message is not in the bucket"),
            ("NoSuchBucket", "", "The bucket does not exist"),
            (
                "",
                "id: GetObject s3://mail/messages/id failed: AccessDenied: User: arn:aws:sts::1:assumed-role/r is not \
                 authorized to perform: s3:GetObject",
                "The function's role does not allow",
            ),
            ("EventAgeExceeded", "", "Lambda could not run the function in time"),
            ("OutOfTime", "", "One try had not enough time"),
            (
                "",
                "2026-01-02T03:04:05.678Z 5a7c Task timed out after 60.00 seconds",
                "Forwarding took longer",
            ),
            (
                "",
                "RequestId: 5a7c Error: Runtime exited with error: signal: killed",
                "The function was stopped",
            ),
            ("Runtime.ExitError", "", "The function was stopped"),
            ("SettingsError", "EMAIL_DOMAIN is not set", "The function's settings are wrong"),
            (
                "",
                "InvalidRoutes: message id: s3://mail/config/routes.toml: line 3, column 1: …",
                "The routes file has an error",
            ),
            ("NoRoutes", "", "There is neither a routes file"),
            ("InvalidOutcome", "", "The record of what became"),
            ("UnreadableNotification", "", "SES's notification lacks"),
            ("Bounce", "", "A destination refused"),
            ("Timeout", "no answer in time", "An AWS service did not answer"),
            ("ServiceUnavailable", "", "An AWS service did not answer"),
            ("", "HTTP 503", "Forwarding failed with an error"),
            ("Unheard", "NotMessageRejected or MessageRejected2", "Forwarding failed with an error"),
        ];
        for (code, message, expected) in cases {
            let cause = of(&Failure { code: code.to_owned(), message: message.to_owned() });
            assert!(cause.what.starts_with(expected), "{code:?} {message:?}: {}", cause.what);
        }
    }

    #[test]
    fn natures() {
        use Nature::{Configuration, Final, Outage, Throttled, Transient};
        let cases = [
            ("BadRequestException", "… is not associated with tenant s.", Configuration),
            ("MessageRejected", "Email contains a virus", Final),
            (
                "MessageRejected",
                "Email address is not verified. The following identities failed",
                Configuration,
            ),
            ("BadRequestException", "Duplicate header 'Date'.", Final),
            ("MessageTooLarge", "", Final),
            ("UnreadableNotification", "", Final),
            ("AccessDeniedException", "", Configuration),
            ("AccountSuspendedException", "", Configuration),
            ("MailFromDomainNotVerifiedException", "", Configuration),
            ("NotFoundException", "Configuration set <x> does not exist.", Configuration),
            ("InvalidRoutes", "", Configuration),
            ("InvalidReplyKeys", "", Configuration),
            ("AnswersOverLimit", "", Transient),
            ("SettingsError", "", Configuration),
            ("SendingPausedException", "", Outage),
            ("LimitExceededException", "Daily message quota exceeded.", Outage),
            ("TooManyRequestsException", "Daily message quota exceeded.", Outage),
            ("TooManyRequestsException", "Maximum sending rate exceeded.", Throttled),
            ("Timeout", "no answer in time", Transient),
            ("Runtime.ExitError", "", Transient),
            ("HTTP 503", "", Transient),
            ("NobodyKnowsThisException", "", Transient),
        ];
        for (code, message, expected) in cases {
            let failure = Failure { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(nature(&failure), expected, "{code} {message}");
        }
    }

    #[test]
    fn what_may_have_been_sent() {
        let cases = [
            ("Timeout", "message x: SendEmail failed: Timeout: no answer in time", true),
            ("ConnectionFailure", "message x: SendEmail failed: ConnectionFailure: connection reset", true),
            ("NotConnected", "message x: SendEmail failed: NotConnected: connection refused", false),
            ("Timeout", "Invoke failed: Timeout: the function gave no answer in time", true),
            ("Timeout", "message x: GetObject s3://b/k failed: Timeout: no answer in time", false),
            (
                "TooManyRequestsException",
                "message x: SendEmail failed: TooManyRequestsException: slow",
                false,
            ),
            ("Runtime.ExitError", "RequestId: r Error: Runtime exited with error: signal: killed", true),
            ("Sandbox.Timedout", "RequestId: r Error: Task timed out after 60.00 seconds", true),
        ];
        for (code, message, expected) in cases {
            let failure = Failure { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(may_have_been_sent(&failure), expected, "{code} {message}");
        }
    }

    #[test]
    fn names_in_messages() {
        let cases = [
            ("id: SendEmail failed: MessageRejected: AccessDenied by policy", Some("MessageRejected")),
            ("Task timed out after 3.00 seconds", Some("Sandbox.Timedout")),
            ("something else", None),
        ];
        for (message, expected) in cases {
            assert_eq!(code_in(message), expected, "{message}");
        }
    }

    #[test]
    fn a_row_says_what_to_do_in_sentences() {
        for row in TABLE {
            assert!(!row.codes.is_empty());
            for sentence in [row.cause.what, row.cause.remedy] {
                assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
            }
        }
    }
}

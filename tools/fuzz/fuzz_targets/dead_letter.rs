//! Whatever stands on the queue is read, told in a notice whose lines are its own, and leaves as a
//! message with no field but the notice's.

#![no_main]

use std::time::SystemTime;

use aws_lambda_events::event::sqs::SqsMessage;
use handle_dead_letter::{
    channel::{Mail, publication},
    letter::Letter,
    notice::{Failed, Item, Place, compose},
};
use libfuzzer_sys::fuzz_target;
use mail_parser::MessageParser;
use ses_forwarder::keys::Prefixes;
use time::OffsetDateTime;

const FIELDS: [&str; 9] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Forwarder-Notice",
    "MIME-Version",
    "Content-Type",
];

// The first line is the error's message, the rest the body of the queue message.
fuzz_target!(|data: &str| {
    let (error, body) = data.split_once('\n').unwrap_or(("", data));
    let message = serde_json::json!({
        "messageId": "queue-id",
        "body": body,
        "messageAttributes": { "ErrorMessage": { "stringValue": error, "dataType": "String" } },
    });
    let message: SqsMessage = serde_json::from_value(message).expect("a message of a queue");
    let letter = Letter::read(&message, SystemTime::UNIX_EPOCH);
    assert!(!letter.messages.is_empty() || letter.unreadable.is_some());
    let name = letter.name().expect("the queue's id is one");
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));

    let mut items: Vec<Item> = letter
        .messages
        .iter()
        .map(|message| {
            Item::Failed(Failed {
                notification: message.notification.clone(),
                received: message.notification.timestamp.unwrap_or(OffsetDateTime::UNIX_EPOCH),
                failure: letter.failure.clone(),
                sent_to: message.notification.recipients.clone(),
                function: letter.function.clone(),
                tries: 0,
                doubt: letter.unreadable.clone(),
            })
        })
        .collect();
    let why = letter.unreadable.clone().unwrap_or_default();
    let failure = letter.failure.clone();
    items.push(Item::Unreadable { name: name.to_owned(), why, failure, body: body.to_owned() });

    let notice = compose(&items.iter().collect::<Vec<_>>(), &place());
    assert!(!notice.subject.contains(char::is_control));
    assert!(!notice.text.chars().any(|c| c.is_control() && c != '\n'));
    let mail = Mail {
        email_domain: "in.example",
        to: "admin@out.example",
        stack: "forwarder",
        id: "q",
        now: OffsetDateTime::UNIX_EPOCH,
    };
    let mail = mail.write(&notice);
    assert!(mail.split(|byte| *byte == b'\n').all(|line| line.len() <= 999 && line.is_ascii()));
    let parsed = MessageParser::new().parse(&mail).expect("a notice is a message");
    assert!(parsed.headers().iter().map(mail_parser::Header::name).eq(FIELDS));
    let (subject, text) = publication(&notice);
    assert!(subject.len() <= 100 && subject.is_ascii() && text.len() <= 256 * 1024);
});

fn place() -> Place {
    Place {
        stack: "forwarder".to_owned(),
        region: "eu-west-1".to_owned(),
        bucket: "mail".to_owned(),
        prefixes: Prefixes {
            messages: "messages/".to_owned(),
            index: "index/".to_owned(),
            outcome: "outcome/".to_owned(),
            error: "error/".to_owned(),
        },
        handle_email: "forwarder-handle-email".to_owned(),
    }
}

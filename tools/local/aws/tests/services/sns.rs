use aws_sdk_sns::error::ProvideErrorMetadata;
use ses_forwarder_local_aws::journal::Event;

use crate::bench::{Bench, Key, MESSAGE_ID, OPERATOR, TOPIC};

#[tokio::test]
async fn a_notice_comes_to_the_journal() {
    let bench = Bench::start().await;
    let function = bench.function();
    let sns = bench.sns(Key::from(&function));
    let text = "Could not forward <1> & \"2\"\nbye";
    let published = sns.publish().topic_arn(TOPIC).subject("A notice").message(text).send().await.unwrap();
    assert!(published.message_id().is_some());
    let journal = bench.journal.of(MESSAGE_ID);
    assert!(
        matches!(&journal[0].event, Event::Published { topic, subject, text: published }
            if topic == TOPIC && subject == "A notice" && published == text),
        "{journal:?}"
    );
}

#[tokio::test]
async fn refusals() {
    let bench = Bench::start().await;
    let function = bench.function();
    let (operator, function) = (bench.sns(OPERATOR), bench.sns(Key::from(&function)));
    let other = "arn:aws:sns:us-east-1:123456789012:other";
    let cases = [
        (&operator, other, "A notice", "NotFound"),
        (&function, other, "A notice", "AuthorizationError"),
        (&operator, TOPIC, "two\nlines", "InvalidParameter"),
    ];
    for (sns, topic, subject, code) in cases {
        let error = sns.publish().topic_arn(topic).subject(subject).message("m").send().await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{topic} {subject}");
    }
}

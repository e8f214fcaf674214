use std::time::{Duration, Instant};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::{GetObjectError, GetObjectOutput},
    primitives::ByteStream,
};
use ses_forwarder_local_aws::journal::Event;

use crate::bench::{Bench, Key, MESSAGE_ID, OPERATOR};

type Got = Result<GetObjectOutput, SdkError<GetObjectError>>;

async fn get(bench: &Bench, key: Key<'_>) -> Got {
    bench.s3(key).get_object().bucket("mail").key("messages/a").send().await
}

async fn bench_with(fault: &str) -> Bench {
    let bench = Bench::start().await;
    bench.services.buckets().write("mail", "messages/a", "content".into()).await.unwrap();
    bench.services.faults().add(fault.parse().unwrap());
    bench
}

#[tokio::test]
async fn answers_instead() {
    let cases = [
        ("throttle", 503, "SlowDown"),
        ("500", 500, "InternalError"),
        ("503", 503, "ServiceUnavailable"),
        ("access-denied", 403, "AccessDenied"),
        ("not-found", 404, "NoSuchKey"),
    ];
    for (effect, status, code) in cases {
        let bench = bench_with(&format!("s3:GetObject(messages/)={effect}@1")).await;
        let failed = get(&bench, OPERATOR).await.unwrap_err();
        assert_eq!(failed.raw_response().unwrap().status().as_u16(), status, "{effect}");
        assert_eq!(failed.code(), Some(code), "{effect}");
        assert!(get(&bench, OPERATOR).await.is_ok(), "{effect}: only the first");
        let resource = "arn:aws:s3:::mail/messages/a".to_owned();
        let called = |status, error: Option<&str>| {
            ("s3:GetObject".to_owned(), resource.clone(), Some(status), error.map(str::to_owned))
        };
        assert_eq!(bench.calls(), [called(status, Some(code)), called(200, None)], "{effect}");
    }
}

#[tokio::test]
async fn a_reset_cuts_before_or_after() {
    for (effect, stored) in [("reset-before", None), ("reset-after", Some("new".into()))] {
        let bench = bench_with(&format!("s3:PutObject={effect}*1")).await;
        let put = bench.s3(OPERATOR).put_object().bucket("mail").key("outcome/a");
        let failed = put.body(ByteStream::from_static(b"new")).send().await.unwrap_err();
        assert!(matches!(failed, SdkError::DispatchFailure(_)), "{effect}: {failed:?}");
        assert_eq!(bench.services.buckets().read("mail", "outcome/a").await.unwrap(), stored, "{effect}");
        assert_eq!(bench.calls()[0].2, None, "{effect}");
    }
}

#[tokio::test]
async fn a_truncated_body_ends_early() {
    let bench = bench_with("s3:GetObject=truncate*1").await;
    let got = get(&bench, OPERATOR).await.unwrap();
    assert_eq!(got.content_length(), Some(7));
    assert!(got.body.collect().await.is_err());
}

#[tokio::test]
async fn a_slow_call_waits() {
    let bench = bench_with("s3:GetObject=slow:200").await;
    let started = Instant::now();
    assert!(get(&bench, OPERATOR).await.is_ok());
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_held_call_goes_on_once_the_faults_are_cleared() {
    let bench = bench_with("s3:GetObject=held").await;
    let (_, mut live) = bench.journal.follow();
    let (got, ()) = tokio::join!(get(&bench, OPERATOR), async {
        let entry = live.recv().await.unwrap();
        assert!(matches!(&entry.event, Event::Fault { what } if what.starts_with("s3:GetObject=held at ")));
        bench.services.faults().clear();
    });
    assert!(got.is_ok(), "{got:?}");
    assert!(get(&bench, OPERATOR).await.is_ok(), "the next one is not held");
}

#[tokio::test]
async fn a_hanging_call_is_not_answered() {
    let bench = bench_with("s3:GetObject=hang*1").await;
    let (_, mut live) = bench.journal.follow();
    tokio::select! {
        got = get(&bench, OPERATOR) => panic!("answered: {got:?}"),
        entry = live.recv() => {
            assert!(matches!(&entry.unwrap().event, Event::Fault { what } if what.starts_with("s3:GetObject=hang*1 at ")));
        }
    }
    assert!(get(&bench, OPERATOR).await.is_ok(), "the next one is");
}

#[tokio::test]
async fn a_function_is_killed_before_or_after() {
    for (effect, stored) in [("kill-before", None), ("kill-after", Some("new".into()))] {
        let bench = bench_with(&format!("s3:PutObject={effect}*1")).await;
        let function = bench.function();
        let s3 = bench.s3(Key::from(&function));
        let put = s3.put_object().bucket("mail").key("outcome/a").body(ByteStream::from_static(b"new"));
        tokio::select! {
            put = put.send() => panic!("{effect}: answered: {put:?}"),
            () = function.killed() => {}
        }
        assert_eq!(bench.services.buckets().read("mail", "outcome/a").await.unwrap(), stored, "{effect}");
        let journal = bench.journal.of(MESSAGE_ID);
        assert!(matches!(&journal[0].event, Event::Fault { .. }), "{effect}: {journal:?}");
    }
}

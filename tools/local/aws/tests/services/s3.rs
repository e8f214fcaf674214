use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
    types::ChecksumMode,
};
use bytes::Bytes;
use ses_forwarder_iam::Grant;

use crate::bench::{Bench, Key, OPERATOR, RULE, Signed};

/// Status and code of a failed call.
fn failure<E: ProvideErrorMetadata, T: std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, Option<String>) {
    match result {
        Err(SdkError::ServiceError(error)) => {
            (error.raw().status().as_u16(), error.err().code().map(str::to_owned))
        }
        Err(_) => (0, None),
        Ok(output) => panic!("succeeded: {output:?}"),
    }
}

fn code(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let bench = Bench::start().await;
    let s3 = bench.s3(OPERATOR);
    // The largest message SES stores; the SDK sends it in chunks with a checksum behind.
    let body: Vec<u8> = (0..40_u32 << 20).map(|at| (at ^ (at >> 8)) as u8).collect();
    let put = s3.put_object().bucket("mail").key("messages/a").content_type("message/rfc822");
    let put = put.body(ByteStream::from(body.clone())).send().await.unwrap();
    let got =
        s3.get_object().bucket("mail").key("messages/a").checksum_mode(ChecksumMode::Enabled).send().await;
    let got = got.unwrap();
    assert_eq!(got.content_type(), Some("message/rfc822"));
    assert_eq!(got.content_length(), Some(40 << 20));
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.checksum_crc32(), put.checksum_crc32());
    assert!(got.body.collect().await.unwrap().into_bytes() == body);

    let head = s3.head_object().bucket("mail").key("messages/a").send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag()), (Some(40 << 20), put.e_tag()));
    let part = s3.get_object().bucket("mail").key("messages/a").range("bytes=10-19").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 10-19/41943040"));
    assert_eq!(part.body.collect().await.unwrap().into_bytes(), &body[10..20]);

    assert_eq!(bench.services.buckets().read("mail", "messages/a").await.unwrap(), Some(Bytes::from(body)));
    s3.delete_object().bucket("mail").key("messages/a").send().await.unwrap();
    assert_eq!(bench.services.buckets().read("mail", "messages/a").await.unwrap(), None);
}

#[tokio::test]
async fn conditions_are_kept() {
    let bench = Bench::start().await;
    let s3 = bench.s3(OPERATOR);
    let put = |body: &'static str| {
        let put = s3.put_object().bucket("mail").key("outcome/a").if_none_match("*");
        put.body(ByteStream::from_static(body.as_bytes())).send()
    };
    let first = put("first").await.unwrap();
    assert_eq!(failure(put("second").await), code(412, "PreconditionFailed"));
    assert_eq!(bench.services.buckets().read("mail", "outcome/a").await.unwrap(), Some("first".into()));

    let etag = first.e_tag().unwrap();
    let get = || s3.get_object().bucket("mail").key("outcome/a");
    assert_eq!(failure(get().if_none_match(etag).send().await).0, 304);
    assert_eq!(failure(get().if_match("\"other\"").send().await), code(412, "PreconditionFailed"));
    assert!(get().if_none_match("\"other\"").send().await.is_ok());
    assert!(get().if_match(etag).send().await.is_ok());

    let over = |key: &str, etag: &str| {
        let put = s3.put_object().bucket("mail").key(key).if_match(etag).metadata("by", "me");
        put.body(ByteStream::from_static(b"over")).send()
    };
    assert_eq!(failure(over("outcome/a", "\"other\"").await), code(412, "PreconditionFailed"));
    assert_eq!(failure(over("outcome/none", etag).await), code(404, "NoSuchKey"));
    over("outcome/a", etag).await.unwrap();
    let got = get().send().await.unwrap();
    assert_eq!(got.metadata().unwrap().get("by").map(String::as_str), Some("me"));
    let head = s3.head_object().bucket("mail").key("outcome/a").send().await.unwrap();
    assert_eq!(head.metadata(), got.metadata());
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "over");
    let unknown = s3.put_object().bucket("mail").key("outcome/a").if_none_match(etag).send().await;
    assert_eq!(failure(unknown), code(501, "NotImplemented"));
}

#[tokio::test]
async fn only_one_of_many_creates_an_object() {
    let bench = Bench::start().await;
    let s3 = bench.s3(OPERATOR);
    let puts = (0..8).map(|number: u32| {
        let put = s3.put_object().bucket("mail").key("outcome/a").if_none_match("*");
        tokio::spawn(put.body(ByteStream::from(number.to_string().into_bytes())).send())
    });
    let mut created = 0;
    for put in puts.collect::<Vec<_>>() {
        match put.await.unwrap() {
            Ok(_) => created += 1,
            refused => {
                let refused = failure(refused);
                let conflict = code(409, "ConditionalRequestConflict");
                assert!([code(412, "PreconditionFailed"), conflict].contains(&refused), "{refused:?}");
            }
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn a_wrong_checksum_changes_nothing() {
    let bench = Bench::start().await;
    let s3 = bench.s3(OPERATOR);
    let wrong = |body: &'static str| {
        let put = s3.put_object().bucket("mail").key("outcome/a").checksum_crc32("AAAAAA==");
        put.body(ByteStream::from_static(body.as_bytes())).send()
    };
    assert_eq!(failure(wrong("a").await), code(400, "BadDigest"));
    assert_eq!(bench.services.buckets().read("mail", "outcome/a").await.unwrap(), None);
    bench.services.buckets().write("mail", "outcome/a", "before".into()).await.unwrap();
    assert_eq!(failure(wrong("a").await), code(400, "BadDigest"));
    assert_eq!(bench.services.buckets().read("mail", "outcome/a").await.unwrap(), Some("before".into()));
}

#[tokio::test]
async fn a_role_decides() {
    let bench = Bench::start().await;
    for key in ["messages/a", "messages/secret", "outcome/a"] {
        bench.services.buckets().write("mail", key, "x".into()).await.unwrap();
    }
    let function = bench.function();
    let s3 = bench.s3(Key::from(&function));
    let get = |key: &'static str| s3.get_object().bucket("mail").key(key).send();
    let put = |key: &'static str| s3.put_object().bucket("mail").key(key).send();
    let list = |prefix: &'static str| s3.list_objects_v2().bucket("mail").prefix(prefix).send();
    assert!(get("messages/a").await.is_ok());
    // An object that is not there is only told to who may list it.
    assert_eq!(failure(get("messages/b").await), code(404, "NoSuchKey"));
    assert_eq!(failure(get("outcome/b").await), code(403, "AccessDenied"));
    assert_eq!(failure(get("messages").await), code(403, "AccessDenied"), "a folder is no object");
    assert_eq!(failure(get("messages/secret").await), code(403, "AccessDenied"), "by the bucket's policy");
    assert!(put("outcome/a").await.is_ok());
    assert_eq!(failure(put("messages/a").await), code(403, "AccessDenied"));
    assert_eq!(
        failure(s3.delete_object().bucket("mail").key("outcome/a").send().await),
        code(403, "AccessDenied")
    );
    let keys: Vec<_> = list("messages/")
        .await
        .unwrap()
        .contents()
        .iter()
        .map(|object| object.key().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["messages/a", "messages/secret"]);
    assert_eq!(failure(list("outcome/").await), code(403, "AccessDenied"));
    assert_eq!(failure(s3.list_buckets().send().await), code(403, "AccessDenied"));
    assert_eq!(failure(s3.get_object().bucket("other").key("a").send().await), code(403, "AccessDenied"));

    let unused: Vec<String> =
        bench.deployment.functions[0].role.unused().into_iter().map(|Grant { action, .. }| action).collect();
    assert_eq!(unused, ["ses:SendEmail", "ses:SendRawEmail", "sns:Publish", "sqs:SendMessage"]);
}

#[tokio::test]
async fn what_is_absent_says_so_to_the_operator() {
    let bench = Bench::start().await;
    let s3 = bench.s3(OPERATOR);
    let get = |bucket: &'static str, key: &'static str| s3.get_object().bucket(bucket).key(key).send();
    assert_eq!(failure(get("mail", "a").await), code(404, "NoSuchKey"));
    assert_eq!(failure(get("other", "a").await), code(404, "NoSuchBucket"));
    assert_eq!(failure(s3.put_object().bucket("other").key("a").send().await), code(404, "NoSuchBucket"));
    assert_eq!(failure(s3.head_object().bucket("mail").key("a").send().await).0, 404);
    assert_eq!(failure(s3.list_objects_v2().bucket("other").send().await), code(404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_bucket_is_named_by_path_or_host() {
    let bench = Bench::start().await;
    bench.services.buckets().write("mail", "a b/ü", "x".into()).await.unwrap();
    let by_path = bench.s3(OPERATOR).get_object().bucket("mail").key("a b/ü").send().await.unwrap();
    assert_eq!(by_path.body.collect().await.unwrap().into_bytes(), "x");

    let hash_of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let host = bench.url.replace("http://127.0.0.1", "mail.localhost");
    let mut request = Signed { method: "GET", ..Signed::post(OPERATOR, "s3", "/", "") };
    request.headers = vec![("x-amz-content-sha256", hash_of_nothing), ("host", &host)];
    let by_host = bench.call(request).await.unwrap();
    assert_eq!(by_host.status(), 200);
    assert!(String::from_utf8_lossy(by_host.body()).contains("<Name>mail</Name>"));
}

#[tokio::test]
async fn ses_stores_what_the_bucket_policy_lets_it() {
    let bench = Bench::start().await;
    let buckets = bench.services.buckets();
    let put = |rule: &'static str, bucket: &'static str, key: &'static str| {
        buckets.put_for_ses(rule, bucket, key, Bytes::from_static(b"x"))
    };
    assert_eq!(put(RULE, "mail", "messages/a").await, Ok(()));
    assert_eq!(buckets.list("mail", "messages/").await.unwrap(), ["messages/a"]);
    let denied = |rule: &str, key: &str| {
        Err(format!(
            "AccessDenied: the policy of bucket mail does not allow ses.amazonaws.com, for {rule}, to perform \
             s3:PutObject on {key}"
        ))
    };
    assert_eq!(put(RULE, "mail", "mail/a").await, denied(RULE, "mail/a"));
    let other = "arn:aws:ses:us-east-1:123456789012:receipt-rule-set/s:receipt-rule/other";
    assert_eq!(put(other, "mail", "messages/b").await, denied(other, "messages/b"));
    let absent = "NoSuchBucket: The specified bucket does not exist: other".to_owned();
    assert_eq!(put(RULE, "other", "messages/a").await, Err(absent));
}

#[tokio::test]
async fn keys_stay_in_their_bucket() {
    let bench = Bench::start().await;
    let buckets = bench.services.buckets();
    for key in ["../outside", "a/../../outside", "/outside"] {
        assert!(buckets.write("mail", key, "x".into()).await.is_err(), "{key}");
        assert!(buckets.read("mail", key).await.is_err(), "{key}");
    }
    let names: Vec<_> = std::fs::read_dir(bench.data.path().join("buckets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["mail"]);
}

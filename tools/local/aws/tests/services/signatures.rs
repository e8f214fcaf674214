use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use crate::bench::{Bench, Key, OPERATOR, Signed};

const WRONG: &str = "The request signature we calculated does not match the signature you provided. Check your \
                     AWS Secret Access Key and signing method.";
const UNKNOWN: &str = "The security token included in the request is invalid.";

fn get_account(key: Key<'_>) -> Signed<'_> {
    Signed { method: "GET", ..Signed::post(key, "ses", "/v2/email/account", "") }
}

async fn answer(bench: &Bench, request: Request<Full<Bytes>>) -> (u16, String, String) {
    let response = bench.send(request).await.unwrap();
    let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    let message = body["message"].as_str().unwrap_or_default().to_owned();
    (response.status().as_u16(), kind.unwrap_or_default(), message)
}

fn refused(kind: &str, message: &str) -> (u16, String, String) {
    (403, kind.to_owned(), message.to_owned())
}

#[tokio::test]
async fn only_a_right_signature_is_believed() {
    let bench = Bench::start().await;
    let (ok, invalid) = ((200, String::new(), String::new()), "InvalidSignatureException");
    assert_eq!(answer(&bench, bench.sign(&get_account(OPERATOR))).await, ok);

    let wrong_secret = bench.sign(&get_account(Key(OPERATOR.0, "wrong")));
    assert_eq!(answer(&bench, wrong_secret).await, refused(invalid, WRONG));

    let unknown = bench.sign(&get_account(Key("AKIANOBODY", OPERATOR.1)));
    assert_eq!(answer(&bench, unknown).await, refused("UnrecognizedClientException", UNKNOWN));

    let mut other_path = bench.sign(&get_account(OPERATOR));
    *other_path.uri_mut() = "/v2/email/identities/in.example".parse().unwrap();
    assert_eq!(answer(&bench, other_path).await, refused(invalid, WRONG));

    let mut other_body = bench.sign(&get_account(OPERATOR));
    *other_body.body_mut() = Full::from("{}");
    assert_eq!(answer(&bench, other_body).await, refused(invalid, WRONG));

    let mut signed_header = get_account(OPERATOR);
    signed_header.headers = vec![("x-extra", "a")];
    let mut signed_header = bench.sign(&signed_header);
    signed_header.headers_mut().insert("x-extra", "b".parse().unwrap());
    assert_eq!(answer(&bench, signed_header).await, refused(invalid, WRONG));

    let mut claimed = bench.sign(&get_account(OPERATOR));
    claimed.headers_mut().insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    let message = "The value of x-amz-content-sha256 is not the hash of the body.";
    assert_eq!(answer(&bench, claimed).await, refused(invalid, message));
}

#[tokio::test]
async fn region_and_time_count() {
    let bench = Bench::start().await;
    let elsewhere = Signed { region: "eu-west-1", ..get_account(OPERATOR) };
    let message = "Credential should be scoped to a valid region: us-east-1, not eu-west-1.";
    assert_eq!(answer(&bench, bench.sign(&elsewhere)).await, refused("InvalidSignatureException", message));
    let cases = [(-200, true), (200, true), (-400, false), (400, false)];
    for (seconds, accepted) in cases {
        let shift = Duration::from_secs(u64::try_from(i64::abs(seconds)).unwrap());
        let now = SystemTime::now();
        let time = if seconds < 0 { now - shift } else { now + shift };
        let (status, ..) = answer(&bench, bench.sign(&Signed { time, ..get_account(OPERATOR) })).await;
        assert_eq!(status == 200, accepted, "{seconds} s off");
    }
}

#[tokio::test]
async fn a_key_is_void_once_its_instance_is_gone() {
    let bench = Bench::start().await;
    let function = bench.function();
    let request = bench.sign(&get_account(Key::from(&function)));
    let (status, kind, message) = answer(&bench, request.clone()).await;
    assert_eq!((status, kind.as_str()), (403, "AccessDeniedException"), "its role does not allow this");
    assert!(message.contains("is not authorized to perform: ses:GetAccount"), "{message}");
    drop(function);
    assert_eq!(answer(&bench, request).await, refused("UnrecognizedClientException", UNKNOWN));
}

#[tokio::test]
async fn what_is_not_signed_is_refused() {
    let bench = Bench::start().await;
    let request = Request::builder().uri("/mail/a").header("host", "localhost").body(Full::from("")).unwrap();
    let response = bench.send(request).await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(String::from_utf8_lossy(response.body()).contains("<Code>AccessDenied</Code>"));
}

#[tokio::test]
async fn sts_says_who_calls() {
    let bench = Bench::start().await;
    let function = bench.function();
    let cases = [
        (OPERATOR, "<Arn>arn:aws:iam::123456789012:user/operator</Arn>"),
        (Key::from(&function), "<Arn>arn:aws:sts::123456789012:assumed-role/"),
    ];
    for (key, arn) in cases {
        let mut request = Signed::post(key, "sts", "/", "Action=GetCallerIdentity&Version=2011-06-15");
        request.headers = vec![("content-type", "application/x-www-form-urlencoded")];
        let response = bench.call(request).await.unwrap();
        let body = String::from_utf8_lossy(response.body()).into_owned();
        assert!(response.status() == 200 && body.contains(arn), "{body}");
    }
}

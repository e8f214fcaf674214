use std::time::Duration;

use ses_forwarder_local_aws::pace::Pace;

use crate::bench::{Bench, Key, OPERATOR, Signed};

const RECIPIENT: &str = "BouncedRecipientInfoList.member.1.Recipient=old%40in.example";
const STATUS: &str = "BouncedRecipientInfoList.member.1.RecipientDsnFields.Status=5.1.1";

/// Status, and the error's code or, without one, nothing.
async fn bounce(bench: &Bench, key: Key<'_>, form: &str) -> (u16, String) {
    let mut request = Signed::post(key, "ses", "/", form.to_owned());
    request.headers.push(("content-type", "application/x-www-form-urlencoded"));
    let response = bench.call(request).await.unwrap();
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (response.status().as_u16(), code.map_or(String::new(), |(code, _)| code.to_owned()))
}

fn form(sender: &str, id: &str, others: &[&str]) -> String {
    let sender = sender.replace('@', "%40");
    let all =
        ["Action=SendBounce&Version=2010-12-01", &format!("BounceSender={sender}&OriginalMessageId={id}")];
    [&all[..], others].concat().join("&")
}

#[tokio::test]
async fn a_bounce_goes_to_the_envelope_sender() {
    let bench = Bench::start_with(|options| options.pace = Pace::real()).await;
    // The clock stands still, as SES takes one a second.
    tokio::time::pause();
    let ses = bench.services.ses();
    ses.note_received("known", Some("ann@else.example"));
    ses.note_received("null", None);
    let good = form("mailer-daemon@in.example", "known", &[RECIPIENT, STATUS]);
    for (form, expected) in [
        (form("mailer-daemon@in.example", "", &[RECIPIENT, STATUS]), (400, "ValidationError")),
        (form("mailer-daemon", "known", &[RECIPIENT, STATUS]), (400, "InvalidParameterValue")),
        (form("mailer-daemon@in.example", "known", &[]), (400, "ValidationError")),
        (form("mailer-daemon@in.example", "known", &[RECIPIENT]), (400, "ValidationError")),
        (form("mailer-daemon@else.example", "known", &[RECIPIENT, STATUS]), (400, "MessageRejected")),
        (form("mailer-daemon@in.example", "unknown", &[RECIPIENT, STATUS]), (400, "MessageRejected")),
        (form("mailer-daemon@in.example", "null", &[RECIPIENT, STATUS]), (400, "MessageRejected")),
        (good.clone(), (200, "")),
        // Once a second.
        (good.clone(), (400, "Throttling")),
    ] {
        let (status, code) = bounce(&bench, OPERATOR, &form).await;
        assert_eq!((status, &*code), expected, "{form}");
    }
    ses.configure(|account| account.sending_enabled = false);
    assert_eq!(bounce(&bench, OPERATOR, &good).await, (400, "MessageRejected".to_owned()));
    ses.configure(|account| account.sending_enabled = true);
    // The role of the bench's function may send mail, but no bounces.
    let function = bench.function();
    assert_eq!(bounce(&bench, Key::from(&function), &good).await, (403, "AccessDenied".to_owned()));

    let folder = bench.data.path().join("maildir/ann@else.example/new");
    let report = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let report = std::fs::read_to_string(report.path()).unwrap();
    for line in [
        "From: mailer-daemon@in.example\r\n",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=\"bounce-known\"\r\n",
        "Final-Recipient: rfc822; old@in.example\r\nAction: failed\r\nStatus: 5.1.1\r\n",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
}

#[tokio::test]
async fn what_is_older_than_a_day_is_not_bounced() {
    // A day takes 20 ms.
    let bench = Bench::start_with(|options| options.pace = Pace::times(4_320_000)).await;
    bench.services.ses().note_received("old", Some("ann@else.example"));
    tokio::time::sleep(Duration::from_millis(40)).await;
    let form = form("mailer-daemon@in.example", "old", &[RECIPIENT, STATUS]);
    assert_eq!(bounce(&bench, OPERATOR, &form).await, (400, "MessageRejected".to_owned()));
}

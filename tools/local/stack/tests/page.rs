//! The page over HTTP, without a browser.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, Stack};

/// An answer's status line and the rest.
fn ask(stack: &Stack, request: &str, body: &str) -> (String, String) {
    let address = stack.page_url().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (status, rest) = answer.split_once("\r\n").unwrap();
    (status.to_owned(), rest.to_owned())
}

/// The list, once it says this: it follows what happens.
async fn listed(stack: &Stack, wanted: &str) -> String {
    let page = || async { Some(ask(stack, "GET /", "").1).filter(|page| page.contains(wanted)) };
    stack.eventually(page).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_listed_shown_and_given_out() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let (status, page) = ask(&stack, "GET /", "");
    assert!(status.ends_with("200 OK") && page.contains("Nothing has come yet"), "{status}\n{page}");
    assert!(page.contains(&stack.curl()) && !page.contains("cargo local send"), "{page}");

    let message =
        b"From: Jane <jane@example.com>\r\nTo: info@in.example\r\nSubject: <b>Hello</b>\r\n\r\nHi\r\n";
    let id = stack.send(Some("jane@example.com"), &["info@in.example"], message).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);

    let page = listed(&stack, &id).await;
    assert!(page.contains("&lt;b&gt;Hello&lt;/b&gt;") && !page.contains("<b>Hello</b>"), "{page}");
    let (status, page) = ask(&stack, &format!("GET /messages/{id}"), "");
    assert!(status.ends_with("200 OK") && page.contains("jane_example.com@in.example"), "{page}");
    let (status, original) = ask(&stack, &format!("GET /messages/{id}/original"), "");
    assert!(status.ends_with("200 OK") && original.contains("Subject: <b>Hello</b>"), "{original}");
    let (status, _) = ask(&stack, &format!("POST /messages/{id}/release"), "");
    assert!(status.contains(" 409 "), "it is forwarded already: {status}");
    let (status, _) = ask(&stack, "GET /messages/none", "");
    assert!(status.ends_with("404 Not Found"), "{status}");
    let (status, _) = ask(&stack, "POST /faults", "fault=nonsense");
    assert!(status.contains(" 4"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_released_by_a_button() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let mut ids = Vec::new();
    for (from, verdict) in [("ann", "spam"), ("ann", "spam"), ("ann", "virus"), ("bob", "spam")] {
        let message = format!("X-Local-Verdict: {verdict}=FAIL\r\nSubject: Hello\r\n\r\nHi\r\n");
        let from = format!("{from}@else.example");
        let id = stack.send(Some(&from), &["info@in.example"], message.as_bytes()).await.unwrap();
        assert_eq!(stack.settled(&id).await, End::Returned);
        ids.push(id);
    }
    let (_, page) = ask(&stack, &format!("GET /messages/{}", ids[0]), "");
    assert!(page.contains("<button>Release</button>"), "{page}");
    let (_, page) = ask(&stack, &format!("GET /messages/{}", ids[2]), "");
    assert!(page.contains("<button>Release, virus and all</button>"), "{page}");
    assert!(!page.contains("Release all from this sender"), "a virus is released by itself: {page}");

    let forwarded = async |id: &str| {
        stack
            .until(id, |events| events.iter().any(|event| matches!(event, Event::Sent { .. })).then_some(()))
            .await;
    };
    let (status, answer) = ask(&stack, &format!("POST /messages/{}/release", ids[3]), "");
    assert!(
        status.contains(" 303 ") && answer.contains(&format!("/messages/{}", ids[3])),
        "{status}\n{answer}"
    );
    forwarded(&ids[3]).await;
    let (status, _) = ask(&stack, &format!("POST /messages/{}/release", ids[0]), "all=true");
    assert!(status.contains(" 303 "), "{status}");
    forwarded(&ids[0]).await;
    forwarded(&ids[1]).await;
    assert_eq!(stack.outcome(&ids[2]).await.unwrap()["status"], "dropped", "a virus is released by itself");
    let (status, _) = ask(&stack, &format!("POST /messages/{}/release", ids[2]), "virus=true");
    assert!(status.contains(" 303 "), "{status}");
    forwarded(&ids[2]).await;
    assert_eq!(stack.sent().len(), 4);
}

/// The function that takes dead letters invokes the other, and is at work still when that is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_has_tried_again_is_shown_as_what_became_of_it() {
    let mut config = Config::default();
    config.parameters.insert("RetryHours".to_owned(), "1".to_owned());
    let stack = Stack::start(config).await.unwrap();
    for (fault, status, parts) in [
        ("s3:GetObject(messages/)=kill-before@1", "forwarded", &["Header, before and after"][..]),
        ("ses:SendEmail(jane)=500", "failed, notice sent", &["By mail to operator@", "Nothing was sent"]),
    ] {
        stack.faults().add(fault.parse().unwrap());
        let message = b"From: jane@x.example\r\nSubject: Hello\r\n\r\nHi\r\n";
        let id = stack.send(Some("jane@x.example"), &["info@in.example"], message).await.unwrap();
        assert_eq!(stack.settled(&id).await, End::Noticed);
        stack.emptied().await;
        let listed = || async {
            let (_, page) = ask(&stack, "GET /", "");
            let (_, row) = page.split_once(&format!("id=\"m-{id}\""))?;
            let (row, _) = row.split_once("</li>")?;
            row.contains(&format!(">{status}</span>")).then_some(())
        };
        stack.eventually(listed).await;
        let (_, page) = ask(&stack, &format!("GET /messages/{id}"), "");
        for part in parts {
            assert!(page.contains(part), "{part} is not in:\n{page}");
        }
        assert_eq!(page.matches("<details").count(), page.matches(" data-key=").count(), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_digest_is_read_as_a_mail() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let (_, page) = ask(&stack, "GET /notices", "");
    assert!(
        page.contains("None so far.") && page.contains("<button class=\"primary\">Send the digest now"),
        "{page}"
    );
    let message =
        b"X-Local-Verdict: spam=FAIL\r\nFrom: Jane <jane@x.example>\r\nSubject: <b>Lunch</b>\r\n\r\nHi\r\n";
    let id = stack.send(Some("jane@x.example"), &["info@in.example"], message).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let (status, _) = ask(&stack, "POST /notices/digest", "");
    assert!(status.contains(" 303 "), "{status}");
    let (_, page) = ask(&stack, "GET /notices", "");
    assert!(page.contains("[ses-forwarder] Digest: 1 dropped"), "{page}");
    let sent = stack.sent().pop().unwrap();
    let (status, page) = ask(&stack, &format!("GET /mail/{}", sent.ses_id), "");
    assert!(status.ends_with("200 OK"), "{status}");
    for shown in [
        "<dt>To</dt><dd>&lt;operator@out.example&gt;</dd>",
        "spam  Jane &lt;jane@x.example&gt;  &lt;b&gt;Lunch&lt;/b&gt;  for info@in.example\n",
        &format!("  ses-forwarder release --region us-east-1 --stack ses-forwarder {id}\n"),
    ] {
        assert!(page.contains(shown), "{shown} is not in:\n{page}");
    }
    assert!(!page.contains("<b>Lunch</b>"), "{page}");
    let (status, _) = ask(&stack, "GET /mail/none", "");
    assert!(status.ends_with("404 Not Found"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_by_a_button() {
    let mut config = Config::default();
    config.parameters.insert("Replies".to_owned(), "on".to_owned());
    let stack = Stack::start(config).await.unwrap();
    let message = b"From: Jane <jane@example.com>\r\nTo: info@in.example\r\nSubject: Hello\r\n\
                    Message-ID: <m1@example.com>\r\n\r\nHi\r\n";
    let id = stack.send(Some("jane@example.com"), &["info@in.example"], message).await.unwrap();
    assert_eq!(stack.settled(&id).await, End::Returned);
    let ses_id = stack.sent()[0].ses_id.clone();
    let (_, page) = ask(&stack, &format!("GET /messages/{id}"), "");
    assert!(page.contains(&format!("action=\"/messages/{id}/answer\"")), "{page}");
    assert!(page.contains(&format!("id=\"answering-{ses_id}\"")), "{page}");
    let (status, page) =
        ask(&stack, &format!("POST /messages/{id}/answer"), &format!("ses_id={ses_id}&text=Gladly."));
    assert!(status.contains(" 303 "), "{status}\n{page}");
    let (_, answer) = page.split_once("/messages/").unwrap();
    let answer = answer.split_ascii_whitespace().next().unwrap();
    assert_eq!(stack.settled(answer).await, End::Returned);
    let sent = stack.sent();
    assert_eq!(
        (&*sent[1].from, &sent[1].destinations[..]),
        ("info@in.example", &["jane@example.com".to_owned()][..])
    );
    let text = String::from_utf8(sent[1].raw.clone()).unwrap();
    assert!(
        text.ends_with("\r\n\r\nGladly.\r\n") && text.contains("In-Reply-To: <m1@example.com>"),
        "{text}"
    );
    assert!(!text.contains("out.example"), "{text}");
    let (_, page) = ask(&stack, &format!("GET /messages/{answer}"), "");
    assert!(page.contains("jane@example.com"), "what Jane gets is shown: {page}");

    let (status, _) = ask(&stack, &format!("POST /messages/{id}/answer"), "ses_id=none&text=x");
    assert!(status.contains(" 404 "), "{status}");
}

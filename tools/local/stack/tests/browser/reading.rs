//! Finding messages, reading what was sent, and whether everybody can: axe looks at each page.

use ses_forwarder_local_aws::journal::End;

use crate::{
    PLAIN, at,
    browser::{Scheme, Screen},
    send,
};

/// Of every kind that the page tells apart: attachment, HTML that means harm, text.
const RICH: &[u8] = b"From: Eve <eve@evil.example>\r\nTo: info@in.example\r\nSubject: Invoice\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\
    --a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nPlease pay.\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<h1>Please pay</h1><script>top.document.title='owned'</script>\
    <img src=\"http://evil.example/seen.png\" alt=\"\"><a href=\"http://evil.example/\" target=\"_top\">here</a>\r\n\
    --b--\r\n\
    --a\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"in\\\"voice.pdf\"\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--a--\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_status_address_and_subject() {
    let (stack, browser) = at("/").await;
    for recipient in ["info@in.example", "sales@in.example"] {
        let id = stack.send(Some("ann@else.example"), &[recipient], PLAIN).await.expect("SES takes it");
        stack.settled(&id).await;
    }
    let spam = stack.send(Some("bob@else.example"), &["info+spam=FAIL@in.example"], PLAIN).await;
    let spam = spam.expect("SES takes it");
    assert_eq!(stack.settled(&spam).await, End::Returned);
    for (words, status, found) in
        [("SALES@", "", 1), ("opening", "", 3), ("", "kept", 1), ("ann@", "kept", 0), ("nobody", "", 0)]
    {
        browser.goto(&stack.page_url()).await;
        browser.fill("input[type=search]", words).await;
        browser.choose("select[name=status]", status).await;
        browser.click("#search button").await;
        browser.wait_for("#search a").await;
        assert_eq!(browser.texts("#messages li").await.len(), found, "{words:?} {status:?}");
        assert_eq!(browser.attributes("input[type=search]", "value").await, [words]);
    }
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_read_as_its_reader_does_and_does_no_harm() {
    let (stack, browser) = at("/").await;
    let id = send(&stack, RICH).await;
    assert_eq!(stack.settled(&id).await, End::Returned);
    browser.goto(&format!("{}/messages/{id}", stack.page_url())).await;
    browser.wait_for(".reading").await;
    assert_eq!(browser.text(".reading pre").await.trim(), "Please pay.");
    let attachment = browser.text(".reading li").await;
    assert!(attachment.starts_with("in\"voice.pdf application/pdf"), "{attachment}");
    browser.assert_quiet().await;

    browser.click(".reading summary").await;
    browser.wait_for(".reading iframe").await;
    browser.client().enter_frame(0).await.expect("the frame is there");
    assert_eq!(browser.text("h1").await, "Please pay");
    let loaded =
        "const image = document.querySelector('img'); return image.complete && image.naturalWidth > 0";
    assert_ne!(browser.run(loaded).await, true, "nothing is fetched from elsewhere");
    browser.client().enter_parent_frame().await.expect("there is a page around it");
    assert_eq!(browser.client().title().await.unwrap(), "Message · SES Forwarder");
    browser.shot("message-read", Screen::Desk, Scheme::Light).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_that_keeps_anybody_out() {
    let (stack, browser) = at("/").await;
    let ids = [send(&stack, RICH).await, send(&stack, PLAIN).await];
    for id in &ids {
        stack.settled(id).await;
    }
    let url = stack.page_url();
    let message = format!("{url}/messages/{}", ids[0]);
    for page in
        [url.clone(), format!("{url}/?q=nobody"), message, format!("{url}/stack"), format!("{url}/none")]
    {
        browser.goto(&page).await;
        browser.wait_for("main h1").await;
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.assert_accessible(&page, scheme).await;
        }
    }
}

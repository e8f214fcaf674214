//! The page as a person sees it: Debian's Chromium, driven by WebDriver, looks at a running stack.
//! `.ci/browser` installs the browser and runs this. What a person should look at is kept as
//! `target/screenshots/*.png`.

mod browser;
mod reading;

use browser::{Browser, Scheme, Screen};
use fantoccini::Locator;
use ses_forwarder_local_aws::journal::{End, Event};
use ses_forwarder_local_stack::{Config, Stack};

const PLAIN: &[u8] = b"From: Ann Example <ann@else.example>\r\n\
    To: info@in.example\r\n\
    Subject: Opening hours\r\n\
    Message-ID: <hours-1@else.example>\r\n\
    MIME-Version: 1.0\r\n\
    \r\n\
    Are you open on Saturday?\r\n";

/// A stack, and a browser at a path of its page.
async fn at(path: &str) -> (Stack, Browser) {
    at_with(path, &[]).await
}

async fn at_with(path: &str, parameters: &[(&str, &str)]) -> (Stack, Browser) {
    let mut config = Config::default();
    config
        .parameters
        .extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let stack = Stack::start(config).await.expect("the stack starts");
    let browser = Browser::start(true).await;
    browser.goto(&format!("{}{path}", stack.page_url())).await;
    (stack, browser)
}

async fn send(stack: &Stack, message: &[u8]) -> String {
    stack.send(Some("ann@else.example"), &["info@in.example"], message).await.expect("SES takes it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_appears_without_reload() {
    let (stack, browser) = at("/").await;
    browser.shot("list-empty", Screen::Desk, Scheme::Light).await;
    browser.run("window.untouched = true").await;
    let id = send(&stack, PLAIN).await;
    browser.wait_for(&format!("#m-{id} .status.good")).await;
    assert!(browser.text(&format!("#m-{id}")).await.contains("Opening hours"));
    assert_eq!(browser.run("return window.untouched").await, true, "the page was not loaded again");
    assert_eq!(browser.text("#total").await, "1");
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_marks_what_changed() {
    let (stack, browser) = at("/").await;
    let id = send(&stack, PLAIN).await;
    stack.settled(&id).await;
    browser.goto(&format!("{}/messages/{id}", stack.page_url())).await;
    browser.wait_for(".pair.changed").await;
    let changed = browser.texts(".pair.changed .after").await;
    let expected = r#"From: Ann Example <ann_else.example@in.example>"#;
    assert!(changed.iter().any(|text| text == expected), "{changed:?}");
    let marked = browser.texts(".pair.changed mark").await;
    assert!(marked.iter().any(|text| text == "in.example"), "{marked:?}");
    let added = browser.texts(".pair.added .after").await;
    assert!(added.iter().any(|text| text == "X-Original-To: info@in.example"), "{added:?}");
    let removed = browser.texts(".pair.removed .before").await;
    assert!(removed.iter().any(|text| text.starts_with("Return-Path:")), "{removed:?}");
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_mail_does_no_harm() {
    let (stack, browser) = at("/").await;
    let subject = format!(
        "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\
         \u{202e}desrever {}",
        "A".repeat(100_000)
    );
    let message = format!(
        "From: \"</a><script>alert(1)</script>\" <eve@evil.example>\r\nTo: info@in.example\r\nSubject: {subject}\r\n\
         X-Evil: <svg onload=alert(2)>\r\n\r\n</pre><script>alert(3)</script>\r\n"
    );
    let id = send(&stack, message.as_bytes()).await;
    stack.settled(&id).await;
    browser.wait_for(&format!("#m-{id} .status:not(.busy)")).await;
    // All of it, also what the line is too short for.
    let shown = browser.run("return document.querySelector('#messages .subject').textContent").await;
    let shown = shown.as_str().unwrap();
    assert!(shown.starts_with("<script>document.title='owned'</script><img"), "{shown:.100}");
    assert!(shown.contains("U+202E") && shown.len() < 1_000, "{shown:.300}");
    browser.shot("list-hostile", Screen::Desk, Scheme::Light).await;
    browser.goto(&format!("{}/messages/{id}", stack.page_url())).await;
    browser.wait_for("#way").await;
    assert!(browser.text("main").await.len() < 50_000, "long text is cut");
    let foreign = "return document.querySelectorAll('main script, main svg, main img').length";
    assert_eq!(browser.run(foreign).await, 0, "nothing from the mail became an element");
    assert_eq!(browser.client().title().await.unwrap(), "Message · SES Forwarder");
    browser.assert_fits(Screen::Phone).await;
    browser.shot("message-hostile", Screen::Desk, Scheme::Light).await;
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_send_samples_and_faults_and_try_again() {
    let (stack, browser) = at_with("/", &[("RetryHours", "1")]).await;
    browser.click(".faults summary").await;
    browser.choose("select[name=effect]", "500").await;
    browser.fill("input[name=count]", "100").await;
    browser.click(".faults button").await;
    browser.wait_for(".faults .waiting li").await;
    browser.fill("input[name=operation]", "sns:*").await;
    browser.choose("select[name=effect]", "slow:5000").await;
    browser.choose("select[name=which]", "@").await;
    browser.fill("input[name=count]", "9").await;
    browser.click(".faults button").await;
    browser.wait_for(".faults .waiting li:nth-child(2)").await;
    assert_eq!(browser.texts(".faults .waiting li").await, ["ses:SendEmail=500*100", "sns:*=slow:5000@9"]);
    browser.choose("#sample", "newsletter").await;
    browser.click(".sample button").await;
    // What becomes of it appears by itself: tries for an hour of the stack's fast clock, however many that are, and a
    // notice.
    browser.wait_for("#way").await;
    let url = browser.client().current_url().await.unwrap();
    let id = url.path_segments().unwrap().next_back().unwrap();
    assert_eq!(stack.settled(id).await, End::Noticed);
    browser.wait_for("#notice").await;
    browser.wait_for_text("#top .status", "failed, notice sent").await;
    stack.emptied().await;
    assert!(stack.outcome(id).await.expect("it is recorded")["tries"].as_u64() >= Some(1));
    browser.shot("message-failed", Screen::Desk, Scheme::Light).await;
    browser.shot("message-failed-phone", Screen::Phone, Scheme::Dark).await;

    stack.faults().clear();
    browser.click("form[action$=try-again] button").await;
    browser.wait_for(".top-of-message .status.good").await;
    browser.wait_for(".pair.changed").await;
    browser.shot("message-forwarded", Screen::Desk, Scheme::Light).await;
    browser.shot("message-forwarded-dark", Screen::Desk, Scheme::Dark).await;
    browser.shot("message-forwarded-phone", Screen::Phone, Scheme::Light).await;
    browser.assert_fits(Screen::Phone).await;
    browser.assert_quiet().await;
}

/// Two sends of a message, each with the same parts, and more that happens while a person looks at them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_typed_and_opened_stays() {
    let (stack, browser) = at_with("/", &[("Replies", "on")]).await;
    let to = ["info@in.example", "sales@in.example"];
    let id = stack.send(Some("ann@else.example"), &to, PLAIN).await.expect("SES takes it");
    assert_eq!(stack.settled(&id).await, End::Returned);
    browser.goto(&format!("{}/messages/{id}", stack.page_url())).await;
    browser.wait_for(".answer").await;
    let parts = "return [...document.querySelector('main').children].map(part => part.id)";
    let before = browser.run(parts).await;
    browser.fill(".answer textarea", "Gladly").await;
    browser.run("document.querySelectorAll('details').forEach((one, at) => one.open = at % 2 === 0)").await;
    let opened = "return [...document.querySelectorAll('details')].map(one => one.open)";
    let open = browser.run(opened).await;

    let [function, line] = [&*stack.deployment().functions[0].name, "one more"].map(str::to_owned);
    stack.journal().note(Some(&id), Event::Logged { function, line });
    stack.journal().note(Some(&id), Event::Fault { what: "a last one".to_owned() });
    browser.wait_for("#way li.waiting").await;
    assert_eq!(browser.run(parts).await, before);
    let texts = "return [...document.querySelectorAll('.answer textarea')].map(one => one.value)";
    assert_eq!(browser.run(texts).await, serde_json::json!(["Gladly", ""]));
    assert_eq!(browser.run(opened).await, open);
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_shown() {
    let (stack, browser) = at("/").await;
    let samples = browser.attributes("#sample option", "value").await;
    assert!(samples.len() > 5, "{samples:?}");
    for sample in &samples {
        browser.goto(&stack.page_url()).await;
        browser.choose("#sample", sample).await;
        browser.click(".sample button").await;
        // Any end will do here: some are not to be forwarded.
        browser.wait_for(".top-of-message .status:not(.busy):not(.waiting)").await;
        browser.assert_quiet().await;
    }
    browser.goto(&stack.page_url()).await;
    assert_eq!(browser.texts("#messages li").await.len(), samples.len());
    browser.shot("list", Screen::Desk, Scheme::Light).await;
    browser.shot("list-dark", Screen::Desk, Scheme::Dark).await;
    browser.shot("list-phone", Screen::Phone, Scheme::Light).await;
    browser.assert_fits(Screen::Phone).await;
    browser.goto(&format!("{}/stack", stack.page_url())).await;
    browser.shot("stack", Screen::Desk, Scheme::Light).await;
    browser.assert_fits(Screen::Phone).await;
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_reached_by_keyboard() {
    let (stack, browser) = at("/").await;
    let id = send(&stack, PLAIN).await;
    stack.settled(&id).await;
    browser.wait_for(&format!("#m-{id} .status.good")).await;
    let mut seen = vec![];
    while seen.len() < 20 {
        browser.press_tab().await;
        let focused =
            "const e = document.activeElement; return e.getAttribute('href') ?? e.name ?? e.tagName";
        let name = browser.run(focused).await.as_str().unwrap_or_default().to_owned();
        seen.push(name.clone());
        if name == format!("/messages/{id}") {
            break;
        }
    }
    assert_eq!(seen.first().map(String::as_str), Some("#content"), "the way past the top comes first");
    assert_eq!(seen.last(), Some(&format!("/messages/{id}")), "{seen:?}");
    let outlined = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.run(outlined).await, "solid", "the focus shows");
    browser.press_enter().await;
    browser.wait_for("#way").await;
    browser.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_without_script() {
    let stack = Stack::start(Config::default()).await.expect("the stack starts");
    let browser = Browser::start(false).await;
    let id = send(&stack, PLAIN).await;
    stack.settled(&id).await;
    // The list follows what happens, and without a script only where it is asked for again.
    let listed = || async {
        browser.goto(&stack.page_url()).await;
        browser.text(&format!("#m-{id}")).await.contains("forwarded").then_some(())
    };
    stack.eventually(listed).await;
    browser.click(&format!("#m-{id} a")).await;
    browser.wait_for(".pair.changed mark").await;
    browser.click("form[action$=try-again] button").await;
    browser.wait_for("#way").await;
    browser.goto(&stack.page_url()).await;
    browser.choose("#sample", "spam").await;
    browser.click(".sample button").await;
    browser.wait_for("#way").await;
    let subject = browser.client().find(Locator::Css("h1.subject")).await.unwrap();
    assert_eq!(subject.text().await.unwrap(), "You have won");
}

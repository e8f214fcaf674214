//! A headless Chromium of its own for each test.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use axum::http::Method;
use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    error::NewSessionError,
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Longer than anything takes to show, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What Chromium needs to run alone: no sandbox (tests may run as root), no calls to its maker.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A window's size.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Screen {
    Desk,
    Phone,
}

impl Screen {
    /// Width and height, pixels for each, whether it is a phone's.
    fn metrics(self) -> (u32, u32, u32, bool) {
        match self {
            Screen::Desk => (1280, 900, 1, false),
            Screen::Phone => (390, 844, 2, true),
        }
    }
}

/// What `prefers-color-scheme` says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

pub(crate) struct Browser {
    client: Client,
    _driver: Driver,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, with or without JavaScript.
    pub(crate) async fn start(script: bool) -> Browser {
        let (driver, port) = loop {
            if let Some(started) = start_driver().await {
                break started;
            }
        };
        // The driver gives up a Chromium that takes more than a minute.
        let begun = Instant::now();
        let (client, profile) = loop {
            match session(&port, script).await {
                Ok(session) => break session,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "chromium does not start: {error}"),
            }
        };
        let browser = Browser { client, _driver: driver, _profile: profile };
        browser.look(Screen::Desk, Scheme::Light).await;
        browser
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page loads");
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.expect("the test's script runs")
    }

    /// Waits for an element to be there.
    pub(crate) async fn wait_for(&self, selector: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        assert!(found.is_ok(), "{selector} did not come; there is: {}", self.text("main").await);
        found.expect("it was looked at")
    }

    /// Waits for an element to say something.
    pub(crate) async fn wait_for_text(&self, selector: &str, text: &str) {
        let script = format!("return document.querySelector({selector:?})?.textContent === {text:?}");
        let told = async {
            while self.run(&script).await != true {
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "{selector} says {:?}, not {text:?}", self.text(selector).await);
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.client.find(Locator::Css(selector)).await.expect(selector);
        element.text().await.expect("it has a text")
    }

    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = vec![];
        for element in self.client.find_all(Locator::Css(selector)).await.expect(selector) {
            texts.push(element.text().await.expect("it has a text"));
        }
        texts
    }

    pub(crate) async fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let mut values = vec![];
        for element in self.client.find_all(Locator::Css(selector)).await.expect(selector) {
            values.extend(element.attr(name).await.expect("it has attributes"));
        }
        values
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.wait_for(selector).await.click().await.expect(selector);
    }

    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        self.wait_for(selector).await.select_by_value(value).await.expect(value);
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let input = self.wait_for(selector).await;
        input.clear().await.expect(selector);
        input.send_keys(text).await.expect(selector);
    }

    pub(crate) async fn press_tab(&self) {
        self.press(Key::Tab.into()).await;
    }

    pub(crate) async fn press_enter(&self) {
        self.press(Key::Enter.into()).await;
    }

    async fn press(&self, value: char) {
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.client.perform_actions(keys).await.expect("keys can be pressed");
    }

    /// Nothing was refused, blocked or thrown.
    pub(crate) async fn assert_quiet(&self) {
        let entries = self.client.issue_cmd(ReadLog).await.expect("the console can be read");
        let entries: Vec<_> =
            entries.as_array().expect("a list").iter().map(|entry| entry["message"].clone()).collect();
        assert!(entries.is_empty(), "the console says: {entries:?}");
    }

    /// axe, which `.ci/test` installs, finds nothing wrong: no control without a name, no text that is too pale, no
    /// heading left out. It can't look into a frame that may run no script.
    pub(crate) async fn assert_accessible(&self, page: &str, scheme: Scheme) {
        self.look(Screen::Desk, scheme).await;
        let path = std::env::var("AXE").expect("AXE says where axe.min.js is: see .ci/browser");
        let axe = std::fs::read_to_string(&path).expect("AXE is a file");
        self.run(&axe).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, {iframes: false}).then(
                found => done(found.violations.map(one => [one.id, one.help, one.nodes.map(node => node.html)])),
                error => done(String(error)));";
        let wrong = self.client.execute_async(script, vec![]).await.expect("axe runs");
        assert_eq!(wrong, json!([]), "{page}, {scheme:?}");
        self.look(Screen::Desk, Scheme::Light).await;
    }

    /// Nothing is wider than the window.
    pub(crate) async fn assert_fits(&self, screen: Screen) {
        self.look(screen, Scheme::Light).await;
        let (width, ..) = screen.metrics();
        // Not the window's own idea of its width: on a phone it grows with what is in it.
        let needed = self.run("return document.scrollingElement.scrollWidth").await;
        assert_eq!(needed, width, "nothing to scroll sideways on a {screen:?}");
        self.look(Screen::Desk, Scheme::Light).await;
    }

    /// Keeps what the whole page looks like.
    pub(crate) async fn shot(&self, name: &str, screen: Screen, scheme: Scheme) {
        self.look(screen, scheme).await;
        let arguments = json!({ "captureBeyondViewport": matches!(screen, Screen::Desk) });
        let shot = self.devtools("Page.captureScreenshot", arguments).await;
        let data = shot["data"].as_str().expect("a picture");
        let picture = base64_simd::STANDARD.decode_to_vec(data).expect("DevTools encodes pictures as base64");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../target/screenshots");
        std::fs::create_dir_all(&folder).expect("target can be written");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("target can be written");
        self.look(Screen::Desk, Scheme::Light).await;
    }

    async fn look(&self, screen: Screen, scheme: Scheme) {
        let (width, height, scale, mobile) = screen.metrics();
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// A command of the Chrome DevTools Protocol.
    async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(DevTools(command, parameters)).await.expect(command)
    }
}

/// A driver, which leaves no browser behind.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser's many processes are of the driver's group.
        let group = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A driver and its port. It takes a free one for IPv4 and wants the same for IPv6, which another driver
/// that starts at the same time may have: then it ends, and there is none.
async fn start_driver() -> Option<(Driver, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is installed: see .ci/browser");
    let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
    while let Some(line) = lines.next_line().await.expect("its output is text") {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Some((Driver(driver), port.trim_end_matches('.').to_owned()));
        }
    }
    None
}

/// A Chromium that the driver starts, with or without JavaScript, and its profile.
async fn session(port: &str, script: bool) -> Result<(Client, TempDir), NewSessionError> {
    let profile = tempfile::tempdir().expect("a temporary folder can be made");
    let mut arguments: Vec<String> = ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.path().display()));
    let mut options = json!({ "args": arguments });
    if !script {
        options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
    }
    let mut capabilities = Map::new();
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
    capabilities.insert("timeouts".to_owned(), json!({ "script": PATIENCE.as_secs() * 1000 }));
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&format!("http://localhost:{port}"))
        .await?;
    Ok((client, profile))
}

/// `POST /session/{id}/goog/cdp/execute`.
#[derive(Debug)]
struct DevTools(&'static str, Value);

/// `POST /session/{id}/se/log`: console entries since the last time.
#[derive(Debug)]
struct ReadLog;

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.0, "params": self.1 }).to_string()))
    }
}

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

//! What stands around every page, and the page that says what is wrong.

use maud::{DOCTYPE, Markup, html};
use ses_forwarder_local_template::deployment::Deployment;

/// What stands around every page.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) stack: Option<&'a Deployment>,
    /// Which of the tabs it is under, by its path.
    pub(super) tab: &'a str,
    /// Where its server-sent events are.
    pub(super) live: Option<&'a str>,
    /// Whether it should be read anew by itself where there is no script.
    pub(super) refresh: bool,
}

const TABS: [(&str, &str); 3] = [("/", "Messages"), ("/notices", "Notices"), ("/stack", "Stack")];

pub(super) fn framed(frame: &Frame<'_>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
                @if frame.refresh { noscript { meta http-equiv="refresh" content="2"; } }
            }
            body data-live=[frame.live] {
                a.skip href="#content" { "Skip to content" }
                header.top {
                    a.brand href="/" { img src="/icon.svg" alt="" width="28" height="28"; "SES Forwarder" }
                    nav {
                        @for (path, name) in TABS {
                            a href=(path) aria-current=[(path == frame.tab).then_some("page")] { (name) }
                        }
                    }
                    @if let Some(stack) = frame.stack {
                        p.where { (stack.stack_name) " · " (stack.region) " · on this machine" }
                    }
                    p.connection role="status" hidden {}
                }
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

/// A page that says what is wrong.
pub(crate) fn problem(message: &str) -> Markup {
    let frame = Frame { title: "That did not work", stack: None, tab: "", live: None, refresh: false };
    framed(
        &frame,
        &html! {
            h1 { "That did not work" }
            p { (message) }
            p { a href="/" { "All messages" } }
        },
    )
}

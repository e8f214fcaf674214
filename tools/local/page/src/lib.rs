//! The page: what arrives, what was changed in its header, and where it went.
//!
//! It is read without JavaScript; with it, the list and an open message follow what happens. What it
//! shows comes from mail and is hostile, so all of it is escaped by the templates ([`html`]),
//! what would hide is made visible ([`shown`]), and [`guard`] lets the browser run nothing but the
//! page's own script and answers nobody but the person at this machine.
//!
//! [`list`], [`search`], [`way`], [`headers`] and [`reader`] are what is shown, read from the journal and from
//! messages; [`live`] keeps the list up to date, [`events`] tells browsers of changes, [`actions`] are the buttons, and
//! [`mail`] shows a mail that was sent by itself.

mod access;
mod actions;
mod events;
mod guard;
mod headers;
mod html;
mod list;
mod live;
mod mail;
mod message;
mod outgoing;
mod problem;
mod reader;
mod row;
mod samples;
mod search;
mod shown;
mod way;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use maud::Markup;
use serde::Deserialize;
use tokio::net::TcpListener;

pub use self::access::Access;
use self::{
    access::{PAGE, Page, Shared},
    live::Live,
    problem::problem,
    search::Search,
};

/// Entries about no message that are shown.
const OTHER_ENTRIES: usize = 200;

/// Serves until dropped.
pub async fn serve(listener: TcpListener, access: Access) -> anyhow::Result<()> {
    let live = Arc::new(Live::default());
    let following = Arc::clone(&live).follow(Arc::clone(&access.journal));
    let serving = axum::serve(listener, router(access, live)).into_future();
    tokio::select! {
        result = serving => Ok(result?),
        () = following => Ok(()),
    }
}

fn router(access: Access, live: Arc<Live>) -> Router {
    Router::new()
        .route("/", get(list_page))
        .route("/live", get(events::rows))
        .route("/messages/{id}", get(message::page))
        .route("/messages/{id}/live", get(events::message))
        .route("/messages/{id}/original", get(message::original))
        .route("/messages/{id}/outgoing/{ses_id}", get(message::outgoing))
        .route("/messages/{id}/outgoing/{ses_id}/html", get(reader::html))
        .route("/messages/{id}/outgoing/{ses_id}/attachments/{number}", get(reader::attachment))
        .route("/messages/{id}/refused", get(message::refused))
        .route("/messages/{id}/try-again", post(actions::try_again))
        .route("/messages/{id}/release", post(actions::release))
        .route("/mail/{ses_id}", get(mail::page))
        .route("/notices", get(mail::notices))
        .route("/notices/digest", post(mail::run_schedules))
        .route("/messages/{id}/answer", post(actions::answer))
        .route("/stack", get(stack_page))
        .route("/samples", post(actions::send_sample))
        .route("/faults", post(actions::inject_fault))
        .route("/faults/clear", post(actions::clear_faults))
        .route("/page.css", get(|| asset("text/css; charset=utf-8", include_str!("page.css"))))
        .route("/page.js", get(|| asset("text/javascript; charset=utf-8", include_str!("page.js"))))
        .route("/icon.svg", get(|| asset("image/svg+xml", include_str!("icon.svg"))))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "There is no such page.") })
        .layer(axum::middleware::from_fn(guard::check))
        .with_state(Arc::new(Page { access, live }))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

async fn list_page(
    State(page): Shared,
    Query(Before { before }): Query<Before>,
    Query(search): Query<Search>,
) -> Markup {
    let faults = page.access.services.faults().list();
    let list = page.live.list();
    let (rows, older) = list.page(before.as_deref(), PAGE, &search);
    html::list::page(&html::list::View {
        stack: &page.access.deployment,
        smtp: page.access.smtp,
        curl: &page.access.curl,
        search: &search,
        rows: &rows,
        older,
        total: list.len(),
        newest: before.is_none(),
        faults: &faults,
    })
}

async fn stack_page(State(page): Shared) -> Markup {
    let entries = page.access.journal.entries();
    let others = entries.iter().rev().filter(|entry| entry.message_id.is_none()).take(OTHER_ENTRIES);
    html::stack::page(&page.access.deployment, others)
}

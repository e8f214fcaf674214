//! Answers that say what is wrong.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::html;

/// A page that says what is wrong.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    (status, html::problem(message)).into_response()
}

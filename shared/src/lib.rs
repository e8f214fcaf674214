//! What both functions agree on, in the order a message meets it: the [`notification`] SES sends,
//! the [`decision`] taken on it with the [`routes`], the [`header`] rewritten, the [`outcome`]
//! recorded.
//!
//! All of it is pure: functions on borrowed bytes without I/O, clock, environment or SDK type. The calls
//! to AWS are in the crate `ses-forwarder-aws`.

pub mod address;
pub mod answers;
pub mod body;
pub mod decision;
pub mod delivery;
pub mod delivery_report;
pub mod domains;
pub mod feedback;
pub mod header;
pub mod keys;
pub mod notice_mark;
pub mod notification;
pub mod outcome;
pub mod replies;
pub mod routes;
mod sender;
pub mod sends;
pub mod settings;
mod steps;
pub mod stub;
pub mod suspended;

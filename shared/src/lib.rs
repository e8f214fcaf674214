//! What both functions agree on, in the order a message meets it: the [`notification`] SES sends,
//! the [`decision`] taken on it with the [`routes`], the [`header`] rewritten, the [`outcome`]
//! recorded.
//!
//! Everything up to here is pure: functions on borrowed bytes without I/O, clock, environment or
//! SDK type. The edge to AWS stands behind the feature `aws`: [`call`](crate::call) says how a call
//! may fail, [`clients`](crate::clients) configures the SDK, [`bucket`](crate::bucket) and
//! [`outgoing`](crate::outgoing) use it, [`function`](crate::function) starts a Lambda function.

pub mod address;
pub mod decision;
pub mod header;
pub mod keys;
pub mod notice;
pub mod notification;
pub mod outcome;
pub mod routes;
pub mod settings;

#[cfg(feature = "aws")]
pub mod bucket;
#[cfg(feature = "aws")]
pub mod call;
#[cfg(feature = "aws")]
pub mod clients;
#[cfg(feature = "aws")]
pub mod function;
#[cfg(feature = "aws")]
pub mod outgoing;

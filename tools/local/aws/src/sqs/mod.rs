//! SQS: the queues, and what is asked of them over HTTP.

mod api;
mod queue;

pub(crate) use api::refuse;
pub use queue::{Attribute, Message, Queue, Queues};

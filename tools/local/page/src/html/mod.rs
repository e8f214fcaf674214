//! HTML. Everything that is put into these templates is escaped by them.

mod frame;
pub(crate) mod list;
pub(crate) mod mail;
pub(crate) mod message;
mod reader;
pub(crate) mod stack;

pub(crate) use frame::problem;

//! The header block: found, and rewritten so that SES accepts the message and its reader still
//! sees who wrote it. The body is never looked at.
//!
//! In the order of use: `block` finds the fields, `rules` says what happens to each, `rewriting`
//! does it. Below them, `text` makes a value clean, `ascii` makes it ASCII (with `mailbox`,
//! `phrase` and `encoded_word`), `folding` writes it. `author` turns the writer of a message into a
//! mailbox at our domain.
//!
//! Everything takes time and memory linear in the header block, whatever stands in it.

mod ascii;
mod author;
mod block;
mod encoded_word;
mod facts;
mod folding;
mod mailbox;
mod phrase;
mod rewriting;
mod rules;
mod text;

pub use block::{Field, Fields, HeaderBlock, split};
pub use facts::{HeaderFacts, Marks};
pub use rewriting::{Rewrite, Rewritten, named, rewrite};

//! The header block: found, and rewritten so that SES accepts the message and its reader still
//! sees who wrote it. The body is never looked at.
//!
//! In the order of use: `block` finds the fields, `rules` says what happens to each, `rewriting` does it;
//! `answering` writes the header of what its reader answers. Below them, `charset` reads a value as clean text (`text`); `mending` makes a list of mailboxes one that
//! SES can read, `ascii` makes any other value ASCII (with `phrase`, `encoded_word` and `parameters`), `folding`
//! writes it. `author` turns the writer of a message into a mailbox at our domain, `ids` are those of a thread. What stands in a
//! structured field is read by `token`, `mailbox` and `address_spec`, each on top of the one before.
//!
//! `part` reads what the header of a part says of it.
//!
//! Everything takes time and memory linear in the header block, whatever stands in it.

mod address_spec;
mod answering;
mod ascii;
mod author;
mod block;
mod charset;
mod encoded_word;
mod facts;
mod folding;
mod ids;
mod mailbox;
mod mending;
mod parameters;
mod part;
mod phrase;
mod rewriting;
mod rules;
mod signatures;
mod signers;
mod text;
mod token;

pub use answering::{AnswerHeader, answer};
pub use author::is_made_up;
pub use block::{Field, Fields, HeaderBlock, split};
pub(crate) use encoded_word::{utf8_or_windows_1252, without_controls};
pub use facts::{HeaderFacts, Marks};
pub(crate) use part::PartFacts;
pub use rewriting::{Rewrite, Rewritten, named, recipients_at, rewrite};
pub use signatures::Signatures;

//! Who gets what, and from whom: `config/routes.toml`, looked up in the order of Postfix virtual(5).
//!
//! ```toml
//! [routes]
//! "sales@in.example" = ["ann@out.example", "bob@else.example"]
//! "abuse" = "postmaster@out.example"      # any received domain
//! "old-shop@in.example" = []              # discard
//! "old@in.example" = "refuse"             # the sender is told
//! "@in.example" = "@out.example"          # everyone else at a domain
//! "@*.in.example" = "me@out.example"      # its subdomains
//! "@" = "me@out.example"                  # everyone else at any domain
//!
//! [senders]
//! "@spam.example" = "drop"
//!
//! [senders."info@in.example"]
//! "jane@x.example" = "forward"            # past the verdicts
//!
//! [replies]
//! per-hour = 100                          # answers from an alias
//! ```
//!
//! For `user+tag@domain` the first line that is there decides, of `user+tag@domain`, `user@domain`,
//! `user+tag`, `user`, `@domain`, `@*.parent` (the longest parent first), `@`. Addresses compare
//! case-insensitively, and quotes around a local part are not part of it. A destination
//! `@other.example` keeps the recipient's local part as the sender wrote it, tag included; any other
//! destination is taken as it stands. How senders are found is told by [`senders`], what
//! may stand in `[replies]` by [`replies`].
//!
//! Not supported, and in that unlike virtual(5): chains (a destination is never looked up again; one
//! inside `EMAIL_DOMAIN` is refused, as SES would bring it back here), wildcards other than `@*.`,
//! regular expressions, and the tag of a recipient being added to a destination that is a whole address.
//!
//! <https://www.postfix.org/virtual.5.html>

mod odd;
mod pattern;
mod problem;
mod read;
pub mod replies;
pub mod senders;
mod table;

pub use pattern::How;
pub use problem::Problem;
pub use read::{Checked, FILE_MAX};
pub use table::{Match, RECIPIENTS_MAX, Routes};

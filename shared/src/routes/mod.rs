//! Who gets what: `config/routes.toml`, looked up in the order of Postfix virtual(5).
//!
//! ```toml
//! [routes]
//! "sales@in.example" = ["ann@out.example", "bob@else.example"]
//! "abuse" = "postmaster@out.example"      # any received domain
//! "old-shop@in.example" = []              # discard
//! "@in.example" = "@out.example"          # everyone else
//! ```
//!
//! For `user+tag@domain` the first line that is there decides, of `user+tag@domain`, `user@domain`,
//! `user+tag`, `user`, `@domain`. Addresses compare case-insensitively, and quotes around a local
//! part are not part of it. A destination `@other.example` keeps the recipient's local part as the
//! sender wrote it, tag included; any other destination is taken as it stands.
//!
//! Not supported, and in that unlike virtual(5): chains (a destination is never looked up again; one
//! inside `EMAIL_DOMAIN` is refused, as SES would bring it back here), wildcards, regular
//! expressions, and the tag of a recipient being added to a destination that is a whole address.
//!
//! <https://www.postfix.org/virtual.5.html>

mod odd;
mod problem;
mod read;
mod table;

pub use problem::Problem;
pub use read::{Checked, FILE_MAX};
pub use table::{How, Match, Routes};

//! What is measured and tried with the whole stack: what forwarding costs ([`bench`]), what becomes of many
//! messages while calls fail ([`load`]) or SES takes none ([`backlog`]), of spam to names that do not
//! exist ([`dictionary`]), and of one at each fault ([`reliability`]); and whether an address that nobody
//! has signed is taken for one that can be answered ([`forgery`]).

pub mod backlog;
pub mod bench;
pub mod dictionary;
pub mod forgery;
pub mod load;
pub mod reliability;

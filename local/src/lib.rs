//! All of AWS that forwarding needs, on one machine, wired by `template.yaml`.
//!
//! Mail comes in over SMTP ([`smtp`], [`receiving`]), the two real binaries run as Lambda would run
//! them ([`lambda`]), their calls are answered and checked against their roles ([`aws`],
//! [`policy`]), and everything that happens is told to the [`journal`], from which the [`page`]
//! and the command line show it. Apart from all that, [`bench`] measures what the function costs.

pub mod aws;
pub mod bench;
pub mod deployment;
pub mod diff;
pub mod journal;
pub mod lambda;
pub mod load;
pub mod page;
pub mod policy;
pub mod privacy;
pub mod receiving;
pub mod reliability;
pub mod smtp;
pub mod stack;
pub mod template;

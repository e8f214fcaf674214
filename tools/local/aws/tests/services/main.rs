//! The AWS endpoints through real HTTP: the AWS SDK as client where it can make the request, signed
//! requests by hand where it would not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper fails the test that uses it")]

mod bench;
mod bounce;
mod faults;
mod rewritten;
mod s3;
mod ses;
mod signatures;
mod sns;
mod sqs;

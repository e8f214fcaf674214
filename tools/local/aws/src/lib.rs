//! All of AWS that forwarding needs, on one machine, wired by what `template.yaml` deploys.
//!
//! Mail comes in over SMTP ([`smtp`], [`receiving`]), the two real binaries run as Lambda would run
//! them ([`lambda`]), their calls are answered and checked against their roles ([`services`]), and
//! everything that happens is told to the [`journal`].

#[cfg(not(unix))]
compile_error!("the local stack runs the functions as Unix processes: on Windows, use it in WSL 2");

pub mod auth;
mod cloudformation;
mod cloudwatch;
pub mod delivery;
mod event_bus;
pub mod faults;
mod flight;
mod functions;
pub mod journal;
pub mod lambda;
mod logs;
mod needs;
pub mod pace;
mod query;
mod receipt_rules;
pub mod receiving;
mod response;
pub mod s3;
pub mod schedules;
mod service;
pub mod services;
pub mod ses;
mod ses_address;
pub mod ses_message;
pub mod smtp;
mod sns;
pub mod sqs;

//! The thin edge of both functions to AWS: [`clients`] configures the SDK, [`call`] says how a call may
//! fail, [`bucket`] and [`outgoing`] make the calls, [`ledger`] keeps account of messages, [`function`] starts a Lambda function.

pub mod bucket;
pub mod call;
pub mod clients;
pub mod function;
pub mod ledger;
pub mod outgoing;
pub mod refusal;

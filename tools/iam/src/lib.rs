//! IAM policies as far as the template and those it is deployed beside use them: actions and resources with
//! `*` and `?`, explicit denies first, the condition operators of [`Condition::new`].
//!
//! Not supported: `NotAction`, `NotResource`, `NotPrincipal`, policy variables, conditions on keys
//! with several values, permission boundaries. Each is an error where a document is read, not a guess where
//! a call is judged.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

mod condition;
mod document;
mod pattern;
mod policy;
mod role;

pub use condition::Condition;
pub use document::{Misread, decide};
pub use pattern::arn_like;
pub use policy::{Call, Decision, Policy, Principal, Statement};
pub use role::{Grant, Role};

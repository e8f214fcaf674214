//! Settings from the environment, read once, through a lookup, into validated types. One error
//! lists everything that is wrong.

/// Everything that is wrong with the environment: a sentence a variable, each naming the variable,
/// its value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct SettingsError(pub Vec<String>);

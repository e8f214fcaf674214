//! What would become of an address or a message, from files alone: no account, no network.
//!
//! Both command lines use it, `ses-forwarder` with the settings of a deployed function and
//! `cargo local` with those that the template gives it. Each answer is a value that serialises as the
//! command's JSON and displays as its text.

pub mod diff;
pub mod message;
pub mod routes;

/// `NAME=VALUE`, for the command line.
pub fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// What a command prints: its text, or its JSON on one line.
pub fn printed<T: serde::Serialize + std::fmt::Display>(answer: &T, json: bool) -> String {
    if json {
        // Serialising to a string fails for maps with keys that are no strings only; there are none.
        serde_json::to_string(answer).expect("every answer serialises") + "\n"
    } else {
        answer.to_string()
    }
}

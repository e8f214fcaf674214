//! How the operator's notices are told from other mail: `handle-dead-letter` sends them, and
//! `handle-email` must not forward one that comes back, or notices about notices would go round.

/// Local part of the address that notices come from.
pub const SENDER: &str = "forwarder-notice";

/// Field that marks a notice; its value is the stack's name.
pub const HEADER: &str = "X-Forwarder-Notice";

/// Address that notices come from: `forwarder-notice@EMAIL_DOMAIN`, an identity that a stack that
/// forwards mail has verified already.
pub fn sender(email_domain: &str) -> String {
    format!("{SENDER}@{email_domain}")
}

//! What SMTP says of a message.

/// Who sends to whom, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Reverse-path; `None` if it is null.
    pub from: Option<String>,
    /// Forward-paths.
    pub recipients: Vec<String>,
    /// What the client called itself.
    pub helo: String,
    /// The client's IP address.
    pub peer: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

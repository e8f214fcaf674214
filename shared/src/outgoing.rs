//! Outgoing mail: SES v2 SendEmail with a body produced while it is sent.

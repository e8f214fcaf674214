//! What is wrong with a template.

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template line {line}: {message}")]
pub struct TemplateError {
    /// Line, from 1.
    pub line: usize,
    /// What was found and what is known.
    pub message: String,
}

impl TemplateError {
    pub(crate) fn at(line: usize, message: impl Into<String>) -> TemplateError {
        TemplateError { line, message: message.into() }
    }
}

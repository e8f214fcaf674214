//! `template.yaml`, evaluated.

use std::collections::BTreeMap;

use crate::deployment::Deployment;

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template line {line}: {message}")]
pub struct TemplateError {
    /// Line, from 1.
    pub line: usize,
    /// What was found and what is known.
    pub message: String,
}

/// Evaluates a template with these parameters.
pub fn evaluate(
    template: &str,
    parameters: &BTreeMap<String, String>,
    stack_name: &str,
    region: &str,
) -> Result<Deployment, TemplateError> {
    todo!("{template} {parameters:?} {stack_name} {region}")
}

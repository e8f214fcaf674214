//! Intrinsic functions as they are written, before anything is known of what they name.

use crate::{
    error::TemplateError,
    yaml::{Node, Value},
};

/// A piece of a `Fn::Sub` string.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    /// As it stands.
    Text(&'t str),
    /// `${Name}` or `${Id.Attribute}`.
    Variable(&'t str),
    /// `${!Literal}`, which yields `${Literal}`.
    Literal(&'t str),
}

/// Splits a `Fn::Sub` string; `Err` is the rest that has no closing brace.
pub(crate) fn sub_parts(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = vec![];
    let mut rest = text;
    while let Some((before, from_brace)) = rest.split_once("${") {
        let (inside, after) = from_brace.split_once('}').ok_or(from_brace)?;
        parts.push(Part::Text(before));
        parts.push(match inside.strip_prefix('!') {
            Some(literal) => Part::Literal(literal),
            None => Part::Variable(inside.trim()),
        });
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// The arguments of a function that takes exactly so many.
pub(crate) fn arguments<const N: usize>(argument: &Node) -> Result<[&Node; N], TemplateError> {
    let items: Vec<&Node> = argument.list()?.iter().collect();
    let found = items.len();
    items
        .try_into()
        .map_err(|_| TemplateError::at(argument.line, format!("expected {N} arguments, but found {found}")))
}

/// Logical id and attribute of `!GetAtt Id.Attribute` or `Fn::GetAtt: [Id, Attribute]`.
pub(crate) fn get_att(argument: &Node) -> Result<(&str, &str), TemplateError> {
    match &argument.value {
        Value::List(_) => {
            let [id, attribute] = arguments(argument)?;
            Ok((id.text()?, attribute.text()?))
        }
        _ => argument.text()?.split_once('.').ok_or_else(|| argument.expected("Id.Attribute")),
    }
}

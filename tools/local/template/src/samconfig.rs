//! `samconfig.toml`: the stack's name, region and parameters that `sam deploy` would use.
//!
//! Read are `[default.global.parameters]`, over it `[default.local_invoke.parameters]`, which is for
//! trying on this machine, and over that `[default.deploy.parameters]`, where `sam deploy --guided`
//! keeps its answers: `stack_name`, `region` and `parameter_overrides`, the latter as one string
//! (`"A=1 B=\"two words\""`) or as a list of such strings. Other environments than `default` are not read.

use std::collections::BTreeMap;

/// What of `samconfig.toml` matters to a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SamConfig {
    /// `stack_name`.
    pub stack_name: Option<String>,
    /// `region`.
    pub region: Option<String>,
    /// `parameter_overrides`.
    pub parameters: BTreeMap<String, String>,
}

impl SamConfig {
    /// Reads the file's text; an error is a sentence that names what is wrong.
    pub fn read(text: &str) -> Result<SamConfig, String> {
        let file: toml::Table = text.parse().map_err(|error| format!("samconfig.toml: {error}"))?;
        let mut config = SamConfig::default();
        for command in ["global", "local_invoke", "deploy"] {
            let Some(parameters) = ["default", command, "parameters"]
                .iter()
                .try_fold(&file, |table, key| table.get(*key)?.as_table())
            else {
                continue;
            };
            if let Some(value) = parameters.get("stack_name") {
                config.stack_name = Some(string("stack_name", value)?.to_owned());
            }
            if let Some(value) = parameters.get("region") {
                config.region = Some(string("region", value)?.to_owned());
            }
            if let Some(value) = parameters.get("parameter_overrides") {
                let lines = match value {
                    toml::Value::Array(items) => items.as_slice(),
                    other => std::slice::from_ref(other),
                };
                for line in lines {
                    config.parameters.extend(overrides(string("parameter_overrides", line)?)?);
                }
            }
        }
        Ok(config)
    }
}

fn string<'t>(name: &str, value: &'t toml::Value) -> Result<&'t str, String> {
    value.as_str().ok_or_else(|| format!("samconfig.toml: {name} should be a string, but is {value}"))
}

/// `Key=value` pairs apart by white space; quotes hold a value together, a backslash keeps a quote.
fn overrides(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("samconfig.toml: parameter_overrides has a quote that is never closed: {text}"));
    }
    words.extend(word);
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => {
                Err(format!("samconfig.toml: parameter_overrides should hold Name=value, but has {word:?}"))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(stack_name: Option<&str>, region: Option<&str>, parameters: &[(&str, &str)]) -> SamConfig {
        SamConfig {
            stack_name: stack_name.map(str::to_owned),
            region: region.map(str::to_owned),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn ok_files() {
        let cases = [
            ("version = 0.1", config(None, None, &[])),
            (
                "[default.deploy.parameters]\nstack_name = 'mail'\nregion = 'eu-west-1'\n\
                 parameter_overrides = 'A=\"in.example\" B=\"two \\\"words\\\"\" C= D=a=b'",
                config(
                    Some("mail"),
                    Some("eu-west-1"),
                    &[("A", "in.example"), ("B", "two \"words\""), ("C", ""), ("D", "a=b")],
                ),
            ),
            (
                "[default.global.parameters]\nstack_name = 'mail'\n[default.deploy.parameters]\n\
                 parameter_overrides = ['A=1', 'B=two']\ncapabilities = 'CAPABILITY_IAM'",
                config(Some("mail"), None, &[("A", "1"), ("B", "two")]),
            ),
            ("[prod.deploy.parameters]\nstack_name = 'other'", config(None, None, &[])),
        ];
        for (text, expected) in cases {
            assert_eq!(SamConfig::read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn err_tells_what_is_wrong() {
        let cases = [
            ("[default.deploy.parameters]\nstack_name = 1", "stack_name should be a string, but is 1"),
            (
                "[default.deploy.parameters]\nparameter_overrides = 'A'",
                "should hold Name=value, but has \"A\"",
            ),
            ("[default.deploy.parameters]\nparameter_overrides = 'A=\"b'", "a quote that is never closed"),
            ("[default", "samconfig.toml: TOML parse error at line 1"),
        ];
        for (text, message) in cases {
            let error = SamConfig::read(text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}

//! Patterns with `*` and `?`.

/// Action names have no case.
pub(crate) fn action_like(pattern: &str, action: &str) -> bool {
    like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// What `Resource` names: a wildcard of one of the first five parts of an ARN stays within that part, except a `*`
/// that ends one, which runs on over any colons. So `arn:aws:s3:*` is all of S3, which as the value of a condition it
/// is [not](arn_like).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
pub(crate) fn resource_like(pattern: &str, arn: &str) -> bool {
    let arn: Vec<char> = arn.chars().collect();
    // The lengths at which a beginning of the ARN is what the pattern so far stands for.
    let mut reached = vec![false; arn.len() + 1];
    reached[0] = true;
    let mut colons = 0;
    let mut pattern = pattern.chars().peekable();
    while let Some(c) = pattern.next() {
        colons += usize::from(c == ':');
        let is_last_part = colons >= 5;
        if c == '*' {
            let runs_on = is_last_part || matches!(pattern.peek(), None | Some(':'));
            for length in 1..=arn.len() {
                reached[length] |= reached[length - 1] && (runs_on || arn[length - 1] != ':');
            }
        } else {
            for length in (1..=arn.len()).rev() {
                let next = arn[length - 1];
                let is_next = c == next || (c == '?' && (is_last_part || next != ':'));
                reached[length] = reached[length - 1] && is_next;
            }
            reached[0] = false;
        }
    }
    reached[arn.len()]
}

/// What the value of a condition on an ARN names: a wildcard of one of the first five parts stays within that part.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>
pub fn arn_like(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let patterns: Vec<_> = pattern.splitn(6, ':').collect();
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| like(pattern, part))
}

/// `*` stands for any characters, `?` for one.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on from if what follows the last star does not fit: one character further.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_that_ends_a_part_of_a_resource_runs_on() {
        let object = "arn:aws:s3:::mail/messages/x";
        let identity = "arn:aws:ses:eu-west-1:1:identity/in.example";
        let stream = "arn:aws:logs:eu-west-1:1:log-group:g:log-stream:s";
        for (pattern, arn, as_resource, as_condition) in [
            ("*", object, true, true),
            ("arn:*", object, true, false),
            ("arn:aws:s3:*", object, true, false),
            ("arn:aws:s3*", object, true, false),
            ("arn:aws:ses:*", object, false, false),
            ("arn:aws:ses:*", identity, true, false),
            ("arn:aws:ses:*:identity/*", identity, true, false),
            ("arn:aws:ses:*:1:identity/*", identity, true, true),
            ("arn:aws:ses:*:2:identity/*", identity, false, false),
            ("arn:aws:ses:eu*1:1:identity/*", identity, true, true),
            ("arn:aws:s*1:1:identity/*", identity, false, false),
            ("arn:aws:s?s:eu-west-1:1:*", identity, true, true),
            ("arn:aws:ses:eu-west-1?1:identity/*", identity, false, false),
            ("arn:*:log-stream:s", stream, true, false),
            ("arn:aws:logs:*:*:log-group:*s", stream, true, true),
            ("arn:aws:logs:*:*:log-group?g:*", stream, true, true),
            ("arn:aws:s3:::mail", object, false, false),
            ("arn:aws:s3:::mail/*/y", object, false, false),
            ("", object, false, false),
        ] {
            let found = (resource_like(pattern, arn), arn_like(pattern, arn));
            assert_eq!(found, (as_resource, as_condition), "{pattern} {arn}");
        }
    }

    proptest! {
        /// The matcher agrees with the same pattern as a regular expression.
        #[test]
        fn like_is_a_regular_expression(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let expression: String = pattern
                .chars()
                .map(|c| match c {
                    '*' => ".*".to_owned(),
                    '?' => ".".to_owned(),
                    c => c.to_string(),
                })
                .collect();
            let expected = fancy_regex::Regex::new(&format!("^{expression}$")).unwrap().is_match(&text).unwrap();
            prop_assert_eq!(like(&pattern, &text), expected);
        }
    }
}

//! What led to an invocation: the trace header, by which Lambda tells functions that go round in circles.
//!
//! Each function that a chain of events passes is counted in the header's `Lineage`; the SDK hands the
//! header on with each call that a function makes, and SQS with each message. A function that a chain
//! passes more than [`TURNS`] times is stopped, unless it has `RecursiveLoop: Allow`.
//!
//! Deviations: the form of `Lineage` is not documented, so here it is names and counts. Nor is it whether a
//! message that is delivered again makes another turn; here it does, so that no template passes that might
//! be stopped on AWS.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>

use std::{collections::BTreeMap, fmt, time::SystemTime};

use ses_forwarder_local_template::deployment::Function;

use super::error::InvocationError;

/// How often a chain of events may pass a function ("approximately 16 times").
const TURNS: u32 = 16;

/// What led to an invocation, that invocation included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    root: String,
    lineage: BTreeMap<String, u32>,
}

impl Trace {
    /// What a header says; a new trace if there is none.
    pub(super) fn of(header: Option<&str>) -> Trace {
        let fields =
            || header.unwrap_or_default().split(';').filter_map(|field| field.trim().split_once('='));
        let field =
            |name: &str| fields().find(|(other, _)| *other == name).map(|(_, value)| value.to_owned());
        let passed = field("Lineage").unwrap_or_default();
        let passed = passed.split('|').filter_map(|passed| {
            let (function, turns) = passed.split_once(':')?;
            Some((function.to_owned(), turns.parse().ok()?))
        });
        Trace { root: field("Root").unwrap_or_else(root), lineage: passed.collect() }
    }

    /// The same after `turns` more of a function; an error if Lambda stops it.
    pub(super) fn through(mut self, function: &Function, turns: u32) -> Result<Trace, InvocationError> {
        let count = self.lineage.entry(function.name.clone()).or_default();
        *count = count.saturating_add(turns);
        if *count > TURNS && !function.may_recur {
            let message = format!(
                "Lambda has detected {} being invoked in a recursive loop and stopped it after {TURNS} turns",
                function.name
            );
            return Err(InvocationError::new("RecursiveInvocationException", message));
        }
        Ok(self)
    }
}

impl fmt::Display for Trace {
    /// As the header has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = uuid::Uuid::new_v4().simple().to_string();
        write!(f, "Root={};Parent={};Sampled=0;Lineage=", self.root, &parent[..16])?;
        for (number, (function, turns)) in self.lineage.iter().enumerate() {
            let separator = if number == 0 { "" } else { "|" };
            write!(f, "{separator}{function}:{turns}")?;
        }
        Ok(())
    }
}

/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
fn root() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("1-{:08x}-{}", now.as_secs(), &random[..24])
}

#[cfg(test)]
mod tests {
    use ses_forwarder_local_template::evaluate;

    use super::*;

    fn function(may_recur: bool) -> Function {
        let template =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../template.yaml"));
        let parameters = [("EmailDomain", "in.example"), ("DestinationDomain", "out.example")];
        let parameters = parameters.into_iter().chain([("NoticeAddress", "operator@out.example")]);
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut deployment = evaluate(&template.unwrap(), &parameters, "s", "us-east-1").unwrap();
        Function { may_recur, ..deployment.functions.remove(0) }
    }

    #[test]
    fn a_chain_is_stopped_after_sixteen_turns_unless_it_may_go_on() {
        for (may_recur, expected) in [(false, 16), (true, 40)] {
            let function = function(may_recur);
            let mut header = None;
            let mut turns = 0;
            while turns < 40 {
                let trace = Trace::of(header.as_deref());
                match trace.through(&function, 1) {
                    Ok(trace) => header = Some(trace.to_string()),
                    Err(error) => {
                        assert_eq!(error.error_type, "RecursiveInvocationException");
                        break;
                    }
                }
                turns += 1;
            }
            assert_eq!(turns, expected);
        }
    }

    #[test]
    fn a_header_keeps_its_root() {
        let function = function(false);
        let first = Trace::of(None).through(&function, 2).unwrap();
        let again = Trace::of(Some(&first.to_string()));
        assert_eq!(again, first);
        assert_eq!(Trace::of(Some("Root=1-2-3;Sampled=1")).root, "1-2-3");
        assert_eq!(Trace::of(Some("nonsense")).lineage, BTreeMap::new());
    }
}

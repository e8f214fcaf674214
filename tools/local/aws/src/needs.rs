//! What a caller must be allowed to do for a call.

use std::collections::BTreeMap;

use ses_forwarder_iam::{Call, Policy};

/// An action a call needs to be allowed.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) action: &'static str,
    pub(crate) resource: String,
    context: BTreeMap<String, String>,
    /// The policy of the resource itself, if it can have one.
    pub(crate) resource_policy: Option<Policy>,
}

impl Needs {
    pub(crate) fn new(action: &'static str, resource: impl Into<String>) -> Needs {
        // Loopback stands for TLS.
        let context = BTreeMap::from([("aws:SecureTransport".to_owned(), "true".to_owned())]);
        Needs { action, resource: resource.into(), context, resource_policy: None }
    }

    pub(crate) fn with(mut self, key: &str, value: &str) -> Needs {
        self.context.insert(key.to_owned(), value.to_owned());
        self
    }
}

impl From<Needs> for Call {
    fn from(needs: Needs) -> Call {
        Call { action: needs.action.to_owned(), resource: needs.resource, context: needs.context }
    }
}

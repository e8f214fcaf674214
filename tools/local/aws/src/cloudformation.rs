//! CloudFormation: the one stack, as DescribeStacks tells of it.
//!
//! Not supported: everything that makes or changes a stack; `cargo local` does that when it starts.
//!
//! Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>

use std::sync::Arc;

use ses_forwarder_local_template::deployment::Deployment;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    auth::Caller,
    flight::Flight,
    needs::Needs,
    query::{self, Form, element},
    response::{Refusal, Response},
};

/// The stack of a deployment.
#[derive(Debug)]
pub(super) struct Stack {
    name: String,
    id: String,
    /// `DescribeStacks`' member, as XML.
    description: String,
}

impl Stack {
    pub(super) fn new(deployment: &Deployment) -> Stack {
        let Deployment { region, account, stack_name: name, .. } = deployment;
        let id = format!("arn:aws:cloudformation:{region}:{account}:stack/{name}/{}", uuid::Uuid::new_v4());
        let created = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let pairs = |values: &std::collections::BTreeMap<String, String>, kind: &str| {
            let member = |(key, value): (&String, &String)| {
                let (key, value) =
                    (element(&format!("{kind}Key"), key), element(&format!("{kind}Value"), value));
                format!("<member>{key}{value}</member>")
            };
            values.iter().map(member).collect::<String>()
        };
        let description = [
            element("StackId", &id),
            element("StackName", name),
            element("CreationTime", &created),
            element("StackStatus", "CREATE_COMPLETE"),
            format!("<Parameters>{}</Parameters>", pairs(&deployment.parameters, "Parameter")),
            format!("<Outputs>{}</Outputs>", pairs(&deployment.outputs, "Output")),
        ];
        Stack { name: name.clone(), id, description: description.concat() }
    }

    /// Answers a call.
    pub(super) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        let form = Form::parse(body)?;
        match form.action() {
            "DescribeStacks" => {
                let wanted = form.get("StackName");
                let resource = wanted.unwrap_or("*");
                let needs = Needs::new("cloudformation:DescribeStacks", resource);
                flight
                    .admit(&caller, "cloudformation:DescribeStacks", resource, resource, vec![needs])
                    .await?;
                if let Some(wanted) = wanted.filter(|wanted| *wanted != self.name && *wanted != self.id) {
                    let message = format!("Stack with id {wanted} does not exist");
                    return Err(Refusal::new(400, "ValidationError", message));
                }
                let result = format!("<Stacks><member>{}</member></Stacks>", self.description);
                Ok(query::response("DescribeStacks", query::CLOUDFORMATION, &flight.request_id, &result))
            }
            other => Err(query::unknown_action(other)),
        }
    }
}

//! CloudFormation: the one stack, as DescribeStacks tells of it, the roles and alarms in it, and its end.
//!
//! Not supported: everything that makes or changes a stack; `cargo local` does that when it starts. A
//! stack that is deleted is not told of any more, and works on.
//!
//! Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

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
    /// Each role and alarm.
    resources: Vec<Resource>,
    deleted: AtomicBool,
}

/// A resource of the stack.
#[derive(Debug)]
struct Resource {
    kind: &'static str,
    logical_id: String,
    physical_id: String,
}

impl Resource {
    /// One that CloudFormation has named after the stack and the logical id.
    fn named(kind: &'static str, stack: &str, name: &str) -> Resource {
        let logical_id = name.strip_prefix(&format!("{stack}-")).unwrap_or(name).to_owned();
        Resource { kind, logical_id, physical_id: name.to_owned() }
    }

    /// As `DescribeStackResources` has it, XML.
    fn member(&self) -> String {
        let parts = [
            element("LogicalResourceId", &self.logical_id),
            element("PhysicalResourceId", &self.physical_id),
            element("ResourceType", self.kind),
            element("ResourceStatus", "CREATE_COMPLETE"),
            element("Timestamp", "2026-01-01T00:00:00Z"),
        ];
        format!("<member>{}</member>", parts.concat())
    }
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
        let roles = deployment.functions.iter().map(|function| {
            let arn = &function.role.arn;
            Resource::named("AWS::IAM::Role", name, arn.rsplit('/').next().unwrap_or(arn))
        });
        let alarms = deployment.alarms.iter();
        let alarms = alarms.map(|alarm| Resource::named("AWS::CloudWatch::Alarm", name, &alarm.name));
        Stack {
            name: name.clone(),
            id,
            description: description.concat(),
            resources: roles.chain(alarms).collect(),
            deleted: AtomicBool::new(false),
        }
    }

    /// Answers a call.
    pub(super) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        let form = Form::parse(body)?;
        let action = match form.action() {
            "DeleteStack" => "cloudformation:DeleteStack",
            "DescribeStackResources" => "cloudformation:DescribeStackResources",
            "DescribeStacks" => "cloudformation:DescribeStacks",
            other => return Err(query::unknown_action(other)),
        };
        let wanted = form.get("StackName");
        let resource = wanted.unwrap_or("*");
        flight.admit(&caller, action, resource, resource, vec![Needs::new(action, resource)]).await?;
        let deleted = self.deleted.load(Ordering::Relaxed);
        if let Some(wanted) = wanted.filter(|wanted| deleted || (*wanted != self.name && *wanted != self.id))
        {
            let message = format!("Stack with id {wanted} does not exist");
            return Err(Refusal::new(400, "ValidationError", message));
        }
        let result = match action {
            "cloudformation:DeleteStack" => {
                self.deleted.store(true, Ordering::Relaxed);
                String::new()
            }
            "cloudformation:DescribeStackResources" => self.resources(form.get("LogicalResourceId"))?,
            _ if deleted => "<Stacks/>".to_owned(),
            _ => format!("<Stacks><member>{}</member></Stacks>", self.description),
        };
        Ok(query::response(form.action(), query::CLOUDFORMATION, &flight.request_id, &result))
    }

    /// The roles and alarms, or one of them.
    fn resources(&self, logical_id: Option<&str>) -> Result<String, Refusal> {
        let is_wanted = |resource: &&Resource| logical_id.is_none_or(|wanted| wanted == resource.logical_id);
        let members: String = self.resources.iter().filter(is_wanted).map(Resource::member).collect();
        if let (Some(wanted), true) = (logical_id, members.is_empty()) {
            let message = format!("Resource {wanted} does not exist for stack {}", self.name);
            return Err(Refusal::new(400, "ValidationError", message));
        }
        Ok(format!("<StackResources>{members}</StackResources>"))
    }
}

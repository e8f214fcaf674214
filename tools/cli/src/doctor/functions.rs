//! The two functions: whether they run, as whom, and who invokes them.

use anyhow::Context;
use aws_sdk_lambda::{
    operation::get_function_configuration::GetFunctionConfigurationOutput,
    types::{LastUpdateStatus, State},
};

use super::{Finding, deploy};
use crate::{
    clients::Clients,
    deployed::{Deployed, outputs},
};

pub(super) const HANDLE_EMAIL: &str = "handle-email";
pub(super) const HANDLE_DEAD_LETTER: &str = "handle-dead-letter";

/// Logical ids of the roles in the template.
const ROLES: [(&str, &str); 2] =
    [(HANDLE_EMAIL, "HandleEmailRole"), (HANDLE_DEAD_LETTER, "HandleDeadLetterRole")];

/// Whether `handle-email` runs, and what it can't do is kept.
pub(super) async fn handle_email(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let function = deployed.handle_email()?;
    if let Some(finding) = state(HANDLE_EMAIL, deployed, function) {
        return Ok(finding);
    }
    if let Some(finding) = limit(clients, HANDLE_EMAIL, deployed, function).await? {
        return Ok(finding);
    }
    if let Some(finding) = role(clients, HANDLE_EMAIL, deployed, function).await? {
        return Ok(finding);
    }
    let Deployed { partition, region, account, .. } = deployed;
    let queue = deployed.output(outputs::QUEUE)?.rsplit('/').next().unwrap_or_default();
    let target = function.dead_letter_config();
    let target = target.and_then(|config| config.target_arn()).unwrap_or_default();
    if target.rsplit(':').next() != Some(queue) {
        let found = match target {
            "" => "it has no dead-letter queue, so what fails is lost".to_owned(),
            target => format!("its dead letters go to {target}, not to {queue}"),
        };
        let queue = format!("--dead-letter-config TargetArn=arn:{partition}:sqs:{region}:{account}:{queue}");
        return Ok(Finding::wrong(HANDLE_EMAIL, found, configure(deployed, function, &queue)));
    }
    Ok(Finding::ok(HANDLE_EMAIL, "it is active, with the stack's role and dead-letter queue"))
}

/// Whether `handle-dead-letter` runs, and is given the dead letters and what SES says of mail that was forwarded.
pub(super) async fn handle_dead_letter(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let function = deployed.handle_dead_letter()?;
    if let Some(finding) = state(HANDLE_DEAD_LETTER, deployed, function) {
        return Ok(finding);
    }
    if let Some(finding) = limit(clients, HANDLE_DEAD_LETTER, deployed, function).await? {
        return Ok(finding);
    }
    if let Some(finding) = role(clients, HANDLE_DEAD_LETTER, deployed, function).await? {
        return Ok(finding);
    }
    for queue in [outputs::QUEUE, outputs::FEEDBACK_QUEUE] {
        if let Some(finding) = trigger(clients, deployed, queue).await? {
            return Ok(finding);
        }
    }
    Ok(Finding::ok(
        HANDLE_DEAD_LETTER,
        "it is active, with the stack's role, and given dead letters and what SES says of mail",
    ))
}

/// What keeps `handle-dead-letter` from being given what is in a queue.
async fn trigger(
    clients: &Clients,
    deployed: &Deployed,
    output: &'static str,
) -> anyhow::Result<Option<Finding>> {
    let name = deployed.output(outputs::HANDLE_DEAD_LETTER)?;
    let queue = deployed.output(output)?.rsplit('/').next().unwrap_or_default();
    let mappings = clients.lambda.list_event_source_mappings().function_name(name).send().await;
    let mappings = mappings.with_context(|| format!("Lambda does not tell what invokes {name}"))?;
    let of_queue = |arn: Option<&str>| arn.and_then(|arn| arn.rsplit(':').next()) == Some(queue);
    let mapping =
        mappings.event_source_mappings().iter().find(|mapping| of_queue(mapping.event_source_arn()));
    let Some(mapping) = mapping else {
        let found = format!("it is not given what is in {queue}");
        return Ok(Some(Finding::wrong(HANDLE_DEAD_LETTER, found, deploy(deployed))));
    };
    Ok(match (mapping.state().unwrap_or("Enabled"), mapping.uuid().unwrap_or_default()) {
        ("Enabled" | "Enabling" | "Updating" | "Creating", _) => None,
        (state, uuid) => Some(Finding::wrong(
            HANDLE_DEAD_LETTER,
            format!("what is in {queue} is not given to it: {state}"),
            format!(
                "aws lambda update-event-source-mapping --region {} --uuid {uuid} --enabled",
                deployed.region
            ),
        )),
    })
}

/// The command that configures a function so.
fn configure(deployed: &Deployed, function: &GetFunctionConfigurationOutput, how: &str) -> String {
    format!(
        "aws lambda update-function-configuration --region {} --function-name {} {how}",
        deployed.region,
        function.function_name().unwrap_or_default()
    )
}

/// What keeps a function from running.
fn state(
    check: &'static str,
    deployed: &Deployed,
    function: &GetFunctionConfigurationOutput,
) -> Option<Finding> {
    let name = function.function_name().unwrap_or_default();
    if let Some(state) = function.state().filter(|state| **state != State::Active) {
        let reason = function.state_reason().unwrap_or("without a reason");
        // An idle function of long ago is made ready by the next invocation.
        return Some(if *state == State::Inactive {
            let fix =
                format!("aws lambda invoke --region {} --function-name {name} /dev/null", deployed.region);
            Finding::warning(check, format!("it is {state}: {reason}"), fix)
        } else {
            Finding::wrong(check, format!("it is {state}: {reason}"), deploy(deployed))
        });
    }
    if function.last_update_status() == Some(&LastUpdateStatus::Failed) {
        let reason = function.last_update_status_reason().unwrap_or("without a reason");
        return Some(Finding::wrong(check, format!("its last update failed: {reason}"), deploy(deployed)));
    }
    None
}

/// Whether a function is kept from running by a limit of its own.
async fn limit(
    clients: &Clients,
    check: &'static str,
    deployed: &Deployed,
    function: &GetFunctionConfigurationOutput,
) -> anyhow::Result<Option<Finding>> {
    let name = function.function_name().unwrap_or_default();
    let limit = clients.lambda.get_function_concurrency().function_name(name).send().await;
    let limit = limit.with_context(|| format!("Lambda does not tell the reserved concurrency of {name}"))?;
    Ok((limit.reserved_concurrent_executions() == Some(0)).then(|| {
        let fix = format!(
            "aws lambda delete-function-concurrency --region {} --function-name {name}",
            deployed.region
        );
        Finding::wrong(check, "it is switched off: its reserved concurrency is 0", fix)
    }))
}

/// Whether a function runs as the role that the stack has for it.
async fn role(
    clients: &Clients,
    check: &'static str,
    deployed: &Deployed,
    function: &GetFunctionConfigurationOutput,
) -> anyhow::Result<Option<Finding>> {
    let Some((_, logical_id)) = ROLES.iter().find(|(name, _)| *name == check) else { return Ok(None) };
    let request = clients.cloudformation.describe_stack_resources().stack_name(&deployed.stack);
    let answer = request.logical_resource_id(*logical_id).send().await;
    let answer = answer.with_context(|| format!("CloudFormation does not tell of {logical_id}"))?;
    let wanted = answer.stack_resources().first().and_then(|resource| resource.physical_resource_id());
    let role = function.role().unwrap_or_default();
    let name = role.rsplit('/').next().unwrap_or_default();
    Ok(match wanted {
        Some(wanted) if wanted == name => None,
        Some(wanted) => Some(Finding::wrong(
            check,
            format!("it runs as {name}, not as the stack's role {wanted}"),
            configure(
                deployed,
                function,
                &format!("--role arn:{}:iam::{}:role/{wanted}", deployed.partition, deployed.account),
            ),
        )),
        None => Some(Finding::wrong(check, format!("the stack has no {logical_id}"), deploy(deployed))),
    })
}

//! What SES says of mail that was forwarded: whether it tells EventBridge, whose rule has it come here.

use anyhow::Context;
use aws_sdk_sesv2::{
    operation::get_configuration_set_event_destinations::GetConfigurationSetEventDestinationsError,
    types::{EventDestination, EventType},
};

use super::{Finding, deploy};
use crate::{clients::Clients, deployed::Deployed};

pub(super) const FEEDBACK: &str = "feedback";

/// What the template has SES tell.
const TOLD: [EventType; 4] =
    [EventType::Bounce, EventType::Complaint, EventType::DeliveryDelay, EventType::Reject];

/// What an event destination is called that is made by hand.
const NAME: &str = "feedback";

/// Whether SES tells EventBridge what becomes of mail that is sent with the configuration set.
/// <https://docs.aws.amazon.com/ses/latest/dg/monitor-sending-using-event-publishing-setup.html>
pub(super) async fn feedback(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let Some(name) = deployed.settings()?.configuration_set.as_deref() else {
        let found = "mail is sent without a configuration set, so SES tells nobody what becomes of it";
        return Ok(Finding::warning(FEEDBACK, found, deploy(deployed)));
    };
    let request = clients.sesv2.get_configuration_set_event_destinations().configuration_set_name(name);
    match request.send().await {
        Ok(answer) => {
            let Deployed { partition, region, account, .. } = deployed;
            // SES speaks to no other bus.
            let bus = format!("arn:{partition}:events:{region}:{account}:event-bus/default");
            Ok(judge(&Set { name, region, bus: &bus }, answer.event_destinations()))
        }
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetConfigurationSetEventDestinationsError::is_not_found_exception) =>
        {
            Ok(Finding::wrong(FEEDBACK, format!("there is no {name}"), deploy(deployed)))
        }
        Err(error) => {
            Err(error).with_context(|| format!("SES does not tell the event destinations of {name}"))
        }
    }
}

/// A configuration set, and the bus that it is to tell.
struct Set<'a> {
    name: &'a str,
    region: &'a str,
    bus: &'a str,
}

fn judge(set: &Set<'_>, destinations: &[EventDestination]) -> Finding {
    let name = set.name;
    let to_bus = || destinations.iter().filter(|one| one.event_bridge_destination().is_some());
    let is_told =
        |kind: &EventType| to_bus().any(|one| one.enabled() && one.matching_event_types().contains(kind));
    let missing: Vec<_> = TOLD.into_iter().filter(|kind| !is_told(kind)).collect();
    if missing.is_empty() {
        return Finding::ok(FEEDBACK, format!("SES tells what becomes of mail that is sent with {name}"));
    }
    // A set of yours may have one of yours beside the stack's.
    let Some(mended) = to_bus().find(|one| !one.enabled()).or_else(|| to_bus().next()) else {
        let found = format!("{name} has no event destination, so SES tells nobody what becomes of mail");
        return Finding::wrong(FEEDBACK, found, set.command("create", NAME, &TOLD));
    };
    let found = if mended.enabled() {
        format!("{} of {name} tells nothing of {}", mended.name(), words(&missing).join(", "))
    } else {
        format!("{} of {name} is switched off, so SES tells nobody what becomes of mail", mended.name())
    };
    let mut kinds = mended.matching_event_types().to_vec();
    kinds.extend(missing.into_iter().filter(|kind| !mended.matching_event_types().contains(kind)));
    Finding::wrong(FEEDBACK, found, set.command("update", mended.name(), &kinds))
}

impl Set<'_> {
    /// The command that has an event destination tell the bus of these.
    fn command(&self, verb: &str, destination: &str, kinds: &[EventType]) -> String {
        format!(
            "aws sesv2 {verb}-configuration-set-event-destination --region {} --configuration-set-name {} \
             --event-destination-name {destination} --event-destination \
             'Enabled=true,MatchingEventTypes=[{}],EventBridgeDestination={{EventBusArn={}}}'",
            self.region,
            self.name,
            words(kinds).join(","),
            self.bus
        )
    }
}

fn words(kinds: &[EventType]) -> Vec<&str> {
    kinds.iter().map(EventType::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use aws_sdk_sesv2::types::{EventBridgeDestination, builders::EventDestinationBuilder};

    fn destination(name: &str, enabled: bool, kinds: &[EventType]) -> EventDestinationBuilder {
        let bus = EventBridgeDestination::builder().event_bus_arn("arn:bus").build().unwrap();
        EventDestination::builder()
            .name(name)
            .enabled(enabled)
            .set_matching_event_types(Some(kinds.to_vec()))
            .event_bridge_destination(bus)
    }

    #[test]
    fn event_destinations() {
        let elsewhere = destination("theirs", true, &TOLD).set_event_bridge_destination(None);
        let opens = [EventType::Open];
        for (destinations, found, command) in [
            (
                vec![destination("ours", true, &TOLD)],
                "SES tells what becomes of mail that is sent with set",
                None,
            ),
            (
                vec![destination("a", true, &TOLD[..1]), destination("b", true, &TOLD[1..])],
                "SES tells what becomes of mail that is sent with set",
                None,
            ),
            (
                vec![],
                "set has no event destination, so SES tells nobody what becomes of mail",
                Some(("create", "feedback", "BOUNCE,COMPLAINT,DELIVERY_DELAY,REJECT")),
            ),
            (
                vec![elsewhere],
                "set has no event destination, so SES tells nobody what becomes of mail",
                Some(("create", "feedback", "BOUNCE,COMPLAINT,DELIVERY_DELAY,REJECT")),
            ),
            (
                vec![destination("theirs", true, &opens), destination("ours", false, &TOLD)],
                "ours of set is switched off, so SES tells nobody what becomes of mail",
                Some(("update", "ours", "BOUNCE,COMPLAINT,DELIVERY_DELAY,REJECT")),
            ),
            (
                vec![destination("ours", true, &[EventType::Open, EventType::Bounce])],
                "ours of set tells nothing of COMPLAINT, DELIVERY_DELAY, REJECT",
                Some(("update", "ours", "OPEN,BOUNCE,COMPLAINT,DELIVERY_DELAY,REJECT")),
            ),
        ] {
            let destinations: Vec<_> = destinations.into_iter().map(|one| one.build().unwrap()).collect();
            let finding = judge(&Set { name: "set", region: "r", bus: "arn:bus" }, &destinations);
            let fix = command.map(|(verb, name, kinds)| {
                format!(
                    "aws sesv2 {verb}-configuration-set-event-destination --region r --configuration-set-name set \
                     --event-destination-name {name} --event-destination \
                     'Enabled=true,MatchingEventTypes=[{kinds}],EventBridgeDestination={{EventBusArn=arn:bus}}'"
                )
            });
            let state = if fix.is_some() { State::Wrong } else { State::Ok };
            assert_eq!((finding.state, &*finding.found, finding.fix), (state, found, fix));
        }
    }
}

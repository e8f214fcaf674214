//! How much of what the account sends bounces or is complained of, as SES counts it and judges the account by.
//!
//! <https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html>

use anyhow::Context;
use aws_sdk_cloudwatch::{primitives::DateTime, types::Statistic};

use super::Finding;
use crate::{clients::Clients, deployed::Deployed};

pub(super) const REPUTATION: &str = "bounces and complaints";

/// How far back to look, in seconds: SES publishes the rates while mail is sent.
const SINCE: u64 = 3 * 24 * 60 * 60;

/// A rate and its limits: from where on to warn, as the template's alarms do, where SES reviews an account, and
/// where it may pause it.
struct Rate {
    metric: &'static str,
    what: &'static str,
    warning: f64,
    review: f64,
    pause: f64,
}

const BOUNCES: Rate =
    Rate { metric: "Reputation.BounceRate", what: "bounces", warning: 0.03, review: 0.05, pause: 0.1 };
const COMPLAINTS: Rate = Rate {
    metric: "Reputation.ComplaintRate",
    what: "is complained of",
    warning: 0.0005,
    review: 0.001,
    pause: 0.005,
};

/// The account's rates.
pub(super) async fn reputation(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let bounces = latest(clients, BOUNCES.metric).await?;
    let complaints = latest(clients, COMPLAINTS.metric).await?;
    Ok(judge(bounces, complaints, &deployed.region, &deployed.stack))
}

/// The last value of a metric; `None` if SES has told none.
async fn latest(clients: &Clients, metric: &str) -> anyhow::Result<Option<f64>> {
    let now = std::time::SystemTime::now();
    let from = now.checked_sub(std::time::Duration::from_secs(SINCE)).unwrap_or(now);
    let answer = clients
        .cloudwatch
        .get_metric_statistics()
        .namespace("AWS/SES")
        .metric_name(metric)
        .start_time(DateTime::from(from))
        .end_time(DateTime::from(now))
        .period(3600)
        .statistics(Statistic::Maximum)
        .send()
        .await
        .with_context(|| format!("CloudWatch does not tell {metric}"))?;
    let last = answer.datapoints().iter().max_by_key(|point| point.timestamp().map(DateTime::as_nanos));
    Ok(last.and_then(aws_sdk_cloudwatch::types::Datapoint::maximum))
}

fn judge(bounces: Option<f64>, complaints: Option<f64>, region: &str, stack: &str) -> Finding {
    let told = [(&BOUNCES, bounces), (&COMPLAINTS, complaints)];
    let rates: Vec<_> = told.iter().filter_map(|(rate, value)| Some((*rate, (*value)?))).collect();
    if rates.is_empty() {
        return Finding::ok(REPUTATION, "SES has told no rates in three days");
    }
    let told = told.map(|(rate, value)| match value {
        Some(value) => format!("{:.2} % {}", value * 100.0, rate.what),
        None => format!("SES has not told in three days how much {}", rate.what),
    });
    let told = told.join(", ");
    let percent = |share: f64| format!("{} %", share * 100.0);
    let over = |limit: fn(&Rate) -> f64| rates.iter().find(|(rate, value)| *value >= limit(rate));
    let fix = format!(
        "See what bounced and who complained (docs/feedback.md), and keep mail for names that don't exist out: \
         ses-forwarder routes put routes.toml --strict --dry-run --region {region} --stack {stack}"
    );
    if let Some((rate, _)) = over(|rate| rate.review) {
        let limits = format!(
            "SES reviews an account at {}, may pause it at {}",
            percent(rate.review),
            percent(rate.pause)
        );
        Finding::wrong(REPUTATION, format!("{told}: {limits}"), fix)
    } else if let Some((rate, _)) = over(|rate| rate.warning) {
        Finding::warning(
            REPUTATION,
            format!("{told}: SES reviews an account at {}", percent(rate.review)),
            fix,
        )
    } else {
        Finding::ok(REPUTATION, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn rates_are_held_against_ses_s_limits() {
        for (bounces, complaints, state, found) in [
            (None, None, State::Ok, "SES has told no rates in three days"),
            (
                Some(0.06),
                None,
                State::Wrong,
                "6.00 % bounces, SES has not told in three days how much is complained of: SES reviews an account at 5 %, \
                 may pause it at 10 %",
            ),
            (
                None,
                Some(0.0005),
                State::Warning,
                "SES has not told in three days how much bounces, 0.05 % is complained of: SES reviews an account at 0.1 %",
            ),
            (Some(0.0), Some(0.0), State::Ok, "0.00 % bounces, 0.00 % is complained of"),
            (Some(0.0299), Some(0.0004), State::Ok, "2.99 % bounces, 0.04 % is complained of"),
            (
                Some(0.03),
                Some(0.0),
                State::Warning,
                "3.00 % bounces, 0.00 % is complained of: SES reviews an account at 5 %",
            ),
            (
                Some(0.0),
                Some(0.0005),
                State::Warning,
                "0.00 % bounces, 0.05 % is complained of: SES reviews an account at 0.1 %",
            ),
            (
                Some(0.06),
                Some(0.0),
                State::Wrong,
                "6.00 % bounces, 0.00 % is complained of: SES reviews an account at 5 %, may pause it at 10 %",
            ),
        ] {
            let finding = judge(bounces, complaints, "r", "s");
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
        }
    }
}

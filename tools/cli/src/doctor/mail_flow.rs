//! Where mail comes from and where it goes: the MX record and the routes.

use std::net::SocketAddr;

use anyhow::Context;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};
use ses_forwarder::routes::Routes;

use super::Finding;
use crate::{archive, clients::Clients, deployed::Deployed};

pub(super) const MX: &str = "MX record";
pub(super) const ROUTES: &str = "routes";

/// Whether the domain's MX records lead to SES in this region.
/// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-mx-record.html>
pub(super) async fn mx(deployed: &Deployed, nameserver: Option<SocketAddr>) -> anyhow::Result<Finding> {
    let domain = &deployed.settings.common.email_domain;
    let hosts = exchanges(domain, nameserver).await?;
    Ok(judge_mx(domain, &deployed.region, &hosts))
}

/// Preference and host of each MX record, best first.
async fn exchanges(domain: &str, nameserver: Option<SocketAddr>) -> anyhow::Result<Vec<(u16, String)>> {
    let resolver = match nameserver {
        None => TokioResolver::builder_tokio().context("the system's DNS settings can't be read")?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let configuration = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(configuration, TokioRuntimeProvider::default())
        }
    };
    let resolver = resolver.build().context("no DNS resolver can be set up")?;
    let found = match resolver.mx_lookup(format!("{domain}.")).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("DNS does not tell the MX records of {domain}"));
        }
    };
    let exchange = |record: &hickory_resolver::proto::rr::Record| match &record.data {
        RData::MX(mx) => {
            let host = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
            Some((mx.preference, host))
        }
        _ => None,
    };
    let mut hosts: Vec<_> = found.answers().iter().filter_map(exchange).collect();
    hosts.sort();
    Ok(hosts)
}

fn judge_mx(domain: &str, region: &str, hosts: &[(u16, String)]) -> Finding {
    let wanted = format!("inbound-smtp.{region}.amazonaws.com");
    let fix = format!("Have this as the only MX record: {domain}. MX 10 {wanted}.");
    let names = hosts.iter().map(|(_, host)| host.as_str()).collect::<Vec<_>>().join(", ");
    match hosts {
        [] => Finding::wrong(MX, format!("{domain} has none"), fix),
        hosts if hosts.iter().all(|(_, host)| *host == wanted) => {
            Finding::ok(MX, format!("{domain} leads to {wanted}"))
        }
        hosts if hosts.iter().any(|(_, host)| *host == wanted) => Finding::warning(
            MX,
            format!("{domain} leads elsewhere too, so some mail may go there: {names}"),
            fix,
        ),
        _ => Finding::wrong(MX, format!("{domain} leads to {names}"), fix),
    }
}

/// Whether the routes file, if there is one, says where mail goes.
pub(super) async fn routes(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let settings = &deployed.settings;
    let address = format!("s3://{}/{}", deployed.bucket(), settings.routes_key);
    let file = archive::get(clients, deployed.bucket(), &settings.routes_key).await?;
    let destination = settings.destination_domain.as_deref();
    let Some(file) = file else {
        return Ok(match destination {
            Some(destination) => {
                let domain = &settings.common.email_domain;
                Finding::ok(ROUTES, format!("no {address}, so @{domain} goes to @{destination}"))
            }
            None => Finding::wrong(
                ROUTES,
                format!("there is neither {address} nor a destination domain"),
                "Upload a routes file, or set the stack's parameter DestinationDomain.",
            ),
        });
    };
    let domain = &settings.common.email_domain;
    Ok(match Routes::parse(&file, domain, destination) {
        Ok(_) => Finding::ok(ROUTES, format!("{address} is sound")),
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let fix = "Correct it (cargo local routes check FILE), then upload it again.";
            Finding::wrong(ROUTES, format!("{address}: {problems}"), fix)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn mx_records() {
        let ours = "inbound-smtp.eu-west-1.amazonaws.com";
        let cases = [
            (vec![], State::Wrong, "in.example has none"),
            (vec![ours], State::Ok, "in.example leads to inbound-smtp.eu-west-1.amazonaws.com"),
            (
                vec!["mx.example.com", ours],
                State::Warning,
                "in.example leads elsewhere too, so some mail may go there: mx.example.com, \
                 inbound-smtp.eu-west-1.amazonaws.com",
            ),
            (
                vec!["inbound-smtp.us-east-1.amazonaws.com"],
                State::Wrong,
                "in.example leads to inbound-smtp.us-east-1.amazonaws.com",
            ),
        ];
        for (hosts, state, found) in cases {
            let hosts: Vec<_> = hosts.into_iter().map(|host| (10, host.to_owned())).collect();
            let finding = judge_mx("in.example", "eu-west-1", &hosts);
            assert_eq!((finding.state, finding.found.as_str()), (state, found));
            assert_eq!(finding.fix.is_some(), state != State::Ok);
        }
    }
}

//! Where mail goes: the routes file, and whether SES takes mail for whom it has lines.

use ses_forwarder::routes::Routes;

use super::Finding;
use crate::{activate, archive, clients::Clients, deployed::Deployed};

pub(super) const ROUTES: &str = "routes";

/// Whether the routes file, if there is one, says where mail goes.
pub(super) async fn routes(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let (settings, bucket) = (deployed.settings()?, deployed.bucket()?);
    let address = format!("s3://{bucket}/{}", settings.routes_key);
    let file = archive::get(clients, bucket, &settings.routes_key).await?;
    let domains = &settings.common.domains;
    let destination = settings.destination_domain.as_deref();
    let Some(file) = file else {
        return Ok(match destination {
            Some(destination) => {
                Finding::ok(ROUTES, format!("no {address}, so all mail goes to @{destination}"))
            }
            None => Finding::wrong(
                ROUTES,
                format!("there is neither {address} nor a destination domain"),
                format!(
                    "Upload a routes file: ses-forwarder routes put FILE --region {} --stack {}; or set the stack's \
                     parameter DestinationDomain.",
                    deployed.region, deployed.stack
                ),
            ),
        });
    };
    Ok(match Routes::parse(&file, domains, destination) {
        Ok(routes) => {
            let served = deployed.recipients()?;
            let mut wanted = routes.recipients(domains);
            wanted.retain(|wanted| !served.iter().any(|served| activate::covers(served, wanted)));
            if wanted.is_empty() {
                Finding::ok(ROUTES, format!("{address} is sound"))
            } else {
                let wanted = wanted.into_iter().collect::<Vec<_>>().join(", ");
                Finding::warning(
                    ROUTES,
                    format!("{address} has lines for {wanted}, and the receipt rule takes no mail for them"),
                    format!(
                        "Deploy with a parameter Recipients that names them; ses-forwarder routes put FILE --strict \
                         --dry-run --region {} --stack {} prints the whole list",
                        deployed.region, deployed.stack
                    ),
                )
            }
        }
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let fix = format!(
                "Fetch it (ses-forwarder routes get --output FILE --region {0} --stack {1}), correct it, then: \
                 ses-forwarder routes put FILE --region {0} --stack {1}",
                deployed.region, deployed.stack
            );
            Finding::wrong(ROUTES, format!("{address}: {problems}"), fix)
        }
    })
}

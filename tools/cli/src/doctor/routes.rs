//! Where mail goes: the routes file.

use ses_forwarder::routes::Routes;

use super::Finding;
use crate::{archive, clients::Clients, deployed::Deployed};

pub(super) const ROUTES: &str = "routes";

/// Whether the routes file, if there is one, says where mail goes.
pub(super) async fn routes(clients: &Clients, deployed: &Deployed) -> anyhow::Result<Finding> {
    let (settings, bucket) = (deployed.settings()?, deployed.bucket()?);
    let address = format!("s3://{bucket}/{}", settings.routes_key);
    let file = archive::get(clients, bucket, &settings.routes_key).await?;
    let domain = &settings.common.email_domain;
    let destination = settings.destination_domain.as_deref();
    let Some(file) = file else {
        return Ok(match destination {
            Some(destination) => {
                Finding::ok(ROUTES, format!("no {address}, so @{domain} goes to @{destination}"))
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
    Ok(match Routes::parse(&file, domain, destination) {
        Ok(_) => Finding::ok(ROUTES, format!("{address} is sound")),
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let fix = format!(
                "Fetch it (ses-forwarder routes get), correct it, then: ses-forwarder routes put FILE --region {} \
                 --stack {}",
                deployed.region, deployed.stack
            );
            Finding::wrong(ROUTES, format!("{address}: {problems}"), fix)
        }
    })
}

//! Clients of the services, with the credentials of who runs the command.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::arguments::Access;

/// One client a service.
#[derive(Debug)]
pub struct Clients {
    /// Stacks.
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// Alarms.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Functions.
    pub lambda: aws_sdk_lambda::Client,
    /// Log lines.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Objects.
    pub s3: aws_sdk_s3::Client,
    /// Receiving mail.
    pub ses: aws_sdk_ses::Client,
    /// Sending mail.
    pub sesv2: aws_sdk_sesv2::Client,
    /// Topics.
    pub sns: aws_sdk_sns::Client,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
}

impl Clients {
    /// Finds region and credentials as the AWS CLI does.
    pub async fn new(access: &Access) -> Clients {
        let tls = Provider::Rustls(CryptoMode::Ring);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(Builder::new().tls_provider(tls).build_https());
        if let Some(region) = &access.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &access.profile {
            loader = loader.profile_name(profile);
        }
        Clients::with(&loader.load().await)
    }

    /// With a configuration that is there already.
    pub fn with(configuration: &SdkConfig) -> Clients {
        Clients {
            cloudformation: aws_sdk_cloudformation::Client::new(configuration),
            cloudwatch: aws_sdk_cloudwatch::Client::new(configuration),
            lambda: aws_sdk_lambda::Client::new(configuration),
            logs: aws_sdk_cloudwatchlogs::Client::new(configuration),
            s3: ses_forwarder_aws::clients::s3(configuration),
            ses: aws_sdk_ses::Client::new(configuration),
            sesv2: aws_sdk_sesv2::Client::new(configuration),
            sns: aws_sdk_sns::Client::new(configuration),
            sqs: aws_sdk_sqs::Client::new(configuration),
        }
    }

    /// The region that is asked.
    pub fn region(&self) -> String {
        self.cloudformation.config().region().map(ToString::to_string).unwrap_or_default()
    }
}

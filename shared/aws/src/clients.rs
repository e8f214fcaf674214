//! The SDK's configuration, once a process: region, credentials and endpoints as AWS's own variables
//! say, one pool of connections for all services, time-outs as [`call`](crate::call) describes them; it
//! makes the retries too.
//!
//! Not supported, as a function has none: profiles, instance metadata, single sign-on, assumed
//! roles. Without them a function starts in milliseconds and stays small.

use std::env;

pub use aws_config::SdkConfig;
use aws_config::{
    BehaviorVersion,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    retry::RetryConfig,
};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};

use crate::call::{ATTEMPT, CONNECT, timeouts};

/// Reads AWS's own variables; connects to nothing.
///
/// Checksums are computed and checked only where an operation demands them: TLS protects the way,
/// Content-Length tells a truncated body, and the signature covers what is sent.
pub async fn configuration() -> SdkConfig {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
    let connector = Connector::builder().connector_settings(settings);
    // TLS and the root certificates for it (the system's, or those of `SSL_CERT_FILE`) are most of a start, and a
    // local stack needs none. Lambda gives a starting function a whole processor, but a message with little memory
    // a part: what is needed is set up now.
    let connector = SharedHttpConnector::new(if is_plain(env::vars()) {
        connector.build_http()
    } else {
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    });
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .profile_files(EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .region(EnvironmentVariableRegionProvider::new())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .timeout_config(timeouts(ATTEMPT))
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .load()
        .await
}

/// The client for S3. An endpoint other than AWS's is asked for a bucket by path: a host such as `localhost`
/// seldom has a name for each bucket, and AWS's private endpoints take either.
pub fn s3(configuration: &SdkConfig) -> aws_sdk_s3::Client {
    let own = configuration.endpoint_url().is_some() || env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let config = aws_sdk_s3::config::Builder::from(configuration).force_path_style(own).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// The client for SES v2.
pub fn ses(configuration: &SdkConfig) -> aws_sdk_sesv2::Client {
    aws_sdk_sesv2::Client::new(configuration)
}

/// The client for the first version of SES's API.
pub fn ses_v1(configuration: &SdkConfig) -> aws_sdk_ses::Client {
    aws_sdk_ses::Client::new(configuration)
}

/// Whether every endpoint is plain HTTP: that of all services, and those of single ones.
fn is_plain(variables: impl IntoIterator<Item = (String, String)>) -> bool {
    let endpoints: Vec<_> =
        variables.into_iter().filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL")).collect();
    let of_all = endpoints.iter().any(|(name, _)| name == "AWS_ENDPOINT_URL");
    of_all && endpoints.iter().all(|(_, value)| value.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::{
        http::{HttpConnector, HttpConnectorFuture},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// Answers that there is nothing, and keeps what was asked for.
    #[derive(Debug, Clone, Default)]
    struct Asked(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Asked {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.lock().unwrap().push(request.uri().to_owned());
            let status = 404.try_into().map_err(|error| ConnectorError::user(Box::new(error)));
            HttpConnectorFuture::ready(status.map(|status| HttpResponse::new(status, SdkBody::empty())))
        }
    }

    #[tokio::test]
    async fn an_endpoint_of_ones_own_is_asked_for_a_bucket_by_path() {
        let cases = [
            (None, "https://mail.s3.us-east-1.amazonaws.com/k?x-id=GetObject"),
            (Some("http://localhost:4566"), "http://localhost:4566/mail/k?x-id=GetObject"),
            (Some("https://aws.example"), "https://aws.example/mail/k?x-id=GetObject"),
        ];
        for (endpoint, expected) in cases {
            let asked = Asked::default();
            let connector = SharedHttpConnector::new(asked.clone());
            let configuration = SdkConfig::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(aws_config::Region::from_static("us-east-1"))
                .http_client(http_client_fn(move |_, _| connector.clone()));
            let configuration = match endpoint {
                Some(endpoint) => configuration.endpoint_url(endpoint),
                None => configuration,
            };
            let absent = s3(&configuration.build()).get_object().bucket("mail").key("k").send().await;
            assert!(absent.is_err());
            assert_eq!(*asked.0.lock().unwrap(), [expected], "{endpoint:?}");
        }
    }

    #[test]
    fn without_tls_only_if_no_endpoint_can_need_it() {
        let plain = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566");
        let cases = [
            (&[][..], false),
            (&[("AWS_ENDPOINT_URL", "https://aws.example")], false),
            (&[("PROXY", "http://127.0.0.1"), ("AWS_REGION", "us-east-1")], false),
            (&[plain], true),
            (&[plain, ("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:4567")], true),
            (&[plain, ("AWS_ENDPOINT_URL_SESV2", "https://ses.example")], false),
            (&[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:4566")], false),
        ];
        for (variables, plain) in cases {
            let named = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            assert_eq!(is_plain(named), plain, "{variables:?}");
        }
    }
}

//! The SDK's configuration, once a process: region, credentials and endpoints as AWS's own variables
//! say, one pool of connections for all services, time-outs and retries as [`call`](crate::call)
//! describes them.
//!
//! Not supported, as a function has none: profiles, instance metadata, single sign-on, assumed
//! roles. Without them a function starts in milliseconds and stays small.

use std::{fmt, sync::OnceLock};

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
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
};

use crate::call::{ATTEMPT, ATTEMPTS, timeouts};

/// Reads AWS's own variables; connects to nothing.
///
/// Checksums are computed and checked only where an operation demands them: TLS protects the way,
/// Content-Length tells a truncated body, and the signature covers what is sent.
pub async fn configuration() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .profile_files(EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .region(EnvironmentVariableRegionProvider::new())
        .http_client(http_client())
        .timeout_config(timeouts(ATTEMPT))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .load()
        .await
}

/// Plain HTTP until the first https request; only then are TLS and its root certificates (those of
/// the system, or of `SSL_CERT_FILE`) set up.
fn http_client() -> SharedHttpClient {
    let connector = OnceLock::new();
    http_client_fn(move |settings, _| {
        let by_scheme = || {
            let builder = Connector::builder().connector_settings(settings.clone());
            let plain = SharedHttpConnector::new(builder.clone().build_http());
            let tls = Box::new(move || {
                let ring = Provider::Rustls(CryptoMode::Ring);
                SharedHttpConnector::new(builder.clone().tls_provider(ring).build())
            });
            SharedHttpConnector::new(ByScheme { plain, tls: OnceLock::new(), set_up_tls: tls })
        };
        connector.get_or_init(by_scheme).clone()
    })
}

struct ByScheme {
    plain: SharedHttpConnector,
    tls: OnceLock<SharedHttpConnector>,
    set_up_tls: Box<dyn Fn() -> SharedHttpConnector + Send + Sync>,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.uri().starts_with("http://") {
            self.plain.call(request)
        } else {
            self.tls.get_or_init(&self.set_up_tls).call(request)
        }
    }
}

impl fmt::Debug for ByScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByScheme").finish_non_exhaustive()
    }
}

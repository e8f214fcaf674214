//! The environment of an instance: what Lambda defines, then the template's variables, and nothing of
//! this process, so that neither a profile nor a credential of the person at the keyboard is in reach.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>

use std::net::SocketAddr;

use ses_forwarder_local_template::deployment::{Function, LogFormat};

use crate::auth::Registration;

/// Name and value of every variable of an instance.
pub(super) fn variables(
    function: &Function,
    region: &str,
    aws_url: &str,
    runtime_api: SocketAddr,
    log_stream: &str,
    credentials: &Registration,
) -> Vec<(String, String)> {
    let reserved = [
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned()),
        ("AWS_SESSION_TOKEN", "local".to_owned()),
        ("AWS_REGION", region.to_owned()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", function.log_group.clone()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
        ("TZ", ":UTC".to_owned()),
        // Not Lambda's: this is what brings the calls here instead of to AWS.
        ("AWS_ENDPOINT_URL", aws_url.to_owned()),
    ];
    // Lambda refuses templates that set a reserved variable; here it just has no effect.
    let own = function.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    let logging = match function.log_format {
        LogFormat::Text => vec![("AWS_LAMBDA_LOG_FORMAT", "Text".to_owned())],
        LogFormat::Json => vec![
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_LOG_LEVEL", function.log_level.clone()),
        ],
    };
    let reserved = reserved.into_iter().chain(logging);
    own.chain(reserved.map(|(name, value)| (name.to_owned(), value))).collect()
}

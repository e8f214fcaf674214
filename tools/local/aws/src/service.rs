//! Which service a call is for.

use hyper::Request;

use crate::{auth::Scope, response::Refusal};

/// The services, as the scope of a signature names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    CloudFormation,
    CloudWatch,
    Lambda,
    Logs,
    S3,
    Ses,
    /// SES's first API, which has the rule sets and bounces.
    SesV1,
    Sqs,
    Sns,
    Sts,
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Service; 10] = [
        Service::CloudFormation,
        Service::CloudWatch,
        Service::Lambda,
        Service::Logs,
        Service::S3,
        Service::Ses,
        Service::SesV1,
        Service::Sqs,
        Service::Sns,
        Service::Sts,
    ];

    /// The service a request is signed for. What is not signed, or in its query, can only be for S3.
    pub(crate) fn of<B>(request: &Request<B>) -> Service {
        match Scope::of(request.headers()).as_ref().map(|scope| scope.service) {
            Some("cloudformation") => Service::CloudFormation,
            Some("lambda") => Service::Lambda,
            Some("logs") => Service::Logs,
            Some("monitoring") => Service::CloudWatch,
            // Both of SES's APIs are signed alike.
            Some("ses") if request.uri().path() == "/" => Service::SesV1,
            Some("ses") => Service::Ses,
            Some("sqs") => Service::Sqs,
            Some("sns") => Service::Sns,
            Some("sts") => Service::Sts,
            _ => Service::S3,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::CloudFormation => "cloudformation",
            Service::CloudWatch => "cloudwatch",
            Service::Lambda => "lambda",
            Service::Logs => "logs",
            Service::S3 => "s3",
            Service::Ses | Service::SesV1 => "ses",
            Service::Sqs => "sqs",
            Service::Sns => "sns",
            Service::Sts => "sts",
        }
    }

    /// What the service says if a policy does not allow a call.
    pub(crate) fn denied(self, sentence: String) -> Refusal {
        let code = match self {
            Service::CloudFormation | Service::CloudWatch | Service::S3 | Service::SesV1 | Service::Sts => {
                "AccessDenied"
            }
            Service::Lambda | Service::Logs | Service::Ses | Service::Sqs => "AccessDeniedException",
            Service::Sns => "AuthorizationError",
        };
        Refusal::new(403, code, sentence)
    }
}

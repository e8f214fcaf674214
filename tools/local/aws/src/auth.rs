//! Who calls: every instance of a function has its own access key, the person at the keyboard has
//! [`OPERATOR_KEY`]. A request is believed only if its Signature Version 4 is right: the AWS SDK's own
//! signer signs it once more, and must come to the same signature.
//!
//! S3's signatures, whose bodies are streams, are checked by s3s.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign},
    sign::v4,
};
use hyper::{HeaderMap, header, http::request::Parts};
use ses_forwarder_iam::Role;
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};
use tokio::sync::Notify;

use crate::{needs::Needs, response::Refusal};

/// Access key id of the operator: for the AWS CLI, boto3 and tests. It may do everything.
pub const OPERATOR_KEY: &str = "AKIALOCALOPERATOR000";
/// The operator's secret. It protects nothing: the endpoint listens on loopback only.
pub const OPERATOR_SECRET: &str = "local-operator-secret";

/// How far a request's time may be from ours, as AWS allows it.
const CLOCK_SKEW: time::Duration = time::Duration::minutes(5);

/// Access keys and who has them.
#[derive(Debug, Clone)]
pub struct Callers(Arc<Mutex<HashMap<String, Arc<Caller>>>>);

/// Somebody with an access key.
#[derive(Debug)]
pub struct Caller {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `None` for the operator.
    pub function: Option<FunctionCaller>,
}

/// An instance of a function.
#[derive(Debug)]
pub struct FunctionCaller {
    /// Function name.
    pub name: String,
    /// Its execution role.
    pub role: Role,
    invocation: Mutex<Option<Invocation>>,
    kill: Notify,
}

/// What an instance is working on, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Lambda's request id.
    pub request_id: String,
    /// SES's messageId of the message it is about, where one is known.
    pub message_id: Option<String>,
}

impl Callers {
    /// Knows only the operator.
    pub fn new() -> Callers {
        let operator = Caller {
            access_key_id: OPERATOR_KEY.to_owned(),
            secret_access_key: OPERATOR_SECRET.to_owned(),
            function: None,
        };
        Callers(Arc::new(Mutex::new(HashMap::from([(OPERATOR_KEY.to_owned(), Arc::new(operator))]))))
    }

    /// Gives an instance of a function an access key. The key is void once the registration is dropped.
    pub fn register(&self, function: &str, role: Role) -> Registration {
        let key: String = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        let caller = Arc::new(Caller {
            access_key_id: format!("ASIA{}", &key[..16]),
            secret_access_key: uuid::Uuid::new_v4().simple().to_string(),
            function: Some(FunctionCaller {
                name: function.to_owned(),
                role,
                invocation: Mutex::default(),
                kill: Notify::new(),
            }),
        });
        self.lock().insert(caller.access_key_id.clone(), Arc::clone(&caller));
        Registration { callers: self.clone(), caller }
    }

    /// Who has this access key.
    pub fn get(&self, access_key_id: &str) -> Option<Arc<Caller>> {
        self.lock().get(access_key_id).cloned()
    }

    /// Who made a request, if its signature is right.
    pub(super) fn verify(&self, head: &Parts, body: &[u8], region: &str) -> Result<Arc<Caller>, Refusal> {
        let scope = Scope::of(&head.headers).ok_or_else(|| {
            Refusal::new(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        })?;
        let caller = self.get(scope.access_key_id).ok_or_else(|| {
            let message = "The security token included in the request is invalid.";
            Refusal::new(403, "UnrecognizedClientException", message)
        })?;
        if scope.region != region {
            let message =
                format!("Credential should be scoped to a valid region: {region}, not {}.", scope.region);
            return Err(mismatch(message));
        }
        let time = signing_time(&head.headers)?;
        let body_hash = hex(&Sha256::digest(body));
        if let Some(claimed) = text(&head.headers, "x-amz-content-sha256")
            && claimed != body_hash
        {
            return Err(mismatch("The value of x-amz-content-sha256 is not the hash of the body."));
        }
        let expected = signature(&caller, &scope, head, body_hash, time)
            .map_err(|error| mismatch(format!("The request can't be signed: {error}")))?;
        if expected != scope.signature {
            return Err(mismatch(
                "The request signature we calculated does not match the signature you provided. Check your \
                 AWS Secret Access Key and signing method.",
            ));
        }
        Ok(caller)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Caller>>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Default for Callers {
    fn default() -> Self {
        Callers::new()
    }
}

impl Caller {
    /// Whether the caller may do something; the error is the sentence AWS would say.
    pub(super) fn check(&self, mut needs: Needs) -> Result<(), String> {
        let Some(function) = &self.function else { return Ok(()) };
        let resource_policy = needs.resource_policy.take();
        let needs = needs.with("aws:PrincipalArn", &function.role.arn);
        function.role.check_with(resource_policy.as_ref(), &needs.into())
    }

    /// ARN of who calls.
    pub(super) fn arn(&self, account: &str) -> String {
        match &self.function {
            None => format!("arn:aws:iam::{account}:user/operator"),
            // An instance's session is named after its function.
            Some(function) => {
                let role = function.role.arn.rsplit('/').next().unwrap_or_default();
                format!("arn:aws:sts::{account}:assumed-role/{role}/{}", function.name)
            }
        }
    }
}

impl FunctionCaller {
    /// What the instance is working on.
    pub(super) fn invocation(&self) -> Option<Invocation> {
        self.invocation.lock().expect("no holder of this lock panics").clone()
    }

    /// Asks whoever runs the instance to kill it.
    pub(super) fn kill(&self) {
        self.kill.notify_one();
    }
}

/// What an Authorization header says:
/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Scope<'a>> {
        let parts = text(headers, header::AUTHORIZATION.as_str())?.strip_prefix("AWS4-HMAC-SHA256")?;
        let part =
            |name: &str| parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let mut credential = part("Credential")?.split('/');
        let (access_key_id, _date) = (credential.next()?, credential.next()?);
        let (region, service) = (credential.next()?, credential.next()?);
        (credential.next() == Some("aws4_request") && credential.next().is_none()).then_some(())?;
        Some(Scope {
            access_key_id,
            region,
            service,
            signed_headers: part("SignedHeaders")?.split(';').collect(),
            signature: part("Signature")?,
        })
    }
}

/// The signature that the caller's secret gives.
fn signature(
    caller: &Caller,
    scope: &Scope<'_>,
    head: &Parts,
    body_hash: String,
    time: SystemTime,
) -> anyhow::Result<String> {
    let mut settings = SigningSettings::default();
    // Only what the client signed is given, so nothing is left out.
    settings.excluded_headers = None;
    let credentials = Credentials::new(&caller.access_key_id, &caller.secret_access_key, None, None, "local");
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(time)
        .settings(settings)
        .build()?;
    // The signer adds the time itself, and takes the host from the URI only if no header names it.
    let headers = scope.signed_headers.iter().filter(|name| **name != "x-amz-date").flat_map(|name| {
        let values = head.headers.get_all(*name).iter();
        values.map(move |value| (*name, value.to_str().unwrap_or_default()))
    });
    let host = text(&head.headers, header::HOST.as_str()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = SignableRequest::new(
        head.method.as_str(),
        format!("http://{host}{path}"),
        headers,
        SignableBody::Precomputed(body_hash),
    )?;
    Ok(sign(request, &SigningParams::V4(params))?.into_parts().1)
}

/// When the request says it was signed, if that is about now.
fn signing_time(headers: &HeaderMap) -> Result<SystemTime, Refusal> {
    let date = text(headers, "x-amz-date").unwrap_or_default();
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = PrimitiveDateTime::parse(date, format)
        .map_err(|_| mismatch(format!("X-Amz-Date is {date:?}, but must look like 20150830T123600Z.")))?
        .assume_utc();
    if (OffsetDateTime::now_utc() - time).abs() > CLOCK_SKEW {
        return Err(mismatch(format!("Signature expired or not yet current: {date}")));
    }
    Ok(time.into())
}

fn mismatch(message: impl Into<String>) -> Refusal {
    Refusal::new(403, "InvalidSignatureException", message)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes everything");
        digits
    })
}

/// An instance's access key, void when dropped.
#[derive(Debug)]
pub struct Registration {
    callers: Callers,
    caller: Arc<Caller>,
}

impl Registration {
    /// `AWS_ACCESS_KEY_ID` for the instance's environment.
    pub fn access_key_id(&self) -> &str {
        &self.caller.access_key_id
    }

    /// `AWS_SECRET_ACCESS_KEY` for the instance's environment.
    pub fn secret_access_key(&self) -> &str {
        &self.caller.secret_access_key
    }

    /// Notes what the instance works on from now: journal entries of its calls name that message.
    pub fn set_invocation(&self, invocation: Option<Invocation>) {
        *self.function().invocation.lock().expect("no holder of this lock panics") = invocation;
    }

    /// Ends when a `kill` fault asks to kill this instance. The call that met the fault is not
    /// answered before the instance is gone.
    pub async fn killed(&self) {
        self.function().kill.notified().await;
    }

    fn function(&self) -> &FunctionCaller {
        self.caller.function.as_ref().expect("a registration is a function's")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.callers.lock().remove(&self.caller.access_key_id);
    }
}

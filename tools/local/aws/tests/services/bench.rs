//! Services of a small deployment on a port of their own, and clients of them.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use ses_forwarder_local_aws::{
    auth::{OPERATOR_KEY, OPERATOR_SECRET, Registration},
    journal::{Event, Journal},
    pace::Pace,
    services::{Options, Services},
    ses::Account,
};
use ses_forwarder_local_template::deployment::Deployment;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:notices";
pub(crate) const RULE: &str = "arn:aws:ses:us-east-1:123456789012:receipt-rule-set/s:receipt-rule/r";
/// The message that the function of the bench works on.
pub(crate) const MESSAGE_ID: &str = "incoming";

const TEMPLATE: &str = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: mail}}
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: ses.amazonaws.com}
            Action: s3:PutObject
            Resource: arn:aws:s3:::mail/messages/*
            Condition:
              StringEquals:
                aws:SourceAccount: !Ref AWS::AccountId
                aws:SourceArn: arn:aws:ses:us-east-1:123456789012:receipt-rule-set/s:receipt-rule/r
          - Effect: Deny
            Principal: "*"
            Action: s3:*
            Resource: [arn:aws:s3:::mail, arn:aws:s3:::mail/*]
            Condition: {Bool: {aws:SecureTransport: "false"}}
          - Effect: Deny
            Principal: "*"
            Action: s3:GetObject
            Resource: arn:aws:s3:::mail/messages/secret
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: dead-letters}}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: notices}}
  Function:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: makefile}
    Properties: {CodeUri: forward, FunctionName: forward, Runtime: provided.al2023, Role: !GetAtt Role.Arn, Timeout: 20}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}
      Policies:
        - PolicyName: All
          PolicyDocument:
            Version: 2012-10-17
            Statement:
              - {Effect: Allow, Action: s3:GetObject, Resource: arn:aws:s3:::mail/*}
              - {Effect: Allow, Action: s3:PutObject, Resource: arn:aws:s3:::mail/outcome/*}
              - Effect: Allow
                Action: s3:ListBucket
                Resource: arn:aws:s3:::mail
                Condition: {StringLike: {s3:prefix: messages/*}}
              - Effect: Allow
                Action: [ses:SendEmail, ses:SendRawEmail]
                Resource: arn:aws:ses:us-east-1:123456789012:identity/*
                Condition: {StringLike: {ses:FromAddress: "*@in.example"}}
              - {Effect: Allow, Action: sns:Publish, Resource: !Ref Topic}
              - {Effect: Allow, Action: sqs:SendMessage, Resource: !GetAtt Queue.Arn}
"#;

/// Services, and what they keep.
pub(crate) struct Bench {
    pub(crate) services: Services,
    pub(crate) journal: Arc<Journal>,
    pub(crate) data: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) deployment: Deployment,
    address: std::net::SocketAddr,
    /// Dropping it stops the server.
    _running: tokio::sync::oneshot::Sender<()>,
}

/// An access key.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a>(pub(crate) &'a str, pub(crate) &'a str);

pub(crate) const OPERATOR: Key<'static> = Key(OPERATOR_KEY, OPERATOR_SECRET);

impl<'a> From<&'a Registration> for Key<'a> {
    fn from(registration: &'a Registration) -> Key<'a> {
        Key(registration.access_key_id(), registration.secret_access_key())
    }
}

/// A request that the SDK would not make.
pub(crate) struct Signed<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) time: SystemTime,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Bytes,
}

impl<'a> Signed<'a> {
    pub(crate) fn post(key: Key<'a>, service: &'a str, path: &'a str, body: impl Into<Bytes>) -> Signed<'a> {
        let time = SystemTime::now();
        let body = body.into();
        Signed { key, service, region: REGION, time, method: "POST", path, headers: Vec::new(), body }
    }
}

impl Bench {
    pub(crate) async fn start() -> Bench {
        Bench::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Options)) -> Bench {
        let deployment =
            ses_forwarder_local_template::evaluate(TEMPLATE, &BTreeMap::new(), "s", REGION).unwrap();
        let journal = Arc::new(Journal::default());
        let data = tempfile::tempdir().unwrap();
        let mut options = Options {
            data: data.path().to_owned(),
            relay: None,
            ses: Account::new(["in.example".to_owned()]),
            pace: Pace::real(),
            faults: Vec::new(),
        };
        change(&mut options);
        let services = Services::new(&deployment, Arc::clone(&journal), options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (running, stopped) = tokio::sync::oneshot::channel();
        let serving = services.clone();
        tokio::spawn(async move {
            serving.serve(listener, None, async move { drop(stopped.await) }).await;
        });
        let url = format!("http://{address}");
        Bench { services, journal, data, url, deployment, address, _running: running }
    }

    /// An instance of the function, at work on [`MESSAGE_ID`].
    pub(crate) fn function(&self) -> Registration {
        let registration =
            self.services.callers().register("forward", self.deployment.functions[0].role.clone());
        registration.set_invocation(Some(ses_forwarder_local_aws::auth::Invocation {
            request_id: "request".to_owned(),
            message_id: Some(MESSAGE_ID.to_owned()),
        }));
        registration
    }

    pub(crate) fn s3(&self, key: Key<'_>) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::v2026_01_12())
            .credentials_provider(aws_sdk_s3::config::Credentials::new(key.0, key.1, None, None, "test"))
            .region(aws_sdk_s3::config::Region::new(REGION))
            .endpoint_url(&self.url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .stalled_stream_protection(aws_sdk_s3::config::StalledStreamProtectionConfig::disabled())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    pub(crate) fn ses(&self, key: Key<'_>) -> aws_sdk_sesv2::Client {
        let config = aws_sdk_sesv2::Config::builder()
            .behavior_version(aws_sdk_sesv2::config::BehaviorVersion::v2026_01_12())
            .credentials_provider(aws_sdk_sesv2::config::Credentials::new(key.0, key.1, None, None, "test"))
            .region(aws_sdk_sesv2::config::Region::new(REGION))
            .endpoint_url(&self.url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(aws_sdk_sesv2::config::retry::RetryConfig::disabled())
            .stalled_stream_protection(aws_sdk_sesv2::config::StalledStreamProtectionConfig::disabled())
            .build();
        aws_sdk_sesv2::Client::from_conf(config)
    }

    pub(crate) fn sns(&self, key: Key<'_>) -> aws_sdk_sns::Client {
        let config = aws_sdk_sns::Config::builder()
            .behavior_version(aws_sdk_sns::config::BehaviorVersion::v2026_01_12())
            .credentials_provider(aws_sdk_sns::config::Credentials::new(key.0, key.1, None, None, "test"))
            .region(aws_sdk_sns::config::Region::new(REGION))
            .endpoint_url(&self.url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(aws_sdk_sns::config::retry::RetryConfig::disabled())
            .build();
        aws_sdk_sns::Client::from_conf(config)
    }

    /// Signs and sends a request.
    pub(crate) async fn call(&self, request: Signed<'_>) -> hyper::Result<Response<Bytes>> {
        self.send(self.sign(&request)).await
    }

    /// Signs and sends a request to a JSON service, and returns status, error type, and body.
    pub(crate) async fn call_json(&self, request: Signed<'_>) -> (u16, String, Value) {
        let response = self.call(request).await.unwrap();
        let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(response.body()).unwrap();
        (response.status().as_u16(), kind.unwrap_or_default(), body)
    }

    pub(crate) fn sign(&self, request: &Signed<'_>) -> Request<Full<Bytes>> {
        let url = format!("{}{}", self.url, request.path);
        let identity = Credentials::new(request.key.0, request.key.1, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(request.region)
            .name(request.service)
            .time(request.time)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let signable = SignableRequest::new(
            request.method,
            &*url,
            request.headers.iter().copied(),
            SignableBody::Bytes(&request.body),
        );
        let (instructions, _) = sign(signable.unwrap(), &SigningParams::V4(params)).unwrap().into_parts();
        let mut signed = Request::builder().method(request.method).uri(request.path);
        for (name, value) in &request.headers {
            signed = signed.header(*name, *value);
        }
        if !request.headers.iter().any(|(name, _)| *name == "host") {
            signed = signed.header("host", self.address.to_string());
        }
        let mut signed = signed.body(Full::new(request.body.clone())).unwrap();
        for (name, value) in instructions.headers() {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            signed.headers_mut().insert(name, value.parse().unwrap());
        }
        signed
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Calls in the journal: action, resource, status, error.
    pub(crate) fn calls(&self) -> Vec<(String, String, Option<u16>, Option<String>)> {
        let calls = self.journal.entries().into_iter().filter_map(|entry| match &entry.event {
            Event::Called { action, resource, status, error, .. } => {
                Some((action.clone(), resource.clone(), *status, error.clone()))
            }
            _ => None,
        });
        calls.collect()
    }
}

//! S3, by s3s and s3s-fs in a folder. Here is what those leave out: who may do what, conditional reads, what
//! becomes of conditional writes that race, the answers of real S3 where the file system's differ, and writes that are seen whole or not at all.
//!
//! Not supported: versions, ACLs, bucket configuration, of encryption anything but the template's setting; for
//! functions also multipart uploads, copies and deleting several objects at once, which the AWS CLI uses.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, body::Incoming, header::IF_MATCH};
use s3s::{
    Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
        DeleteObjectsOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketLocationInput,
        GetBucketLocationOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetObjectInput,
        GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
        ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
        ListObjectsV2Output, PutObjectInput, PutObjectOutput, ServerSideEncryption,
        ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
        StreamingBlob, UploadPartInput, UploadPartOutput,
    },
    host::{S3Host, VirtualHost},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use ses_forwarder_iam::{Decision, Policy, Principal};
use ses_forwarder_local_template::deployment::Deployment;
use tokio::sync::RwLock;

use crate::{
    auth::Callers,
    flight::Flight,
    needs::Needs,
    response::{Refusal, Response},
};

/// The buckets.
#[derive(Debug, Clone)]
pub struct Buckets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    account: String,
    policies: Policies,
    store: Store,
    service: S3Service,
}

/// Bucket policies by bucket; a bucket without one is there too.
type Policies = Arc<BTreeMap<String, Option<Policy>>>;

impl Buckets {
    /// Creates the deployment's buckets in `data/buckets`.
    pub(super) fn new(data: &Path, deployment: &Deployment, callers: Callers) -> anyhow::Result<Buckets> {
        let root = data.join("buckets");
        for bucket in &deployment.buckets {
            let folder = root.join(&bucket.name);
            std::fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
        }
        std::fs::create_dir_all(&root)?;
        let files = FileSystem::new(&root)
            .map_err(|error| anyhow::anyhow!("can't keep buckets in {}: {error:?}", root.display()))?;
        let policies: Policies = Arc::new(
            deployment.buckets.iter().map(|bucket| (bucket.name.clone(), bucket.policy.clone())).collect(),
        );
        let files = Files {
            root,
            files,
            gate: RwLock::default(),
            races: Races::default(),
            policies: Arc::clone(&policies),
            keys: deployment
                .buckets
                .iter()
                .filter_map(|bucket| Some((bucket.name.clone(), bucket.key.clone()?)))
                .collect(),
        };
        let store = Store(Arc::new(files));
        let mut service = S3ServiceBuilder::new(store.clone());
        service.set_auth(callers.clone());
        service.set_access(Gate { callers, policies: Arc::clone(&policies) });
        service.set_host(Localhost);
        let service = service.build();
        Ok(Buckets(Arc::new(Inner { account: deployment.account.clone(), policies, store, service })))
    }

    /// Answers a call.
    pub(super) async fn answer(&self, flight: Arc<Flight>, request: Request<Incoming>) -> Response {
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(flight);
        match self.0.service.call(request).await {
            Ok(response) => response,
            Err(error) => refuse(&Refusal::new(500, "InternalError", format!("{error:?}"))),
        }
    }

    /// What SES does to store a message: PutObject as `ses.amazonaws.com` for `source_arn`, a receipt
    /// rule. The bucket policy must allow it; the error is what S3 would say.
    pub async fn put_for_ses(
        &self,
        source_arn: &str,
        bucket: &str,
        key: &str,
        body: Bytes,
    ) -> Result<(), String> {
        let Some(policy) = self.0.policies.get(bucket) else {
            return Err(format!("NoSuchBucket: The specified bucket does not exist: {bucket}"));
        };
        let needs = Needs::new("s3:PutObject", object_arn(bucket, key))
            .with("aws:SourceArn", source_arn)
            .with("aws:SourceAccount", &self.0.account);
        let ses = Principal::Service("ses.amazonaws.com".to_owned());
        let decision = policy.as_ref().map(|policy| policy.decide(&ses, &needs.into()));
        if decision != Some(Decision::Allowed) {
            return Err(format!(
                "AccessDenied: the policy of bucket {bucket} does not allow ses.amazonaws.com, for {source_arn}, \
                 to perform s3:PutObject on {key}"
            ));
        }
        self.write(bucket, key, body).await.map_err(|error| error.to_string())
    }

    /// Writes an object, whatever the policies say.
    pub async fn write(&self, bucket: &str, key: &str, body: Bytes) -> std::io::Result<()> {
        let mut input = PutObjectInput::builder();
        input.set_bucket(bucket.to_owned());
        input.set_key(key.to_owned());
        input.set_body(Some(StreamingBlob::from(Body::from(body))));
        let input = input.build().map_err(std::io::Error::other)?;
        self.0.store.put_object(own_request(input)).await.map_err(std::io::Error::other)?;
        Ok(())
    }

    /// Reads an object; `None` if there is none.
    pub async fn read(&self, bucket: &str, key: &str) -> std::io::Result<Option<Bytes>> {
        let _quiet = self.0.store.0.gate.read().await;
        match tokio::fs::read(self.0.store.0.path(bucket, key)?).await {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object, if it is there, whatever the policies say.
    pub async fn delete(&self, bucket: &str, key: &str) -> std::io::Result<()> {
        let _alone = self.0.store.0.gate.write().await;
        match tokio::fs::remove_file(self.0.store.0.path(bucket, key)?).await {
            Err(error) if !is_absence(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Keys with a prefix, in order.
    pub async fn list(&self, bucket: &str, prefix: &str) -> std::io::Result<Vec<String>> {
        let _quiet = self.0.store.0.gate.read().await;
        let root = self.0.store.0.path(bucket, "")?;
        let mut keys = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let mut entries = tokio::fs::read_dir(folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                if entry.file_type().await?.is_dir() {
                    folders.push(entry.path());
                } else if let Ok(key) = entry.path().strip_prefix(&root)
                    && let Some(key) = key.to_str()
                    && key.starts_with(prefix)
                {
                    keys.push(key.to_owned());
                }
            }
        }
        keys.sort();
        Ok(keys)
    }
}

/// A refusal in S3's protocol.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    to_s3(refusal).to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn to_s3(refusal: &Refusal) -> S3Error {
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, refusal.message.clone());
    if let Ok(status) = hyper::StatusCode::from_u16(refusal.status) {
        error.set_status_code(status);
    }
    error
}

fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | IsADirectory | NotADirectory)
}

#[async_trait::async_trait]
impl S3Auth for Callers {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let caller = self.get(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(caller.secret_access_key.as_str()))
    }
}

/// Lets a call through once its signature is known to be right.
struct Gate {
    callers: Callers,
    policies: Policies,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let flight = flight(cx.extensions_mut())?;
        let key = cx.credentials().ok_or_else(|| s3_error!(AccessDenied, "Anonymous access is forbidden"))?;
        let caller = self.callers.get(&key.access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        let operation = cx.s3_op().name();
        let bucket = cx.s3_path().get_bucket_name().unwrap_or_default();
        let key = cx.s3_path().get_object_key().unwrap_or_default();
        let query = cx.uri().query().unwrap_or_default();
        let mut needs = match operation {
            "GetObject" | "HeadObject" => Needs::new("s3:GetObject", object_arn(bucket, key)),
            "PutObject" => Needs::new("s3:PutObject", object_arn(bucket, key)),
            "DeleteObject" => Needs::new("s3:DeleteObject", object_arn(bucket, key)),
            "HeadBucket" => Needs::new("s3:ListBucket", bucket_arn(bucket)),
            "ListObjects" | "ListObjectsV2" => {
                let query: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
                let prefix = query.into_iter().find(|(name, _)| name == "prefix");
                let prefix = prefix.map(|(_, prefix)| prefix).unwrap_or_default();
                Needs::new("s3:ListBucket", bucket_arn(bucket)).with("s3:prefix", &prefix)
            }
            "ListBuckets" => Needs::new("s3:ListAllMyBuckets", "*"),
            "GetBucketLocation" => Needs::new("s3:GetBucketLocation", bucket_arn(bucket)),
            "GetBucketEncryption" => Needs::new("s3:GetEncryptionConfiguration", bucket_arn(bucket)),
            "GetBucketPolicy" => Needs::new("s3:GetBucketPolicy", bucket_arn(bucket)),
            "CreateMultipartUpload"
            | "UploadPart"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "CopyObject"
            | "DeleteObjects"
                if caller.function.is_none() =>
            {
                Needs::new("s3:PutObject", object_arn(bucket, key))
            }
            other => return Err(s3_error!(NotImplemented, "{other} is not supported here")),
        };
        needs.resource_policy = self.policies.get(bucket).cloned().flatten();
        let resource = needs.resource.clone();
        let mut all = vec![needs];
        // Whoever writes over an ETag learns whether it is the object's.
        // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html>
        if operation == "PutObject" && cx.headers().contains_key(IF_MATCH) {
            let mut read = Needs::new("s3:GetObject", object_arn(bucket, key));
            read.resource_policy = self.policies.get(bucket).cloned().flatten();
            all.push(read);
        }
        let admitted = flight.admit(&caller, &format!("s3:{operation}"), key, &resource, all).await;
        admitted.map_err(|refusal| {
            flight.note_error(&refusal.code);
            to_s3(&refusal)
        })
    }
}

fn flight(extensions: &hyper::http::Extensions) -> S3Result<Arc<Flight>> {
    extensions.get::<Arc<Flight>>().cloned().ok_or_else(|| s3_error!(InternalError))
}

/// `BUCKET.localhost` names a bucket; other hosts leave it to the path.
struct Localhost;

impl S3Host for Localhost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let domain = host.split_once(':').map_or(host, |(domain, _port)| domain);
        let virtual_host = VirtualHost::new("localhost");
        Ok(match domain.strip_suffix(".localhost") {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}

/// Objects as files, `root/BUCKET/KEY`.
#[derive(Debug, Clone)]
struct Store(Arc<Files>);

#[derive(Debug)]
struct Files {
    root: PathBuf,
    files: FileSystem,
    /// Held by one who writes alone, or by those who read: s3s-fs replaces an object, its checksums and
    /// its content type one after the other.
    gate: RwLock<()>,
    races: Races,
    policies: Policies,
    /// The KMS keys of buckets that have one.
    keys: BTreeMap<String, String>,
}

/// The writes that are under way, so that a conditional one hears of another that was quicker.
#[derive(Debug, Default)]
struct Races(Mutex<HashMap<PathBuf, Race>>);

/// The writes of one object that are under way, and how many have ended meanwhile.
#[derive(Debug, Default)]
struct Race {
    writers: usize,
    ended: usize,
}

/// A write that is under way.
struct Writer<'a> {
    races: &'a Races,
    path: PathBuf,
    ended_before: usize,
}

impl Races {
    fn enter(&self, path: &Path) -> Writer<'_> {
        let mut races = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let race = races.entry(path.to_owned()).or_default();
        race.writers += 1;
        Writer { races: self, path: path.to_owned(), ended_before: race.ended }
    }

    fn with<T>(&self, path: &Path, look: impl FnOnce(&mut Race) -> T) -> T {
        let mut races = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(races.entry(path.to_owned()).or_default())
    }
}

impl Writer<'_> {
    /// Whether another write of the object has ended since this one began.
    fn is_overtaken(&self) -> bool {
        self.races.with(&self.path, |race| race.ended != self.ended_before)
    }

    fn ended(&self) {
        self.races.with(&self.path, |race| race.ended += 1);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut races = self.races.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(race) = races.get_mut(&self.path) {
            race.writers -= 1;
            if race.writers == 0 {
                races.remove(&self.path);
            }
        }
    }
}

impl Files {
    /// Where an object is; an error if its key would lead out of its bucket.
    fn path(&self, bucket: &str, key: &str) -> std::io::Result<PathBuf> {
        let path = Path::new(bucket).join(key);
        if path.components().all(|component| matches!(component, Component::Normal(_))) {
            Ok(self.root.join(path))
        } else {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("no key: {key:?}")))
        }
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        let path = self.path(bucket, "").map_err(|error| s3_error!(error, InvalidBucketName))?;
        if path.is_dir() {
            Ok(())
        } else {
            Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
        }
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let head = HeadObjectInput {
            bucket: req.input.bucket.clone(),
            key: req.input.key.clone(),
            if_match: req.input.if_match.clone(),
            if_none_match: req.input.if_none_match.clone(),
            ..HeadObjectInput::default()
        };
        self.look(&req.extensions, head).await?;
        let _quiet = self.0.gate.read().await;
        self.0.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.look(&req.extensions, req.input).await.map(S3Response::new)
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        let path = self.0.path(&req.input.bucket, &req.input.key);
        let path =
            path.map_err(|error| s3_error!(error, InvalidArgument, "This key is not supported here"))?;
        let (must_match, must_be_new) = (req.input.if_match.is_some(), req.input.if_none_match.is_some());
        let extensions = req.extensions.clone();
        let refused = |error: S3Error| {
            if let Ok(flight) = flight(&extensions) {
                flight.note_error(error.code().as_str());
            }
            error
        };
        if req.input.if_none_match.as_ref().is_some_and(|condition| !condition.is_any()) {
            let message =
                "A header you provided implies functionality that is not implemented: If-None-Match takes *";
            return Err(refused(s3_error!(NotImplemented, "{message}")));
        }
        let writer = self.0.races.enter(&path);
        // Read whole first: a body that ends early, or whose chunks are signed wrongly, changes nothing.
        if let Some(body) = req.input.body.take() {
            let body = Body::from(s3s::stream::DynByteStream::from(body));
            let body = body
                .collect()
                .await
                .map_err(|error| s3_error!(IncompleteBody, "The body can't be read: {error}"))?
                .to_bytes();
            req.input.body = Some(StreamingBlob::from(Body::from(body)));
        }
        let _alone = self.0.gate.write().await;
        if (must_match || must_be_new) && writer.is_overtaken() {
            let code = S3ErrorCode::Custom("ConditionalRequestConflict".into());
            let message = "The conditional request cannot succeed due to a conflicting operation against this resource.";
            let mut error = S3Error::with_message(code, message);
            error.set_status_code(hyper::StatusCode::CONFLICT);
            return Err(refused(error));
        }
        let before = tokio::fs::read(&path).await.ok();
        if must_match && before.is_none() {
            return Err(refused(s3_error!(NoSuchKey, "The specified key does not exist.")));
        }
        let outcome = self.0.files.put_object(req).await.map_err(refused);
        if outcome.is_ok() {
            writer.ended();
        }
        if outcome.as_ref().is_err_and(|error| *error.code() == S3ErrorCode::BadDigest) {
            // s3s-fs compares checksums after it has replaced the object.
            let restored = match before {
                Some(before) => tokio::fs::write(&path, before).await,
                None => tokio::fs::remove_file(&path).await,
            };
            restored.map_err(S3Error::internal_error)?;
        }
        outcome
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        let _alone = self.0.gate.write().await;
        self.0.files.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let _alone = self.0.gate.write().await;
        self.0.files.delete_objects(req).await
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let _alone = self.0.gate.write().await;
        self.0.files.copy_object(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        self.0.files.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.files.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _alone = self.0.gate.write().await;
        self.0.files.complete_multipart_upload(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.0.files.abort_multipart_upload(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.files.head_bucket(req).await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.0.files.list_buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.0.files.get_bucket_location(req).await
    }

    async fn get_bucket_policy(
        &self,
        req: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        let policy = self.0.policies.get(&req.input.bucket).and_then(Option::as_ref);
        let policy =
            policy.ok_or_else(|| s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist"))?;
        Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy.document().to_string()) }))
    }

    /// What the template says, though a folder is not encrypted.
    async fn get_bucket_encryption(
        &self,
        req: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        let key = self.0.keys.get(&req.input.bucket);
        let algorithm =
            if key.is_some() { ServerSideEncryption::AWS_KMS } else { ServerSideEncryption::AES256 };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: key.cloned(),
                sse_algorithm: ServerSideEncryption::from_static(algorithm),
            }),
            ..Default::default()
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(configuration),
        }))
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let _quiet = self.0.gate.read().await;
        self.0.files.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let _quiet = self.0.gate.read().await;
        self.0.files.list_objects_v2(req).await
    }
}

impl Store {
    /// What HeadObject says, conditions included, which s3s-fs ignores.
    async fn look(
        &self,
        extensions: &hyper::http::Extensions,
        mut input: HeadObjectInput,
    ) -> S3Result<HeadObjectOutput> {
        self.0.check_bucket(&input.bucket)?;
        let (if_match, if_none_match) = (input.if_match.take(), input.if_none_match.take());
        // A folder is no object.
        if !self.0.path(&input.bucket, &input.key).is_ok_and(|path| path.is_file()) {
            return Err(absent(&*flight(extensions)?, &input.bucket, &input.key));
        }
        let _quiet = self.0.gate.read().await;
        let output = self.0.files.head_object(own_request(input)).await?.output;
        let etag = output.e_tag.as_ref();
        let matches = |condition: &s3s::dto::ETagCondition| {
            condition.is_any()
                || condition.as_etag().is_some_and(|wanted| etag.is_some_and(|etag| etag.weak_cmp(wanted)))
        };
        if if_match.is_some_and(|condition| !matches(&condition)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if if_none_match.is_some_and(|condition| matches(&condition)) {
            let mut error = s3_error!(NotModified);
            if let Some(etag) = etag.and_then(|etag| etag.to_http_header().ok()) {
                error.set_headers([(hyper::header::ETAG, etag)].into_iter().collect());
            }
            return Err(error);
        }
        Ok(output)
    }
}

/// Real S3 tells that an object is absent only to those who may list the bucket.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, "Permissions"
fn absent(flight: &Flight, bucket: &str, key: &str) -> S3Error {
    let may_list = flight.may(Needs::new("s3:ListBucket", bucket_arn(bucket)).with("s3:prefix", key));
    let error = if may_list {
        s3_error!(NoSuchKey, "The specified key does not exist.")
    } else {
        s3_error!(AccessDenied, "Access Denied: the object is absent, and s3:ListBucket is not allowed")
    };
    flight.note_error(error.code().as_str());
    error
}

/// A request of this program itself.
fn own_request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: hyper::Method::GET,
        uri: hyper::Uri::default(),
        headers: hyper::HeaderMap::new(),
        extensions: hyper::http::Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

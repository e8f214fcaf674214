//! S3.

use bytes::Bytes;

/// The buckets.
#[derive(Debug, Clone)]
pub struct Buckets {}

impl Buckets {
    /// What SES does to store a message: PutObject as `ses.amazonaws.com` for `source_arn`, a receipt
    /// rule. The bucket policy must allow it; the error is what S3 would say.
    pub async fn put_for_ses(
        &self,
        source_arn: &str,
        bucket: &str,
        key: &str,
        body: Bytes,
    ) -> Result<(), String> {
        todo!("{source_arn} {bucket} {key} {}", body.len())
    }

    /// Writes an object, whatever the policies say.
    pub async fn write(&self, bucket: &str, key: &str, body: Bytes) -> std::io::Result<()> {
        todo!("{bucket} {key} {}", body.len())
    }

    /// Reads an object; `None` if there is none.
    pub async fn read(&self, bucket: &str, key: &str) -> std::io::Result<Option<Bytes>> {
        todo!("{bucket} {key}")
    }

    /// Keys with a prefix, in order.
    pub async fn list(&self, bucket: &str, prefix: &str) -> std::io::Result<Vec<String>> {
        todo!("{bucket} {prefix}")
    }
}

//! The endpoints the functions call, on one loopback port: S3, SES v2, SQS and SNS. Each call is
//! authenticated (SigV4), checked against the caller's role, given the fault that was asked for,
//! answered, and told to the journal.

//! CloudWatch: the alarms of the deployment, all of them quiet, as no metric is kept here.
//!
//! Spoken is what the SDK speaks, CBOR over HTTP by operation. Not supported: every other operation, and
//! filters other than a name's beginning.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>,
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use std::{convert::Infallible, sync::Arc};

use hyper::http::request::Parts;
use minicbor::{Decoder, Encoder, data::Type, encode};
use ses_forwarder_local_template::deployment::{Alarm, Deployment};

use crate::{
    auth::Caller,
    flight::Flight,
    needs::Needs,
    response::{Body, Refusal, Response},
};

type Encoded = Result<(), encode::Error<Infallible>>;

/// The alarms of a deployment.
#[derive(Debug)]
pub(crate) struct Alarms(Vec<Alarm>);

impl Alarms {
    pub(crate) fn new(deployment: &Deployment) -> Alarms {
        Alarms(deployment.alarms.clone())
    }

    /// Answers a call.
    pub(crate) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        head: &Parts,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        let operation = head.uri.path().rsplit('/').next().unwrap_or_default();
        if operation != "DescribeAlarms" {
            let message = format!("{operation} is not supported here");
            return Err(Refusal::new(400, "UnknownOperationException", message));
        }
        let action = "cloudwatch:DescribeAlarms";
        flight.admit(&caller, action, "", "*", vec![Needs::new(action, "*")]).await?;
        let prefix = prefix(body).unwrap_or_default();
        let alarms: Vec<_> = self.0.iter().filter(|alarm| alarm.name.starts_with(&prefix)).collect();
        Ok(answer(200, |encoder| {
            encoder.map(1)?.str("MetricAlarms")?.array(alarms.len() as u64)?;
            for alarm in &alarms {
                encoder.map(4)?.str("AlarmName")?.str(&alarm.name)?.str("ActionsEnabled")?.bool(true)?;
                encoder
                    .str("StateValue")?
                    .str("OK")?
                    .str("AlarmActions")?
                    .array(alarm.actions.len() as u64)?;
                for action in &alarm.actions {
                    encoder.str(action)?;
                }
            }
            Ok(())
        }))
    }
}

/// A refusal, which names its error as the protocol does.
pub(crate) fn refuse(refusal: &Refusal, request_id: &str) -> Response {
    let mut response = answer(refusal.status, |encoder| {
        encoder.map(2)?.str("__type")?.str(&refusal.code)?.str("message")?.str(&refusal.message)?;
        Ok(())
    });
    if let Ok(id) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn answer(status: u16, write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Encoded) -> Response {
    let mut body = Vec::new();
    write(&mut Encoder::new(&mut body)).expect("writing to memory does not fail");
    hyper::Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, "application/cbor")
        .header("smithy-protocol", "rpc-v2-cbor")
        .body(Body::from(body))
        .expect("status and content type are valid")
}

/// `AlarmNamePrefix` of a request.
fn prefix(body: &[u8]) -> Option<String> {
    let mut decoder = Decoder::new(body);
    let length = decoder.map().ok()?;
    let mut read = 0;
    while length.is_none_or(|length| read < length) && decoder.datatype().ok()? != Type::Break {
        if decoder.str().ok()? == "AlarmNamePrefix" {
            return decoder.str().ok().map(str::to_owned);
        }
        decoder.skip().ok()?;
        read += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_found_among_other_members() {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        encoder.begin_map().unwrap().str("MaxRecords").unwrap().u8(5).unwrap();
        encoder.str("AlarmNamePrefix").unwrap().str("mail-").unwrap().end().unwrap();
        assert_eq!(prefix(&body).as_deref(), Some("mail-"));
        assert_eq!(prefix(&[0xbf, 0xff]), None);
        assert_eq!(prefix(&[0xa0]), None);
        assert_eq!(prefix(b"?"), None);
    }
}

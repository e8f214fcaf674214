//! CloudWatch: the alarms of the deployment, all of them quiet, as no metric is kept here; and SES's own two of
//! the account's reputation.
//!
//! It answers as the SDK asks: CBOR over HTTP, a path for each operation. Not supported: every other operation, and
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
        reputation: Option<(f64, f64)>,
    ) -> Result<Response, Refusal> {
        let operation = head.uri.path().rsplit('/').next().unwrap_or_default();
        if operation == "GetMetricStatistics" {
            let action = "cloudwatch:GetMetricStatistics";
            flight.admit(&caller, action, "", "*", vec![Needs::new(action, "*")]).await?;
            let value = match (text_member(body, "MetricName").as_deref(), reputation) {
                (Some("Reputation.BounceRate"), Some((bounces, _))) => Some(bounces),
                (Some("Reputation.ComplaintRate"), Some((_, complaints))) => Some(complaints),
                _ => None,
            };
            return Ok(statistics(value));
        }
        if operation != "DescribeAlarms" {
            let message = format!("{operation} is not supported here");
            return Err(Refusal::new(400, "UnknownOperationException", message));
        }
        let action = "cloudwatch:DescribeAlarms";
        flight.admit(&caller, action, "", "*", vec![Needs::new(action, "*")]).await?;
        let prefix = text_member(body, "AlarmNamePrefix").unwrap_or_default();
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

/// One value as of now, or none.
fn statistics(value: Option<f64>) -> Response {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    answer(200, |encoder| {
        encoder.map(1)?.str("Datapoints")?.array(u64::from(value.is_some()))?;
        if let Some(value) = value {
            // RFC 8949 section 3.4.2: seconds since 1970.
            encoder.map(2)?.str("Timestamp")?.tag(minicbor::data::Tag::new(1))?.f64(now.as_secs_f64())?;
            encoder.str("Maximum")?.f64(value)?;
        }
        Ok(())
    })
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

/// A text of a request.
fn text_member(body: &[u8], name: &str) -> Option<String> {
    let mut decoder = Decoder::new(body);
    let length = decoder.map().ok()?;
    let mut read = 0;
    while length.is_none_or(|length| read < length) && decoder.datatype().ok()? != Type::Break {
        if decoder.str().ok()? == name {
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
        assert_eq!(text_member(&body, "AlarmNamePrefix").as_deref(), Some("mail-"));
        assert_eq!(text_member(&[0xbf, 0xff], "AlarmNamePrefix"), None);
        assert_eq!(text_member(&[0xa0], "AlarmNamePrefix"), None);
        assert_eq!(text_member(b"?", "AlarmNamePrefix"), None);
    }
}

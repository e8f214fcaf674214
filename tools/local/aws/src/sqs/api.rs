//! SQS over HTTP: the AWS JSON 1.0 protocol.
//!
//! Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hyper::http::request::Parts;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use super::queue::{Attribute, Message, Queue, Queues};
use crate::{
    auth::{Caller, hex},
    flight::Flight,
    needs::Needs,
    response::{Refusal, Response, json},
};

/// Longest message with its attributes, in bytes. SQS quotas, "Message size".
const MESSAGE_LIMIT: usize = 1 << 20;
/// Longest delay of a message, in seconds. SQS quotas, "Message quotas".
const DELAY_LIMIT: u64 = 900;
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// All members of the requests; each operation has its own few.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    queue_url: String,
    queue_name: String,
    queue_name_prefix: String,
    #[serde(flatten)]
    entry: Entry,
    entries: Option<Vec<Entry>>,
    max_number_of_messages: Option<usize>,
    wait_time_seconds: Option<u64>,
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    message_attribute_names: Vec<String>,
}

/// One message of a request, or the only one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    id: String,
    message_body: Option<String>,
    delay_seconds: u64,
    message_attributes: BTreeMap<String, InputAttribute>,
    message_system_attributes: BTreeMap<String, InputAttribute>,
    receipt_handle: String,
    visibility_timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InputAttribute {
    data_type: String,
    string_value: Option<String>,
}

impl Queues {
    /// Answers a call.
    pub(crate) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        head: &Parts,
        body: &[u8],
    ) -> Result<Response, Refusal> {
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let Some(operation) = target.and_then(|target| target.strip_prefix("AmazonSQS.")) else {
            return Err(invalid("InvalidAction", "X-Amz-Target must be AmazonSQS.<Operation>."));
        };
        let input: Input = serde_json::from_slice(body)
            .map_err(|error| invalid("SerializationException", error.to_string()))?;
        let endpoint = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let url = |queue: &Queue| format!("http://{endpoint}/{}/{}", flight.account(), queue.name());

        if operation == "ListQueues" {
            flight.admit(&caller, "sqs:ListQueues", "", "*", vec![Needs::new("sqs:ListQueues", "*")]).await?;
            let named = self.0.values().filter(|queue| queue.name().starts_with(&input.queue_name_prefix));
            return Ok(answer(&json!({ "QueueUrls": named.map(url).collect::<Vec<_>>() })));
        }

        let name = match operation {
            "GetQueueUrl" => &input.queue_name,
            _ => input.queue_url.rsplit('/').next().unwrap_or_default(),
        };
        let action = match operation {
            "SendMessage" | "SendMessageBatch" => "sqs:SendMessage",
            "ReceiveMessage" => "sqs:ReceiveMessage",
            "DeleteMessage" | "DeleteMessageBatch" => "sqs:DeleteMessage",
            "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => "sqs:ChangeMessageVisibility",
            "GetQueueUrl" => "sqs:GetQueueUrl",
            "GetQueueAttributes" => "sqs:GetQueueAttributes",
            "PurgeQueue" => "sqs:PurgeQueue",
            other => {
                let message = format!("The operation {other} is not supported here.");
                return Err(invalid("UnsupportedOperation", message));
            }
        };
        let queue = self.by_name(name);
        // A queue that does not exist may be asked for, if that is allowed.
        let arn = queue.map_or_else(|| format!("arn:aws:sqs:*:*:{name}"), |queue| queue.arn().to_owned());
        let operation_name = format!("sqs:{operation}");
        flight.admit(&caller, &operation_name, name, &arn, vec![Needs::new(action, arn.as_str())]).await?;
        let queue =
            queue.ok_or_else(|| invalid("QueueDoesNotExist", "The specified queue does not exist."))?;

        let output = match operation {
            "GetQueueUrl" => json!({ "QueueUrl": url(queue) }),
            "GetQueueAttributes" => json!({ "Attributes": queue.attributes(&input.attribute_names) }),
            "PurgeQueue" => {
                queue.purge();
                json!({})
            }
            "ReceiveMessage" => queue.receive_message(&input).await?,
            _ => {
                let act: fn(&Queue, &Entry) -> Result<Value, Refusal> = match action {
                    "sqs:SendMessage" => Queue::send_message,
                    "sqs:DeleteMessage" => Queue::delete_message,
                    _ => Queue::change_message_visibility,
                };
                match &input.entries {
                    None => act(queue, &input.entry)?,
                    Some(entries) => batch(entries, |entry| act(queue, entry))?,
                }
            }
        };
        Ok(answer(&output))
    }
}

impl Entry {
    /// A handle as receiving gives it, if perhaps an old one.
    fn receipt_handle(&self) -> Result<&str, Refusal> {
        let handle = &self.receipt_handle;
        uuid::Uuid::parse_str(handle).map(|_| handle.as_str()).map_err(|_| {
            let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
            invalid("ReceiptHandleIsInvalid", message)
        })
    }
}

impl Queue {
    fn send_message(&self, entry: &Entry) -> Result<Value, Refusal> {
        let body = entry.message_body.as_deref().unwrap_or_default();
        if body.is_empty() {
            return Err(invalid("MissingParameter", "The request must contain the parameter MessageBody."));
        }
        if entry.delay_seconds > DELAY_LIMIT {
            let message = format!(
                "Value {} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= {DELAY_LIMIT}.",
                entry.delay_seconds
            );
            return Err(invalid("InvalidParameterValue", message));
        }
        let delay = Duration::from_secs(entry.delay_seconds);
        let mut attributes = BTreeMap::new();
        for (name, InputAttribute { data_type, string_value }) in &entry.message_attributes {
            let Some(value) = string_value else {
                let message = format!("The message attribute '{name}' has no StringValue.");
                return Err(invalid("InvalidParameterValue", message));
            };
            let attribute = Attribute { data_type: data_type.clone(), value: value.clone() };
            attributes.insert(name.clone(), attribute);
        }
        let size = attributes.iter().fold(body.len(), |size, (name, Attribute { data_type, value })| {
            size + name.len() + data_type.len() + value.len()
        });
        if size > MESSAGE_LIMIT {
            let message = format!("Reason: Message must be shorter than {MESSAGE_LIMIT} bytes.");
            return Err(invalid("InvalidParameterValue", message));
        }
        let mut output = json!({ "MD5OfMessageBody": hex(&Md5::digest(body)) });
        if !attributes.is_empty() {
            output["MD5OfMessageAttributes"] = md5_of_attributes(&attributes).into();
        }
        let trace = entry.message_system_attributes.get("AWSTraceHeader");
        let trace = trace.and_then(|trace| trace.string_value.clone());
        output["MessageId"] = self.send_traced(body, attributes, trace, delay).into();
        Ok(output)
    }

    fn delete_message(&self, entry: &Entry) -> Result<Value, Refusal> {
        self.delete(entry.receipt_handle()?);
        Ok(json!({}))
    }

    fn change_message_visibility(&self, entry: &Entry) -> Result<Value, Refusal> {
        let timeout = entry.visibility_timeout.filter(|seconds| *seconds <= 43_200).ok_or_else(|| {
            invalid("InvalidParameterValue", "VisibilityTimeout must be from 0 to 43200 seconds.")
        })?;
        self.change_visibility(entry.receipt_handle()?, Duration::from_secs(timeout));
        Ok(json!({}))
    }

    async fn receive_message(&self, input: &Input) -> Result<Value, Refusal> {
        let max = input.max_number_of_messages.unwrap_or(1);
        if !(1..=10).contains(&max) {
            let message = format!(
                "Value {max} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
            );
            return Err(invalid("InvalidParameterValue", message));
        }
        let wait = input.wait_time_seconds.unwrap_or(0);
        if wait > 20 {
            let message = format!(
                "Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
            );
            return Err(invalid("InvalidParameterValue", message));
        }
        let visibility = input.entry.visibility_timeout.map(Duration::from_secs);
        let messages = self.receive(max, Duration::from_secs(wait), visibility).await;
        if messages.is_empty() {
            return Ok(json!({}));
        }
        let messages: Vec<_> = messages.into_iter().map(|message| output(message, input)).collect();
        Ok(json!({ "Messages": messages }))
    }

    fn attributes(&self, asked: &[String]) -> BTreeMap<&'static str, String> {
        let (waiting, in_flight) = self.depth();
        let mut attributes = BTreeMap::from([
            ("QueueArn", self.arn().to_owned()),
            ("ApproximateNumberOfMessages", waiting.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
            ("VisibilityTimeout", self.0.visibility_timeout.as_secs().to_string()),
            ("MessageRetentionPeriod", self.0.retention.as_secs().to_string()),
        ]);
        attributes.retain(|name, _| asked.iter().any(|asked| asked == "All" || asked == name));
        attributes
    }
}

/// Does something with each entry and reports each one's success or failure.
fn batch(entries: &[Entry], act: impl Fn(&Entry) -> Result<Value, Refusal>) -> Result<Value, Refusal> {
    if entries.is_empty() {
        return Err(invalid("EmptyBatchRequest", "There should be at least one entry in the request."));
    }
    if entries.len() > 10 {
        return Err(invalid("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10."));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match act(entry) {
            Ok(mut output) => {
                output["Id"] = entry.id.clone().into();
                successful.push(output);
            }
            Err(Refusal { code, message, .. }) => {
                failed.push(json!({ "Id": entry.id, "Code": code, "Message": message, "SenderFault": true }));
            }
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

fn output(message: Message, input: &Input) -> Value {
    let mut output = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.md5_of_body,
        "Body": message.body,
    });
    let asked = |name: &str| {
        let mut names = input.attribute_names.iter().chain(&input.message_system_attribute_names);
        names.any(|asked| asked == "All" || asked == name)
    };
    let attributes: BTreeMap<_, _> = message.attributes.into_iter().filter(|(name, _)| asked(name)).collect();
    if !attributes.is_empty() {
        output["Attributes"] = json!(attributes);
    }
    let asked = |name: &str| {
        input.message_attribute_names.iter().any(|asked| {
            asked == "All"
                || asked == name
                || asked.strip_suffix(".*").is_some_and(|start| name.starts_with(start))
        })
    };
    let attributes: BTreeMap<_, _> =
        message.message_attributes.into_iter().filter(|(name, _)| asked(name)).collect();
    if !attributes.is_empty() {
        output["MD5OfMessageAttributes"] = md5_of_attributes(&attributes).into();
        let attributes: BTreeMap<_, _> = attributes
            .into_iter()
            .map(|(name, Attribute { data_type, value })| {
                (name, json!({ "DataType": data_type, "StringValue": value }))
            })
            .collect();
        output["MessageAttributes"] = json!(attributes);
    }
    output
}

/// SQS developer guide, "Calculating the MD5 message digest for message attributes": each length is four
/// bytes, and one byte before a value says that it is text.
fn md5_of_attributes(attributes: &BTreeMap<String, Attribute>) -> String {
    let mut hash = Md5::new();
    let update = |hash: &mut Md5, text: &str| {
        hash.update(u32::try_from(text.len()).expect("messages are short").to_be_bytes());
        hash.update(text);
    };
    for (name, Attribute { data_type, value }) in attributes {
        update(&mut hash, name);
        update(&mut hash, data_type);
        hash.update([1]);
        update(&mut hash, value);
    }
    hex(&hash.finalize())
}

fn invalid(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

fn answer(output: &Value) -> Response {
    json(200, CONTENT_TYPE, output)
}

/// A refusal in the JSON 1.0 protocol.
pub(crate) fn refuse(refusal: &Refusal, request_id: &str) -> Response {
    let Refusal { status, code, message } = refusal;
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message });
    let mut response = json(*status, CONTENT_TYPE, &body);
    // Clients made before the JSON protocol look for the old code here.
    let query_code = match code.as_str() {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
        code => code,
    };
    let fault = if *status < 500 { "Sender" } else { "Receiver" };
    let headers = response.headers_mut();
    if let Ok(value) = format!("{query_code};{fault}").parse() {
        headers.insert("x-amzn-query-error", value);
    }
    if let Ok(value) = request_id.parse() {
        headers.insert("x-amzn-requestid", value);
    }
    response
}

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use ses_forwarder_local_aws::sqs::Attribute;

use crate::bench::{Bench, Key, OPERATOR, Signed};

const URL: &str = "http://localhost/123456789012/dead-letters";

async fn call(bench: &Bench, key: Key<'_>, operation: &str, input: Value) -> (u16, Value) {
    let target = format!("AmazonSQS.{operation}");
    let mut request = Signed::post(key, "sqs", "/", input.to_string());
    request.headers = vec![("x-amz-target", &target), ("content-type", "application/x-amz-json-1.0")];
    let (status, _, body) = bench.call_json(request).await;
    (status, body)
}

#[tokio::test]
async fn a_message_goes_its_way() {
    let bench = Bench::start().await;
    let queue = bench.services.queue(&bench.deployment.queues[0].arn).unwrap();
    let attribute = Attribute { data_type: "Number".to_owned(), value: "200".to_owned() };
    let id = queue.send("{\"Records\":[]}", BTreeMap::from([("ErrorCode".to_owned(), attribute)]));

    let (_, received) = call(
        &bench,
        OPERATOR,
        "ReceiveMessage",
        json!({ "QueueUrl": URL, "AttributeNames": ["All"], "MessageAttributeNames": ["Error.*", "ErrorCode"] }),
    )
    .await;
    let message = &received["Messages"][0];
    assert_eq!(message["MessageId"], id);
    assert_eq!(message["Body"], "{\"Records\":[]}");
    assert_eq!(message["MD5OfBody"], "4166b95044745e0c1033678bdad8d7de");
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(
        message["MessageAttributes"]["ErrorCode"],
        json!({ "DataType": "Number", "StringValue": "200" })
    );
    assert_eq!(queue.depth(), (0, 1));

    let handle = message["ReceiptHandle"].clone();
    let (status, _) = call(
        &bench,
        OPERATOR,
        "ChangeMessageVisibility",
        json!({ "QueueUrl": URL, "ReceiptHandle": handle, "VisibilityTimeout": 0 }),
    )
    .await;
    assert_eq!((status, queue.depth()), (200, (1, 0)));
    let again = queue.receive(1, Duration::ZERO, None).await;
    let delete = json!({ "QueueUrl": URL, "Entries": [
        { "Id": "a", "ReceiptHandle": handle }, { "Id": "b", "ReceiptHandle": again[0].receipt_handle },
    ] });
    let (_, deleted) = call(&bench, OPERATOR, "DeleteMessageBatch", delete).await;
    assert_eq!(deleted, json!({ "Successful": [{ "Id": "a" }, { "Id": "b" }], "Failed": [] }));
    assert_eq!(queue.depth(), (0, 0));
}

#[tokio::test]
async fn answers_and_refusals() {
    let bench = Bench::start().await;
    let function = bench.function();
    let function = Key::from(&function);
    let host = bench.url.trim_start_matches("http://");
    let url = format!("http://{host}/123456789012/dead-letters");
    let too_long = "x".repeat((1 << 20) + 1);
    let entries: Vec<_> = (0..11).map(|id| json!({ "Id": id.to_string(), "MessageBody": "m" })).collect();
    let cases = [
        (OPERATOR, "GetQueueUrl", json!({ "QueueName": "dead-letters" }), 200, json!({ "QueueUrl": url })),
        (OPERATOR, "ListQueues", json!({}), 200, json!({ "QueueUrls": [url] })),
        (
            OPERATOR,
            "GetQueueAttributes",
            json!({ "QueueUrl": URL, "AttributeNames": ["QueueArn", "ApproximateNumberOfMessages"] }),
            200,
            json!({ "Attributes": {
                "ApproximateNumberOfMessages": "0",
                "QueueArn": "arn:aws:sqs:us-east-1:123456789012:dead-letters",
            } }),
        ),
        (OPERATOR, "ReceiveMessage", json!({ "QueueUrl": URL }), 200, json!({})),
        (
            OPERATOR,
            "GetQueueUrl",
            json!({ "QueueName": "other" }),
            400,
            json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist." }),
        ),
        (
            OPERATOR,
            "ReceiveMessage",
            json!({ "QueueUrl": URL, "MaxNumberOfMessages": 11 }),
            400,
            json!({ "__type": "com.amazonaws.sqs#InvalidParameterValue", "message":
                "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided." }),
        ),
        (
            OPERATOR,
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": too_long }),
            400,
            json!({ "__type": "com.amazonaws.sqs#InvalidParameterValue", "message":
                "Reason: Message must be shorter than 1048576 bytes." }),
        ),
        (
            OPERATOR,
            "SendMessage",
            json!({ "QueueUrl": URL, "MessageBody": "m", "DelaySeconds": 901 }),
            400,
            json!({ "__type": "com.amazonaws.sqs#InvalidParameterValue", "message":
                "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900." }),
        ),
        (
            OPERATOR,
            "DeleteMessage",
            json!({ "QueueUrl": URL, "ReceiptHandle": "x" }),
            400,
            json!({ "__type": "com.amazonaws.sqs#ReceiptHandleIsInvalid", "message":
                "The input receipt handle \"x\" is not a valid receipt handle." }),
        ),
        (
            OPERATOR,
            "SendMessageBatch",
            json!({ "QueueUrl": URL, "Entries": entries }),
            400,
            json!({ "__type": "com.amazonaws.sqs#TooManyEntriesInBatchRequest", "message":
                "Maximum number of entries per request are 10." }),
        ),
        (
            OPERATOR,
            "CreateQueue",
            json!({ "QueueName": "a" }),
            400,
            json!({ "__type": "com.amazonaws.sqs#UnsupportedOperation", "message":
                "The operation CreateQueue is not supported here." }),
        ),
    ];
    for (key, operation, input, status, output) in cases {
        assert_eq!(
            call(&bench, key, operation, input.clone()).await,
            (status, output),
            "{operation} {input}"
        );
    }
    let sent = call(&bench, function, "SendMessage", json!({ "QueueUrl": URL, "MessageBody": "m" })).await;
    assert_eq!(sent.1["MD5OfMessageBody"], "6f8f57715090da2632453988d9a1501b");
    let (status, denied) = call(&bench, function, "PurgeQueue", json!({ "QueueUrl": URL })).await;
    assert_eq!((status, &denied["__type"]), (403, &json!("com.amazonaws.sqs#AccessDeniedException")));
}

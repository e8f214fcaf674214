//! A function that can't start, or panics, says why, to the log and to Lambda.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use ses_forwarder_local_stack::{example, privacy::leaks};

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Plays the Runtime API for one request: its first line and its body.
fn one_request(listener: &TcpListener, answer: &str) -> (String, String) {
    let (stream, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(&stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request line");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    (&stream).write_all(answer.as_bytes()).expect("the function listens");
    (first.trim_end().to_owned(), String::from_utf8(body).expect("JSON"))
}

#[test]
fn everything_wrong_with_the_settings_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let lambda = thread::spawn(move || one_request(&listener, ACCEPTED));
    let function = Command::new(env!("CARGO_BIN_EXE_handle-email"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("EMAIL_DOMAIN", "in.example")
        .env("ON_SPAM", "delete")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let sentence = "BUCKET is not set; it must be the name of a bucket: 3 to 63 lower-case letters, digits, \
                    dots and hyphens; ON_SPAM is \"delete\"; it must be forward, tag or drop";
    assert!(!function.status.success());
    let (request, body) = lambda.join().unwrap();
    assert_eq!(request, "POST /2018-06-01/runtime/init/error HTTP/1.1");
    let expected = serde_json::json!({"errorType": "SettingsError", "errorMessage": sentence});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
    let log = String::from_utf8(function.stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], sentence);
}

#[test]
fn a_panic_is_logged_once_without_what_it_is_about() {
    let event = r#"{"from":"Jane Doe <jane@example.com>","subject":"Café on Friday?"}"#;
    let message = "Subject: Café on Friday?\r\n\r\nAt noon.\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut function = Command::new(example("panics").unwrap())
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .envs([("AWS_LAMBDA_LOG_FORMAT", "JSON"), ("AWS_LAMBDA_FUNCTION_NAME", "panics")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .envs([("AWS_LAMBDA_LOG_GROUP_NAME", "group"), ("AWS_LAMBDA_LOG_STREAM_NAME", "stream")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let next = format!(
        "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: r1\r\nlambda-runtime-deadline-ms: 4000000000000\r\n\
         lambda-runtime-invoked-function-arn: arn\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{event}",
        event.len()
    );
    one_request(&listener, &next);
    let (request, body) = one_request(&listener, ACCEPTED);
    function.kill().unwrap();
    let log = String::from_utf8(function.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(request, "POST /2018-06-01/runtime/invocation/r1/error HTTP/1.1");
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(
        error["errorMessage"].as_str().unwrap().contains("jane@example.com"),
        "it keeps its words: {body}"
    );
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let told = lines[0]["message"].as_str().unwrap();
    assert!(told.starts_with("panicked at ") && told.contains("panics.rs:"), "{told}");
    assert_eq!(leaks(log.lines(), message.as_bytes()), [""; 0]);
}

//! A function that can't start says why, to the log and to Lambda.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

/// Plays the Runtime API for one request: its first line and its body.
fn one_request(listener: &TcpListener) -> (String, String) {
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
    let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
    (&stream).write_all(answer).expect("the function listens");
    (first.trim_end().to_owned(), String::from_utf8(body).expect("JSON"))
}

#[test]
fn everything_wrong_with_the_settings_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let lambda = thread::spawn(move || one_request(&listener));
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

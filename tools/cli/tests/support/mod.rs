//! The real program against something that plays AWS, and a DNS server.

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Command, Output},
};

use hickory_resolver::proto::{
    op::Message,
    rr::{Name, RData, Record, rdata::MX},
};
use serde_json::Value;
use ses_forwarder_cli::clients::Clients;

/// All checks of `doctor`, in order.
const CHECKS: [&str; 11] = [
    "stack",
    "MX record",
    "active rule set",
    "receipt rule",
    "bucket policy",
    "function permission",
    "sending identity",
    "SES account",
    "routes",
    "notice topic",
    "dead letters",
];

/// Who operates a stack, and where.
pub(crate) struct Operator {
    pub(crate) endpoint: String,
    pub(crate) access_key_id: &'static str,
    pub(crate) secret_access_key: &'static str,
    pub(crate) stack: &'static str,
}

impl Operator {
    /// Runs the program, with nothing of this process's environment.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ses-forwarder"))
            .args(arguments)
            .args(["--stack", self.stack])
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", self.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", self.secret_access_key)
            .env("AWS_REGION", "us-east-1")
            .output()
            .unwrap()
    }

    /// Exit code and standard output; there is nothing on standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), printed)
    }

    /// Exit code of `doctor --json`, and its checks with their states.
    pub(crate) fn doctor(&self, nameserver: SocketAddr) -> (i32, Vec<(String, String)>) {
        let (code, printed) = self.run(&["doctor", "--json", "--nameserver", &nameserver.to_string()]);
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["ok"], code == 0, "{printed}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap().iter();
        (code, findings.map(|finding| (text(&finding["check"]), text(&finding["state"]))).collect())
    }

    /// Clients for what the program has no command for.
    pub(crate) async fn clients(&self) -> Clients {
        let credentials = aws_sdk_s3::config::Credentials::new(
            self.access_key_id,
            self.secret_access_key,
            None,
            None,
            "test",
        );
        let configuration = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region("us-east-1")
            .credentials_provider(credentials)
            .load()
            .await;
        Clients::with(&configuration)
    }
}

/// What `doctor` says where these checks come out so and all others well.
pub(crate) fn states(others: &[(&str, &str)]) -> Vec<(String, String)> {
    let state = |check| others.iter().find(|(other, _)| *other == check).map_or("ok", |(_, state)| state);
    CHECKS.map(|check| (check.to_owned(), state(check).to_owned())).to_vec()
}

/// A DNS server that knows one MX record.
pub(crate) fn nameserver(exchange: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let name = query.queries[0].name().clone();
            let mut answer = query.into_response();
            let mx = MX::new(10, Name::from_ascii(exchange).unwrap());
            answer.add_answer(Record::from_rdata(name, 60, RData::MX(mx)));
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
    address
}

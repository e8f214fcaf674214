//! The real program against something that plays AWS, and a DNS server.

#![allow(dead_code, reason = "each test binary takes what it needs")]

pub(crate) mod proxy;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    process::{Command, Output, Stdio},
};

use hickory_resolver::proto::{
    op::Message,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, MX, TXT},
    },
};
use serde_json::Value;
use ses_forwarder_cli::clients::Clients;
use ses_forwarder_local_aws::auth::{OPERATOR_KEY, OPERATOR_SECRET};
use ses_forwarder_local_stack::Stack;

/// All checks of `doctor` where all goes well, in order.
const CHECKS: [&str; 34] = [
    "stack",
    "outputs",
    "settings",
    "other stacks",
    "MX record",
    "active rule set",
    "receipt rule",
    "bucket",
    "bucket policy",
    "bucket's key",
    "function permission",
    "handle-email",
    "routes",
    "sending identity",
    "DKIM",
    "SPF and MAIL FROM",
    "DMARC",
    "SES account",
    "sending quota",
    "SES pricing plan",
    "bounces and complaints",
    "configuration set",
    "feedback",
    "SES tenant",
    "suppression list",
    "handle-dead-letter",
    "functions' code",
    "notice address",
    "notice topic",
    "topic's key",
    "alarms",
    "dead letters",
    "reply keys",
    "DMARC of who answers",
];

/// Who operates a stack, and where.
pub(crate) struct Operator {
    pub(crate) endpoint: String,
    pub(crate) access_key_id: &'static str,
    pub(crate) secret_access_key: &'static str,
    pub(crate) stack: &'static str,
}

impl Operator {
    /// Who operates a stack of the local one.
    pub(crate) fn of(stack: &Stack) -> Operator {
        Operator {
            endpoint: stack.aws_url(),
            access_key_id: OPERATOR_KEY,
            secret_access_key: OPERATOR_SECRET,
            stack: "ses-forwarder",
        }
    }

    /// Runs the program, with nothing of this process's environment.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let stack = ["--stack", self.stack];
        self.command(&[arguments, &stack].concat()).output().unwrap()
    }

    /// The program, with nothing of this process's environment, and no terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ses-forwarder"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", self.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", self.secret_access_key)
            .env("AWS_REGION", "us-east-1");
        command
    }

    /// Exit code and standard output; there is nothing on standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), printed)
    }

    /// Exit code of `doctor --json`, and its findings.
    pub(crate) fn findings(&self, nameserver: SocketAddr) -> (i32, Vec<Value>) {
        let (code, printed) = self.run(&["doctor", "--json", "--nameserver", &nameserver.to_string()]);
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["ok"], code == 0, "{printed}");
        (code, report["findings"].as_array().unwrap().clone())
    }

    /// Exit code of `doctor --json`, and its checks with their states.
    pub(crate) fn doctor(&self, nameserver: SocketAddr) -> (i32, Vec<(String, String)>) {
        let (code, findings) = self.findings(nameserver);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (code, findings.iter().map(|finding| (text(&finding["check"]), text(&finding["state"]))).collect())
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

/// Names and kinds of records with their values, as zone files write them.
pub(crate) type Zone = BTreeMap<(String, RecordType), Vec<String>>;

/// What the DNS says of `in.example` if all is well but, perhaps, its MX record.
pub(crate) fn zone(exchange: &str) -> Zone {
    zone_of(&["in.example"], exchange)
}

/// The same of several domains.
pub(crate) fn zone_of(domains: &[&str], exchange: &str) -> Zone {
    let mut zone = Zone::new();
    for domain in domains {
        zone.insert(((*domain).to_owned(), RecordType::MX), vec![exchange.to_owned()]);
        zone.insert((format!("_dmarc.{domain}"), RecordType::TXT), vec!["v=DMARC1; p=reject".to_owned()]);
        for token in ["token1", "token2", "token3"] {
            let name = format!("{token}._domainkey.{domain}");
            zone.insert((name, RecordType::CNAME), vec![format!("{token}.dkim.amazonses.com.")]);
        }
    }
    zone
}

/// A DNS server.
pub(crate) fn nameserver(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let (name, kind) = (query.queries[0].name().clone(), query.queries[0].query_type());
            let key = (name.to_ascii().trim_end_matches('.').to_ascii_lowercase(), kind);
            let mut answer = query.into_response();
            for value in zone.get(&key).into_iter().flatten() {
                let data = match kind {
                    RecordType::MX => RData::MX(MX::new(10, Name::from_ascii(value).unwrap())),
                    RecordType::CNAME => RData::CNAME(CNAME(Name::from_ascii(value).unwrap())),
                    _ => RData::TXT(TXT::new(vec![value.clone()])),
                };
                answer.add_answer(Record::from_rdata(name.clone(), 60, data));
            }
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
    address
}

/// Confirms the subscription of the notice address, which the template has made.
pub(crate) async fn confirm(stack: &Stack, operator: &Operator) {
    let topic = &stack.deployment().topics[0].arn;
    let sns = operator.clients().await.sns;
    let subscribe = sns.subscribe().topic_arn(topic).protocol("email").endpoint("operator@out.example");
    subscribe.send().await.unwrap();
    let asked = stack.published().pop().unwrap().text;
    let token = asked.trim_end().rsplit(' ').next().unwrap();
    sns.confirm_subscription().topic_arn(topic).token(token).send().await.unwrap();
}

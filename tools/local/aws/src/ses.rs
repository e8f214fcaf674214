//! SES v2: SendEmail of raw messages with every rule of [`ses_message`], what becomes of them ([`feedback`]),
//! and what a person or a doctor asks of an account.
//!
//! Not supported: simple and templated messages, reputation. `ReplyToAddresses` and
//! `FeedbackForwardingEmailAddress` are read and checked, but change nothing in a raw message.
//!
//! Sources: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/verify-addresses-and-domains.html>

mod account;
mod bounce;
pub mod feedback;
mod request;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::{Method, http::request::Parts};
use serde_json::{Value, json};
use ses_forwarder_local_template::deployment::{Deployment, EventDestination};
use tokio::{sync::mpsc, time::Instant};

pub use self::account::Account;
use self::request::SendEmail;
use crate::{
    auth::Caller,
    delivery::{Delivery, Outgoing},
    event_bus::EventBus,
    faults::Fate,
    flight::Flight,
    needs::Needs,
    pace::Pace,
    response::{Refusal, Response, json},
    ses_address::parse_one,
    ses_message::{self, MESSAGE_LIMIT, Refused, SesMessage},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of every identity: the names under which its keys are looked for.
const DKIM_TOKENS: [&str; 3] = ["token1", "token2", "token3"];

/// Takes outgoing mail. Clones are the same account.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    region: String,
    account_id: String,
    account: Mutex<Account>,
    /// When each recipient of the last day was sent to.
    sent: Mutex<VecDeque<Instant>>,
    delivery: Delivery,
    pace: Pace,
    asked: AtomicUsize,
    /// The messages of the last day by SES's id, for [`bounce`].
    received: Mutex<HashMap<String, bounce::Received>>,
    /// When it last sent a bounce.
    bounced: Mutex<Option<Instant>>,
    event_destinations: Vec<EventDestination>,
    bus: EventBus,
    /// Who takes reports by mail.
    reports: Mutex<Option<mpsc::UnboundedSender<feedback::Report>>>,
    /// Recipients sent to, bounces and complaints so far.
    reputation: [AtomicUsize; 3],
}

impl Sender {
    pub(super) fn new(
        deployment: &Deployment,
        account: Account,
        delivery: Delivery,
        bus: EventBus,
        pace: Pace,
    ) -> Sender {
        Sender(Arc::new(Inner {
            region: deployment.region.clone(),
            account_id: deployment.account.clone(),
            account: Mutex::new(account),
            sent: Mutex::default(),
            delivery,
            pace,
            asked: AtomicUsize::new(0),
            received: Mutex::default(),
            bounced: Mutex::default(),
            event_destinations: deployment.event_destinations.clone(),
            bus,
            reports: Mutex::default(),
            reputation: Default::default(),
        }))
    }

    /// Changes the account.
    pub fn configure(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.0.account.lock().expect("no holder of this lock panics"));
    }

    /// Reports of bounces by mail, from now on; without anyone who takes them there are none.
    pub fn reports(&self) -> mpsc::UnboundedReceiver<feedback::Report> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.reports.lock().expect("no holder of this lock panics") = Some(sender);
        receiver
    }

    /// How often it was asked to send, whatever it answered.
    pub fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// The account as it is now.
    pub fn account(&self) -> Account {
        self.0.account.lock().expect("no holder of this lock panics").clone()
    }

    /// Answers a call.
    pub(super) async fn answer(
        &self,
        flight: &Flight,
        caller: Arc<Caller>,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response, Refusal> {
        let path = head.uri.path().strip_prefix("/v2/email/").unwrap_or_default();
        let (operation, argument) = path.split_once('/').unwrap_or((path, ""));
        let output = match (&head.method, operation, argument) {
            (&Method::POST, "outbound-emails", "") => self.send_email(flight, &caller, body).await?,
            (&Method::GET, "account", "") => {
                let needs = Needs::new("ses:GetAccount", "*");
                flight.admit(&caller, "ses:GetAccount", "", "*", vec![needs]).await?;
                self.get_account()
            }
            (&Method::GET, "identities", identity) if !identity.is_empty() => {
                let identity = identity.replace("%40", "@").to_ascii_lowercase();
                let arn = self.arn("identity", &identity);
                let needs = Needs::new("ses:GetEmailIdentity", &*arn);
                flight.admit(&caller, "ses:GetEmailIdentity", &identity, &arn, vec![needs]).await?;
                self.get_email_identity(&identity)?
            }
            (&Method::GET, "configuration-sets", path) if path.ends_with("/event-destinations") => {
                let name = path.strip_suffix("/event-destinations").unwrap_or_default();
                let (action, arn) =
                    ("ses:GetConfigurationSetEventDestinations", self.arn("configuration-set", name));
                flight.admit(&caller, action, name, &arn, vec![Needs::new(action, &*arn)]).await?;
                self.account().check_configuration_set(name)?;
                self.get_event_destinations(name)
            }
            (&Method::GET, "configuration-sets", name) if !name.is_empty() => {
                let arn = self.arn("configuration-set", name);
                let needs = Needs::new("ses:GetConfigurationSet", &*arn);
                flight.admit(&caller, "ses:GetConfigurationSet", name, &arn, vec![needs]).await?;
                self.account().check_configuration_set(name)?;
                json!({ "ConfigurationSetName": name })
            }
            (&Method::POST, "tenants", "get") => {
                let name = tenant_name(&body)?;
                let arn = self.tenant_arn(&name);
                let needs = Needs::new("ses:GetTenant", &*arn);
                flight.admit(&caller, "ses:GetTenant", &name, &arn, vec![needs]).await?;
                self.account().resources_of(&name)?;
                let paused = self.account().paused_tenants.contains(&name);
                let status = if paused { "DISABLED" } else { "ENABLED" };
                json!({ "Tenant": { "TenantName": name, "TenantArn": arn, "SendingStatus": status } })
            }
            (&Method::POST, "tenants", "resources/list") => {
                let name = tenant_name(&body)?;
                let arn = self.tenant_arn(&name);
                let needs = Needs::new("ses:ListTenantResources", &*arn);
                flight.admit(&caller, "ses:ListTenantResources", &name, &arn, vec![needs]).await?;
                let resources = self.account().resources_of(&name)?.clone();
                let resource = |arn: &String| json!({ "ResourceArn": arn });
                json!({ "TenantResources": resources.iter().map(resource).collect::<Vec<_>>() })
            }
            (&Method::GET, "suppression", "addresses") => {
                let action = "ses:ListSuppressedDestinations";
                flight.admit(&caller, action, "", "*", vec![Needs::new(action, "*")]).await?;
                let suppressed = self.account().suppressed;
                let summary = |address: &String| json!({ "EmailAddress": address, "Reason": "BOUNCE", "LastUpdateTime": 0 });
                let summaries: Vec<_> = suppressed.iter().map(summary).collect();
                json!({ "SuppressedDestinationSummaries": summaries })
            }
            (&Method::GET | &Method::DELETE, "suppression", path) if path.starts_with("addresses/") => {
                let address =
                    path["addresses/".len()..].replace("%40", "@").replace("%2B", "+").to_ascii_lowercase();
                let action = match head.method {
                    Method::GET => "ses:GetSuppressedDestination",
                    _ => "ses:DeleteSuppressedDestination",
                };
                flight.admit(&caller, action, &address, "*", vec![Needs::new(action, "*")]).await?;
                if !self.account().suppressed.contains(&address) {
                    let message = format!("Email address {address} does not exist on your suppression list.");
                    return Err(Refusal::new(404, "NotFoundException", message));
                }
                if head.method == Method::DELETE {
                    self.configure(|account| _ = account.suppressed.remove(&address));
                    json!({})
                } else {
                    json!({ "SuppressedDestination": { "EmailAddress": address, "Reason": "BOUNCE", "LastUpdateTime": 0 } })
                }
            }
            (method, ..) => {
                let message = format!("{method} {} is not supported here", head.uri.path());
                return Err(Refusal::new(404, "UnknownOperationException", message));
            }
        };
        Ok(json(200, "application/json", &output))
    }

    async fn send_email(&self, flight: &Flight, caller: &Arc<Caller>, body: Bytes) -> Result<Value, Refusal> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let request: SendEmail<'_> = serde_json::from_slice(&body)
            .map_err(|error| Refusal::new(400, "SerializationException", error.to_string()))?;
        let raw = request.raw()?;
        // Who may send is decided before what is sent is looked at, but needs the sender's address.
        let checked = ses_message::check(&raw);
        let from = match (&request.from_email_address, &checked) {
            (Some(from), _) => parse_one(from).map_err(bad)?,
            (None, Ok(message)) => message.senders.first().cloned().unwrap_or_default(),
            (None, Err(refused)) => return Err(refused.clone().into()),
        };
        let account = self.account();
        let configuration_set = request
            .configuration_set_name
            .clone()
            .or_else(|| checked.as_ref().ok().and_then(|message| message.configuration_set.clone()))
            .or_else(|| self.account().default_configuration_set);
        let header_from = checked.as_ref().ok().and_then(|message| message.senders.first());
        let froms: BTreeSet<&str> = header_from.into_iter().chain([&from]).map(String::as_str).collect();
        let mut needs = Vec::new();
        let set = configuration_set.as_ref().map(|set| self.arn("configuration-set", set));
        let tenant = request.tenant_name.as_ref().map(|tenant| self.tenant_arn(tenant));
        let mut used = BTreeSet::new();
        for from in froms {
            let identity = self.arn("identity", account.identity(from).unwrap_or(from));
            used.extend([identity.clone()].into_iter().chain(set.clone()));
            for resource in [identity].into_iter().chain(set.clone()).chain(tenant.clone()) {
                needs.push(Needs::new("ses:SendEmail", &*resource).with("ses:FromAddress", from));
                // SES v2 asks for this too where the content is raw, though the API is SendEmail's.
                needs.push(Needs::new("ses:SendRawEmail", resource).with("ses:FromAddress", from));
            }
        }
        flight.admit(caller, "ses:SendEmail", &from, &from, needs).await?;

        let encoded = raw.len().div_ceil(3) * 4;
        if account.limit_is_encoded && encoded > MESSAGE_LIMIT {
            let message = format!("Message length is more than {MESSAGE_LIMIT} bytes long: '{encoded}'.");
            return Err(bad(message));
        }
        let message = checked?;
        let destinations = request.destinations(&message)?;
        self.check_account(&account, &from, &request, &message, &destinations)?;
        if let Some(set) = &configuration_set {
            account.check_configuration_set(set)?;
        }
        if let Some(tenant) = &request.tenant_name {
            account.check_tenant(tenant, &used)?;
        }
        let tags = request.tags()?;
        self.count(&account, destinations.len())?;

        let fates: Vec<(String, Fate)> = destinations
            .iter()
            .map(|destination| (destination.clone(), self.fate(destination, flight.fate(destination))))
            .collect();
        let refusing = fates.iter().filter(|(_, fate)| !feedback::takes(*fate));
        let refusing = refusing.map(|(destination, _)| destination.clone()).collect();
        let ses_id = ses_id();
        let outgoing = Outgoing {
            outgoing: message.outgoing(&format!("{ses_id}@{}", self.domain()), &rfc5322_date()),
            ses_id: ses_id.clone(),
            message_id: flight.message_id(),
            from,
            destinations,
            refusing,
            feedback: request.feedback_forwarding_email_address,
            raw,
        };
        let told = configuration_set.map(|set| feedback::Told::of(&outgoing, &set, tags));
        self.accept(outgoing).await?;
        if let Some(told) = told {
            tokio::spawn(self.clone().tell(told, fates));
        }
        Ok(json!({ "MessageId": ses_id }))
    }

    /// Keeps and delivers a message. A caller that goes away meanwhile must not undo half of it.
    async fn accept(&self, outgoing: Outgoing) -> Result<(), Refusal> {
        let delivery = self.0.delivery.clone();
        let accepted = tokio::spawn(async move { delivery.accept(outgoing).await }).await;
        accepted
            .map_err(anyhow::Error::from)
            .and_then(|accepted| accepted)
            .map_err(|error| Refusal::new(500, "InternalFailure", format!("{error:#}")))
    }

    fn check_account(
        &self,
        account: &Account,
        from: &String,
        request: &SendEmail<'_>,
        message: &SesMessage<'_>,
        destinations: &[String],
    ) -> Result<(), Refusal> {
        if account.suspended {
            let message = "Your account has been suspended.";
            return Err(Refusal::new(400, "AccountSuspendedException", message));
        }
        if !account.sending_enabled {
            let message = format!("Sending is paused for account {}.", self.0.account_id);
            return Err(Refusal::new(400, "SendingPausedException", message));
        }
        let mut feedback = None;
        if let Some(address) = &request.feedback_forwarding_email_address {
            feedback = Some(parse_one(address).map_err(bad)?);
        }
        for address in request.reply_to_addresses.iter().flatten() {
            parse_one(address).map_err(bad)?;
        }
        let must_be_verified = message.senders.iter().chain([from]).chain(&feedback);
        if account.sandbox {
            account.check_verified(must_be_verified.chain(destinations), &self.0.region)
        } else {
            account.check_verified(must_be_verified, &self.0.region)
        }
    }

    /// Counts recipients, if the quotas allow them.
    fn count(&self, account: &Account, recipients: usize) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut sent = self.0.sent.lock().expect("no holder of this lock panics");
        while sent.front().is_some_and(|at| now.duration_since(*at) >= self.0.pace.scale(DAY)) {
            sent.pop_front();
        }
        let exceeds = |quota: Option<u32>, already: usize| {
            quota.is_some_and(|quota| already + recipients > usize::try_from(quota).unwrap_or(usize::MAX))
        };
        if exceeds(account.max_24_hour_send, sent.len()) {
            return Err(Refusal::new(400, "LimitExceededException", "Daily message quota exceeded."));
        }
        let last_second =
            sent.iter().rev().take_while(|at| now.duration_since(**at) < self.0.pace.scale(SECOND));
        // One request of more recipients than the rate is let through where nothing else is sent.
        let last_second = last_second.count();
        if last_second > 0 && exceeds(account.max_send_rate, last_second) {
            return Err(Refusal::new(429, "TooManyRequestsException", "Maximum sending rate exceeded."));
        }
        sent.extend(std::iter::repeat_n(now, recipients));
        Ok(())
    }

    fn get_account(&self) -> Value {
        let account = self.account();
        let sent = self.0.sent.lock().expect("no holder of this lock panics").len();
        // -1 is no limit, as in SES.
        let quota = |quota: Option<u32>| quota.map_or(-1.0, f64::from);
        json!({
            "DedicatedIpAutoWarmupEnabled": false,
            "EnforcementStatus": if account.suspended { "SHUTDOWN" } else { "HEALTHY" },
            "ProductionAccessEnabled": !account.sandbox,
            "SendingEnabled": account.sending_enabled,
            "SendQuota": {
                "Max24HourSend": quota(account.max_24_hour_send),
                "MaxSendRate": quota(account.max_send_rate),
                "SentLast24Hours": sent,
            },
            "PricingAttributes": { "CurrentPlan": account.pricing_plan },
        })
    }

    fn get_email_identity(&self, identity: &str) -> Result<Value, Refusal> {
        if !self.account().identities.contains(identity) {
            let message = format!("Email identity {identity} does not exist.");
            return Err(Refusal::new(404, "NotFoundException", message));
        }
        Ok(json!({
            "IdentityType": if identity.contains('@') { "EMAIL_ADDRESS" } else { "DOMAIN" },
            "FeedbackForwardingStatus": true,
            "VerifiedForSendingStatus": true,
            "VerificationStatus": "SUCCESS",
            "DkimAttributes": {
                "SigningAttributesOrigin": "AWS_SES",
                "SigningEnabled": true,
                "SigningHostedZone": "dkim.amazonses.com",
                "Status": "SUCCESS",
                "Tokens": DKIM_TOKENS,
            },
        }))
    }

    fn get_event_destinations(&self, configuration_set: &str) -> Value {
        // CloudFormation has `deliveryDelay` where the API has `DELIVERY_DELAY`.
        let event_type = |name: &String| {
            name.chars().fold(String::new(), |mut text, letter| {
                if letter.is_ascii_uppercase() {
                    text.push('_');
                }
                text.push(letter.to_ascii_uppercase());
                text
            })
        };
        let bus = format!("arn:aws:events:{}:{}:event-bus/default", self.0.region, self.0.account_id);
        let of_set =
            self.0.event_destinations.iter().filter(|one| one.configuration_set == configuration_set);
        let destinations = of_set.map(|one| {
            json!({
                "Name": one.name,
                "Enabled": one.enabled,
                "MatchingEventTypes": one.event_types.iter().map(event_type).collect::<Vec<_>>(),
                "EventBridgeDestination": { "EventBusArn": bus },
            })
        });
        json!({ "EventDestinations": destinations.collect::<Vec<_>>() })
    }

    /// What the Message-IDs that SES gives end in.
    fn domain(&self) -> String {
        match self.0.region.as_str() {
            "us-east-1" => "email.amazonses.com".to_owned(),
            region => format!("{region}.amazonses.com"),
        }
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:ses:{}:{}:{kind}/{name}", self.0.region, self.0.account_id)
    }

    /// SES puts an id of its own behind the name.
    fn tenant_arn(&self, name: &str) -> String {
        self.arn("tenant", &format!("{name}/tn-1"))
    }
}

/// What a request about a tenant names.
fn tenant_name(body: &[u8]) -> Result<String, Refusal> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = request["TenantName"].as_str().ok_or_else(|| bad("TenantName is missing.".to_owned()))?;
    Ok(name.to_owned())
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::BadRequest(message) => bad(message),
            Refused::Rejected(message) => rejected(message),
        }
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequestException", message)
}

fn rejected(message: String) -> Refusal {
    Refusal::new(400, "MessageRejected", message)
}

/// As SES's ids look: time in hexadecimal milliseconds, a UUID, a number.
fn ses_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = format!("{:012x}", now.as_millis());
    format!("0100{millis}-{}-000000", uuid::Uuid::new_v4())
}

fn rfc5322_date() -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second] +0000"
    );
    time::OffsetDateTime::now_utc().format(&format).expect("every component is there")
}

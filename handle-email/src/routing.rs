//! The routes in use: read from the bucket, kept, and looked at again once a minute.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ses_forwarder::{
    domains::Domains,
    routes::Routes,
    settings::{EmailSettings, names},
};
use ses_forwarder_aws::bucket::Bucket;

use crate::{InvocationError, kept::Kept};

/// How long a table is used without asking whether there is another.
const FRESH: Duration = Duration::from_secs(60);

/// Reads the routes file when it is due.
#[derive(Debug)]
pub(crate) struct Routing {
    key: String,
    domains: Domains,
    destination_domain: Option<String>,
    kept: Kept<Routes>,
}

impl Routing {
    pub(crate) fn new(settings: &EmailSettings) -> Routing {
        Routing {
            key: settings.routes_key.clone(),
            domains: settings.common.domains.clone(),
            destination_domain: settings.destination_domain.clone(),
            kept: Kept::new("the routes in use", &settings.routes_key),
        }
    }

    /// The table to use now. A file that can't be read, or is wrong, leaves the last good table in
    /// use; without one it is a failure, as a guess could send mail to the wrong place.
    pub(crate) async fn current(&self, bucket: &Bucket) -> Result<Arc<Routes>, InvocationError> {
        let read = async |content: Option<Bytes>| match content {
            Some(content) => self.parse(&content, &bucket.address(&self.key)),
            None => self.default(bucket),
        };
        self.kept.current(bucket, |_, age| age < FRESH, read).await
    }

    fn parse(&self, file: &[u8], address: &str) -> Result<Routes, InvocationError> {
        Routes::parse(file, &self.domains, self.destination_domain.as_deref()).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            InvocationError::new("InvalidRoutes", format!("{address}: {}", problems.join("; ")))
        })
    }

    fn default(&self, bucket: &Bucket) -> Result<Routes, InvocationError> {
        let Some(destination) = &self.destination_domain else {
            let address = bucket.address(&self.key);
            let domain = names::DESTINATION_DOMAIN;
            let sentence =
                format!("{domain} is not set and there is no {address}, so no message leads anywhere");
            return Err(InvocationError::new("NoRoutes", sentence));
        };
        Ok(Routes::default_for(&self.domains, Some(destination)))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io, mem, sync::Once};

    use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
    use ses_forwarder::address::Address;
    use ses_forwarder_aws::{call::Deadline, clients};
    use ses_forwarder_local_aws::{auth::Registration, journal::Event};
    use ses_forwarder_local_stack::{Config, Stack};
    use tokio::time::Instant;

    use super::*;
    use crate::kept::PATIENCE;

    const KEY: &str = "config/routes.toml";
    const TO_ANN: &str = "[routes]\n\"@in.example\" = \"ann@out.example\"\n";
    const TO_BOB: &str = "[routes]\n\"@in.example\" = \"bob@out.example\"\n";

    /// What an invocation has left.
    const INVOCATION: Duration = Duration::from_secs(59);

    /// A function's routing on the stack's S3, with the role that the template gives the function.
    struct Subject {
        stack: Stack,
        _registration: Registration,
        s3: aws_sdk_s3::Client,
        routing: Routing,
        seen: usize,
    }

    impl Subject {
        async fn with(file: Option<&str>, destination_domain: Option<&str>) -> Subject {
            let stack = Stack::start(Config::default()).await.expect("the stack starts");
            let function = stack.function("HandleEmailFunction").expect("the template has it");
            let registration = stack.services().callers().register(&function.name, function.role.clone());
            let key = Credentials::new(
                registration.access_key_id(),
                registration.secret_access_key(),
                None,
                None,
                "stack",
            );
            let configuration = clients::configuration().await.into_builder();
            let configuration = configuration
                .endpoint_url(stack.aws_url())
                .region(Region::from_static("us-east-1"))
                .credentials_provider(SharedCredentialsProvider::new(key))
                .build();
            let environment = &function.environment;
            let settings = EmailSettings::read(|name| match name {
                names::DESTINATION_DOMAIN => destination_domain.map(str::to_owned),
                _ => environment.get(name).cloned(),
            });
            let routing = Routing::new(&settings.expect("the template's are right"));
            let s3 = clients::s3(&configuration);
            let subject = Subject { stack, _registration: registration, s3, routing, seen: 0 };
            if let Some(file) = file {
                subject.put(file).await;
            }
            subject
        }

        async fn put(&self, file: &str) {
            self.stack.put_object(KEY, file.to_owned()).await;
        }

        /// Where mail for info@in.example goes now.
        async fn leads(&self) -> Result<String, InvocationError> {
            let bucket = Bucket::new(self.s3.clone(), self.stack.bucket(), Deadline::after(INVOCATION));
            let routes = self.routing.current(&bucket).await?;
            let recipient = Address::parse("info@in.example").expect("an address");
            let found = routes.lookup(&recipient).expect("a line");
            Ok(found.destinations.iter().map(ToString::to_string).collect())
        }

        /// What S3 answered to each call since this was last asked.
        fn answers(&mut self) -> Vec<Option<u16>> {
            let entries = self.stack.journal().entries();
            let new = entries.iter().skip(mem::replace(&mut self.seen, entries.len()));
            new.filter_map(|entry| match &entry.event {
                Event::Called { action, resource, status, .. } => {
                    assert_eq!((&**action, resource.ends_with(KEY)), ("s3:GetObject", true), "{resource}");
                    Some(*status)
                }
                _ => None,
            })
            .collect()
        }

        fn fault(&self, fault: &str) {
            self.stack.faults().add(fault.parse().expect("a fault"));
        }
    }

    /// Sets the clock forward. It must not stand still while S3 is asked: whoever waits for nothing
    /// but an answer would find its time-out over.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    thread_local! {
        /// What this thread has logged: a test runs on one.
        static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// Writes to it.
    struct Logged;

    impl io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What this thread has logged since this was last asked. The subscriber is all threads': with one for a
    /// thread, a line that another logs first counts as wanted by nobody.
    fn logged() -> String {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .with_writer(|| Logged)
                .with_ansi(false)
                .with_max_level(tracing::Level::ERROR)
                .without_time()
                .with_target(false)
                .init();
        });
        String::from_utf8(LOGGED.take()).expect("UTF-8")
    }

    #[tokio::test]
    async fn a_table_is_asked_for_once_a_minute_and_read_if_it_is_another() {
        let mut subject = Subject::with(Some(TO_ANN), Some("out.example")).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        assert_eq!(subject.answers(), [Some(200)]);
        // Within the minute nobody is asked, not even about another file.
        pass(FRESH / 2).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        assert_eq!(subject.answers(), []);
        // After it one call, which has no answer but "the same"; then another minute begins.
        pass(FRESH / 2).await;
        for answers in [&[Some(304)][..], &[], &[]] {
            assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
            assert_eq!(subject.answers(), answers);
        }
        subject.put(TO_BOB).await;
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("bob@out.example"));
        // Without the file the default holds, until there is one again.
        subject.stack.delete_object(KEY).await;
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("info@out.example"));
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("info@out.example"));
        subject.put(TO_ANN).await;
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        assert_eq!(subject.answers(), [Some(200), Some(404), Some(404), Some(200)]);
    }

    #[tokio::test]
    async fn the_last_good_table_outlives_a_bad_edit_which_is_logged_once_a_minute() {
        let mut subject = Subject::with(Some(TO_ANN), Some("out.example")).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        subject.answers();
        for (file, why) in [
            (
                "[routes]\n\"a\" = \"bob@out.example\n",
                "line 2, column 23: not TOML: found the end of the line: invalid basic string, expected `\"`",
            ),
            ("[routes]\n\"a\" = [\"bob\"]", "line 2, column 8: expected an address, but \"bob\" has no @; "),
            (
                "[routes]\n\"a\" = \"jane@in.example\"",
                "line 2, column 7: \"jane@in.example\" leads back into in.example, so mail would go round; ",
            ),
        ] {
            subject.put(file).await;
            pass(FRESH).await;
            logged();
            for answers in [&[Some(200)][..], &[], &[]] {
                assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
                assert_eq!(subject.answers(), answers, "{file}");
            }
            let log = logged();
            let expected = format!(
                "ERROR the routes in use stay the ones read before: InvalidRoutes: s3://{}/{KEY}: {why}",
                subject.stack.bucket()
            );
            assert_eq!((log.starts_with(&expected), log.lines().count()), (true, 1), "{log}");
        }
        subject.put(TO_ANN).await;
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        assert_eq!(subject.answers(), [Some(304)], "it is known by the ETag of the last good one");
        subject.put(TO_BOB).await;
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("bob@out.example"));
    }

    #[tokio::test]
    async fn the_last_good_table_outlives_whatever_s3_answers() {
        let mut subject = Subject::with(Some(TO_ANN), Some("out.example")).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
        subject.answers();
        for (fault, all) in [
            ("s3:GetObject=access-denied*1", &[Some(403)][..]),
            ("s3:GetObject=reset-before*3", &[None, None, None]),
            ("s3:GetObject=truncate*3", &[Some(200), Some(200), Some(200)]),
        ] {
            subject.put(TO_BOB).await;
            subject.fault(fault);
            pass(FRESH).await;
            for answers in [all, &[]] {
                assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"), "{fault}");
                assert_eq!(subject.answers(), answers, "{fault}");
            }
            subject.stack.faults().clear();
        }
        pass(FRESH).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("bob@out.example"));
    }

    /// The clock stands still here, so that the time-outs of calls that nobody answers pass at once.
    #[tokio::test]
    async fn who_asks_in_vain_for_another_table_does_not_wait_until_the_message_is_late() {
        for fault in ["s3:GetObject=hang", "s3:GetObject=throttle"] {
            let subject = Subject::with(Some(TO_ANN), Some("out.example")).await;
            assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"));
            subject.fault(fault);
            pass(FRESH).await;
            tokio::time::pause();
            let asked = Instant::now();
            assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"), "{fault}");
            assert!(asked.elapsed().as_secs() <= PATIENCE.as_secs(), "{fault}: {:?}", asked.elapsed());
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn without_a_table_nothing_is_guessed() {
        let mut subject = Subject::with(Some("[routes]\n\"a\" = 5"), Some("out.example")).await;
        for (fault, name) in [
            (None, "InvalidRoutes"),
            (None, "InvalidRoutes"),
            (Some("s3:GetObject=access-denied*1"), "AccessDenied"),
        ] {
            fault.iter().for_each(|fault| subject.fault(fault));
            assert_eq!(subject.leads().await.map_err(|failure| failure.name), Err(name.to_owned()));
        }
        subject.put(TO_ANN).await;
        assert_eq!(subject.leads().await.as_deref(), Ok("ann@out.example"), "it did not take a minute");
        assert_eq!(subject.answers(), [Some(200), Some(200), Some(403), Some(200)]);

        let subject = Subject::with(None, None).await;
        let failure = subject.leads().await.expect_err("no table");
        let sentence = format!(
            "DESTINATION_DOMAIN is not set and there is no s3://{}/{KEY}, so no message leads anywhere",
            subject.stack.bucket()
        );
        assert_eq!(failure, InvocationError::new("NoRoutes", sentence));
    }
}

//! The routes in use: read from the bucket, kept, and looked at again once a minute.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ses_forwarder::{
    bucket::{Bucket, Fetched},
    routes::Routes,
    settings::{EmailSettings, names},
};

use crate::Failure;

/// How long a table is used without asking whether there is another.
const FRESH: Duration = Duration::from_secs(60);

/// Reads the routes file when it is due.
#[derive(Debug)]
pub(crate) struct Routing {
    key: String,
    email_domain: String,
    destination_domain: Option<String>,
    cached: Mutex<Option<Cached>>,
}

/// The last good table.
#[derive(Debug, Clone)]
struct Cached {
    routes: Arc<Routes>,
    /// Of the file it was read from; `None` for the default.
    etag: Option<String>,
    checked: Instant,
}

impl Routing {
    pub(crate) fn new(settings: &EmailSettings) -> Routing {
        Routing {
            key: settings.routes_key.clone(),
            email_domain: settings.common.email_domain.clone(),
            destination_domain: settings.destination_domain.clone(),
            cached: Mutex::new(None),
        }
    }

    /// The table to use now. A file that can't be read, or is wrong, leaves the last good table in
    /// use; without one it is a failure, as a guess could send mail to the wrong place.
    pub(crate) async fn current(&self, bucket: &Bucket) -> Result<Arc<Routes>, Failure> {
        let cached = self.cached().clone();
        if let Some(cached) = &cached
            && cached.checked.elapsed() < FRESH
        {
            return Ok(cached.routes.clone());
        }
        let fresh = match self.fetch(bucket, cached.as_ref()).await {
            Ok(fresh) => fresh,
            Err(failure) => {
                let kept = cached.ok_or_else(|| failure.clone())?;
                tracing::error!("the routes in use stay the ones read before: {failure}");
                Cached { checked: Instant::now(), ..kept }
            }
        };
        *self.cached() = Some(fresh.clone());
        Ok(fresh.routes)
    }

    async fn fetch(&self, bucket: &Bucket, cached: Option<&Cached>) -> Result<Cached, Failure> {
        let etag = cached.and_then(|cached| cached.etag.as_deref());
        let checked = Instant::now();
        match (bucket.get_if_changed(&self.key, etag).await?, cached) {
            (Fetched::Unchanged, Some(cached)) => Ok(Cached { checked, ..cached.clone() }),
            (Fetched::Changed { content, etag }, _) => {
                let routes = Arc::new(self.parse(&content, &bucket.address(&self.key))?);
                Ok(Cached { routes, etag, checked })
            }
            (Fetched::Absent | Fetched::Unchanged, _) => {
                Ok(Cached { routes: Arc::new(self.default(bucket)?), etag: None, checked })
            }
        }
    }

    fn parse(&self, file: &[u8], address: &str) -> Result<Routes, Failure> {
        Routes::parse(file, &self.email_domain, self.destination_domain.as_deref()).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Failure::new("InvalidRoutes", format!("{address}: {}", problems.join("; ")))
        })
    }

    fn default(&self, bucket: &Bucket) -> Result<Routes, Failure> {
        let Some(destination) = &self.destination_domain else {
            let address = bucket.address(&self.key);
            let domain = names::DESTINATION_DOMAIN;
            let sentence =
                format!("{domain} is not set and there is no {address}, so no message leads anywhere");
            return Err(Failure::new("NoRoutes", sentence));
        };
        Ok(Routes::default_for(&self.email_domain, Some(destination)))
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the page is made from, and what its buttons need.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::State;
use ses_forwarder_local_aws::{journal::Journal, lambda::Lambda, receiving::Receiving, services::Services};
use ses_forwarder_local_template::deployment::Deployment;

use crate::live::Live;

/// Messages in one page of the list.
pub(crate) const PAGE: usize = 100;

/// What the page shows, and what its buttons need.
#[derive(Debug, Clone)]
pub struct Access {
    /// What the template deployed.
    pub deployment: Arc<Deployment>,
    /// What happens.
    pub journal: Arc<Journal>,
    /// Buckets and faults.
    pub services: Services,
    /// For "try again".
    pub lambda: Lambda,
    /// For samples.
    pub receiving: Receiving,
    /// Where mail comes in.
    pub smtp: SocketAddr,
    /// A command that sends a message there.
    pub curl: String,
}

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) access: Access,
    pub(crate) live: Arc<Live>,
}

pub(crate) type Shared = State<Arc<Page>>;

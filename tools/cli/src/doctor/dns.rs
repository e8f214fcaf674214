//! What the DNS says.

use std::net::SocketAddr;

use anyhow::Context;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};

/// A resolver, or why there is none.
pub(super) struct Dns(TokioResolver);

impl Dns {
    /// Asks the system's servers, or one that is given.
    pub(super) fn new(nameserver: Option<SocketAddr>) -> Result<Dns, String> {
        let resolver = match nameserver {
            None => TokioResolver::builder_tokio()
                .map_err(|error| format!("the system's DNS settings can't be read: {error}"))?,
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let configuration = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(configuration, TokioRuntimeProvider::default())
            }
        };
        resolver.build().map(Dns).map_err(|error| format!("no DNS resolver can be set up: {error}"))
    }

    /// Preference and host of each MX record, best first.
    pub(super) async fn mx(&self, domain: &str) -> anyhow::Result<Vec<(u16, String)>> {
        let mut hosts = self
            .records(domain, RecordType::MX, |data| match data {
                RData::MX(mx) => Some((mx.preference, host(&mx.exchange.to_ascii()))),
                _ => None,
            })
            .await?;
        hosts.sort();
        Ok(hosts)
    }

    /// The TXT records, each with its parts joined.
    pub(super) async fn txt(&self, name: &str) -> anyhow::Result<Vec<String>> {
        self.records(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    /// What a name is an alias of.
    pub(super) async fn cname(&self, name: &str) -> anyhow::Result<Option<String>> {
        let names = self
            .records(name, RecordType::CNAME, |data| match data {
                RData::CNAME(name) => Some(host(&name.to_ascii())),
                _ => None,
            })
            .await?;
        Ok(names.into_iter().next())
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> anyhow::Result<Vec<T>> {
        match self.0.lookup(format!("{name}."), kind).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| read(&record.data)).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => {
                Err(error).with_context(|| format!("DNS does not tell the {kind} records of {name}"))
            }
        }
    }
}

fn host(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

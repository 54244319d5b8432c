//! The origins for which this node fetches.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::{AllowedNetwork, Cluster, OriginSection, Upstream};
use octet_node::SettingsError;
use octet_node::settings::{Settings, Which};
use rustls::ClientConfig;

use crate::tls;

/// An origin as this unit needs it.
#[derive(Debug, Clone)]
pub struct FetchOrigin {
    pub upstream: Upstream,
    /// `None` for plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
    pub max_bytes: u64,
    pub timeout: Duration,
    pub max_head: usize,
    /// The request's headers that go up, in lower case.
    pub headers: Vec<String>,
    pub has_cookies: bool,
    pub allow: Vec<AllowedNetwork>,
}

/// All origins by name, and the networks that are never reached without `allow`.
#[derive(Debug, Clone, Default)]
pub struct FetchOrigins {
    pub by_name: BTreeMap<String, Arc<FetchOrigin>>,
    /// The box's own networks.
    pub own: Vec<AllowedNetwork>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchSettingsError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("`ca` of the origin `{0}`: {1}")]
    Ca(String, String),
}

impl FetchSettingsError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Settings(_) => "`config show` tells what is in force",
            Self::Ca(..) => "give certificates in PEM, from BEGIN CERTIFICATE to END CERTIFICATE",
        }
    }
}

impl FetchOrigins {
    /// # Errors
    /// A `ca` has no certificate.
    pub fn new(
        sections: &[OriginSection],
        cluster: Option<&Cluster>,
    ) -> Result<Self, FetchSettingsError> {
        let mut by_name = BTreeMap::new();
        for section in sections {
            let name = section.name.to_string();
            let config = tls::client(section.ca.as_deref());
            let config = config.map_err(|why| FetchSettingsError::Ca(name.clone(), why))?;
            let origin = FetchOrigin {
                upstream: section.upstream.clone(),
                tls: section.upstream.is_https.then_some(config),
                max_bytes: section.max_bytes.get(),
                timeout: Duration::from_secs(section.max_seconds.into()),
                max_head: u64::from(section.max_header_bytes) as usize,
                headers: section.headers.iter().map(|it| it.to_ascii_lowercase()).collect(),
                has_cookies: !section.cookies.is_empty(),
                allow: section.allow.clone(),
            };
            by_name.insert(name, Arc::new(origin));
        }
        let networks = cluster.map(|it| [it.network.to_string(), it.network6.to_string()]);
        let networks = networks.into_iter().flatten();
        let own = networks.filter_map(|it| AllowedNetwork::try_from(it).ok()).collect();
        Ok(Self { by_name, own })
    }

    /// Reads them from `config`, whose socket is in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a value is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, FetchSettingsError> {
        let settings = Settings::read(sockets, which)?;
        Self::new(&settings.list("origin")?, settings.cluster()?.as_ref())
    }

    /// Whether a connection of `origin` may go to `address`.
    pub fn may_reach(&self, origin: &FetchOrigin, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        let is_in = |it: &AllowedNetwork| it.contains(address) || it.contains(canonical);
        let is_own = self.own.iter().any(is_in);
        origin.allow.iter().any(is_in) || (!is_own && crate::address::is_global(address))
    }
}

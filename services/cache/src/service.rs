//! The service's start: it reads its environment and its settings.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use octet_node::control::SOCKETS;
use octet_node::say;
use octet_node::settings::Which;
use octet_node::{UnitEnvironment, notify_ready};

use crate::limits::CacheLimits;
use crate::peers::PORT;
use crate::settings::CacheSettings;
use crate::{CacheConfig, run};

/// Serves until PID 1 stops the process.
pub fn main() -> ExitCode {
    octet_node::run(|given| run(config(given)?, notify_ready))
}

fn config(mut environment: UnitEnvironment) -> io::Result<CacheConfig> {
    let settings = CacheSettings::read(Path::new(SOCKETS), Which::InForce);
    let quota = settings.as_ref().map(|settings| settings.quota).unwrap_or_else(|error| {
        say!("the quota is not known; objects are evicted only for the reserve: {error}");
        Some(u64::MAX)
    });
    Ok(CacheConfig {
        limits: CacheLimits { quota, ..CacheLimits::default() },
        settings: settings.ok(),
        folder: environment.state.take(),
        sockets: SOCKETS.into(),
        addresses: vec![
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT),
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT),
        ],
        http: environment.socket("http")?,
        metrics: environment.socket("metrics")?,
        control: environment.socket("control")?,
        callers: environment.callers,
    })
}

//! The service's start, with what PID 1 passes to it.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use octet_node::control::SOCKETS;
use octet_node::settings::Which;
use octet_node::{UnitEnvironment, notify_ready};

use crate::limits::ClusterLimits;
use crate::position::BoxAddressing;
use crate::settings::Settings;
use crate::{ClusterConfig, run};

pub fn main() -> ExitCode {
    octet_node::run(|given| run(cluster_config(given)?, notify_ready))
}

fn cluster_config(mut given: UnitEnvironment) -> io::Result<ClusterConfig> {
    Ok(ClusterConfig {
        settings: Settings::read(Path::new(SOCKETS), Which::InForce).map_err(io::Error::other)?,
        limits: ClusterLimits::default(),
        addressing: BoxAddressing::default(),
        folder: given.state.take(),
        sockets: SOCKETS.into(),
        port: given.socket("enrolment")?,
        control: given.socket("control")?,
        callers: given.callers,
    })
}

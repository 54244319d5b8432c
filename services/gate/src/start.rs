//! The service's start, with what PID 1 passes to it.

use std::io;
use std::process::ExitCode;

use crate::limits::GateLimits;
use crate::{GateConfig, run};
use octet_node::control::SOCKETS;
use octet_node::hello::GATE_PORT;
use octet_node::{UnitEnvironment, notify_ready, section};

pub fn main() -> ExitCode {
    octet_node::run(|given| run(parts(given)?, notify_ready))
}

fn parts(mut given: UnitEnvironment) -> io::Result<GateConfig> {
    Ok(GateConfig {
        operators: section("operator").map_err(io::Error::other)?,
        limits: GateLimits::default(),
        folder: given.state.take(),
        sockets: SOCKETS.into(),
        port: given.socket("gate")?,
        board_port: GATE_PORT,
        control: given.socket("control")?,
        callers: given.callers,
    })
}

//! Flows in the kernel's connection tracking (ctnetlink). The rules are evaluated only when a flow
//! begins, so flows that no policy allows any more are ended here.

mod message;
mod socket;

use std::io;
use std::net::IpAddr;

pub use message::{TrackedFlow, read};
use socket::ConntrackSocket;

use crate::fault;

/// Ends every flow for which `ends` returns true, and returns these flows.
pub fn end(ends: impl Fn(&TrackedFlow) -> bool) -> io::Result<Vec<TrackedFlow>> {
    let socket = ConntrackSocket::open()?;
    let mut ended = vec![];
    for flow in socket.list()?.into_iter().filter(|flow| ends(flow)) {
        fault::at_step("a flow is ended")?;
        if socket.delete(&flow)? {
            ended.push(flow);
        }
    }
    Ok(ended)
}

/// Source and destination of one direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEnds {
    pub from: IpAddr,
    pub to: IpAddr,
    /// The destination port, if the protocol has ports.
    pub port: Option<u16>,
}

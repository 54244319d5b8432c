//! Flows that the kernel tracks (ctnetlink): what a policy had let goes on until its flow is over, so
//! flows that no policy allows any more are ended here.

mod message;
mod socket;

use std::io;
use std::net::IpAddr;

pub use message::{TrackedFlow, read};
use socket::ConntrackSocket;

use crate::fault;

/// Ends every flow of which `ends` says so. Returns those.
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

/// The two ends of one direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEnds {
    pub from: IpAddr,
    pub to: IpAddr,
    /// The receiver's port, of a protocol that has some.
    pub port: Option<u16>,
}

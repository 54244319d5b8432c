//! The network that a unit sees.
//!
//! `network = "own"` is a network namespace without any interface that is up. To make one takes as
//! long as all else that is done for a unit, so PID 1 makes one that is shared by the units that have
//! nothing to do with each other in it: they can neither change it nor, by Landlock, connect to each
//! other's abstract sockets, the one kind of address that is reached without an interface. Any other
//! unit gets one for itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use octet_appliance::{Capability, NetworkAccess};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::child::ChildState;
use super::failure::SpawnFailure;
use crate::sys::unshare;

/// Where the kernel shows a process its network.
const OF_THIS_PROCESS: &str = "/proc/self/ns/net";

/// Makes an empty network. This process is in it meanwhile, and back in its own when it is made.
///
/// # Errors
/// There is none. The process is where it was, unless the kernel refuses to let it back.
pub fn make_empty() -> io::Result<OwnedFd> {
    let this = || open(OF_THIS_PROCESS, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = this()?;
    unshare(UnshareFlags::NEWNET)?;
    let empty = this();
    enter(own.as_fd())?;
    Ok(empty?)
}

/// Gives the unit the network that its sandbox says. Comes after Landlock, whose rules decide
/// whether it can share one.
pub fn set_up(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let sandbox = &start.order.unit.sandbox;
    if sandbox.network == NetworkAccess::Host {
        return Ok(());
    }
    let changes_it = [Capability::NetAdmin, Capability::NetRaw]
        .iter()
        .any(|capability| sandbox.capabilities.contains(capability));
    let entered = match start.order.empty_network {
        Some(empty) if start.scoped && !changes_it => enter(empty),
        _ => unshare(UnshareFlags::NEWNET),
    };
    entered.map_err(SpawnFailure::to("enter a network of its own"))
}

fn enter(network: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?)
}

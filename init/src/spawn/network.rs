//! The network namespace of a unit.
//!
//! `network = "own"` is a network namespace without any interface that is up. Making one takes as
//! long as the rest of a start, so PID 1 makes one that units share if they cannot affect each
//! other in it: they can neither change it nor, because of Landlock, connect to each other's
//! abstract sockets, the only addresses that are reachable without an interface. Every other unit
//! gets one for itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use octet_appliance::{Capability, NetworkAccess};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::child::ChildState;
use super::failure::SpawnFailure;
use crate::sys::unshare;

/// The network namespace of this process.
const OWN_NAMESPACE: &str = "/proc/self/ns/net";

/// Makes an empty network namespace. This process enters it meanwhile, and returns to its own.
///
/// # Errors
/// It cannot be made. The process is in its own namespace, unless the kernel does not let it
/// return.
pub fn make_empty() -> io::Result<OwnedFd> {
    let this = || open(OWN_NAMESPACE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = this()?;
    unshare(UnshareFlags::NEWNET)?;
    let empty = this();
    enter(own.as_fd())?;
    Ok(empty?)
}

/// Sets up the network of the unit's sandbox. Comes after Landlock, whose rules decide whether the
/// unit can share a namespace.
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
    entered.map_err(SpawnFailure::context("enter a network of its own"))
}

fn enter(network: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?)
}

//! The active settings: the plan, the router's address, and whether this board configures it.

use std::path::PathBuf;

use octet_appliance::{RouterContact, RouterKind, Unit};
use octet_node::control::Failure;
use octet_node::own_number;
use octet_node::settings::{Which, cluster};
use octet_router::plan::RouterPlan;

use crate::fault::RouterFault;

/// The sources of the settings.
#[derive(Debug)]
pub struct NodeSockets {
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The units of the image.
    pub units: Vec<Unit>,
}

#[derive(Debug)]
pub struct RouterConfig {
    /// The network plan of the box.
    pub plan: RouterPlan,
    pub contact: RouterContact,
}

impl RouterConfig {
    /// Reads the active settings.
    ///
    /// # Errors
    /// The box has no such router, or another board is the coordinator.
    pub fn read(place: &NodeSockets) -> Result<Self, Failure> {
        let NodeSockets { sockets, units } = place;
        let which = Which::InForce;
        let cluster = cluster::cluster(sockets, which)?.ok_or(RouterFault::NoCluster)?;
        let contact = match cluster.router.clone() {
            RouterKind::Octet => return Err(RouterFault::OwnRouter.into()),
            RouterKind::OpenWrt(contact) => contact.ok_or(RouterFault::NoContact)?,
        };
        let (settings, segments) = cluster::segments(sockets, which, cluster, units)?;
        let manager = settings.cluster.manager(&settings.boards);
        let own = own_number(sockets).map_err(RouterFault::from)?;
        if own.is_none() || own != manager {
            return Err(RouterFault::NotManager { own: name(own), manager: name(manager) }.into());
        }
        Ok(Self { plan: RouterPlan::new(&settings, &segments, units), contact })
    }
}

/// Checks that a plan can be made of the pending settings. Without a router with OpenWrt there is
/// none to make.
pub fn check(place: &NodeSockets) -> Result<(), Failure> {
    let which = Which::Next;
    let cluster = cluster::cluster(&place.sockets, which)?.filter(|it| !it.router.is_octet());
    let Some(cluster) = cluster else { return Ok(()) };
    cluster::segments(&place.sockets, which, cluster, &place.units).map(drop)
}

fn name(number: Option<u8>) -> String {
    match number {
        None => "a board whose number is not known".to_owned(),
        Some(0) => "the router".to_owned(),
        Some(number) => format!("board {number}"),
    }
}

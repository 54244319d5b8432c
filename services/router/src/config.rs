//! The active settings: the plan, the router's address, and whether this board configures it.

use std::path::PathBuf;

use octet_appliance::{RouterContact, RouterKind, Unit};
use octet_node::control::Failure;
use octet_node::own_number;
use octet_node::settings::{Settings, Which};
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
    pub fn read(node: &NodeSockets) -> Result<Self, Failure> {
        let NodeSockets { sockets, units } = node;
        let settings = Settings::read(sockets, Which::InForce)?;
        let settings = settings.cluster_settings()?.ok_or(RouterFault::NoCluster)?;
        let contact = match settings.cluster.router.clone() {
            RouterKind::Octet => return Err(RouterFault::OwnRouter.into()),
            RouterKind::OpenWrt(contact) => contact.ok_or(RouterFault::NoContact)?,
        };
        let manager = settings.cluster.manager(&settings.boards);
        let own = own_number(sockets).map_err(RouterFault::from)?;
        if own.is_none() || own != manager {
            return Err(RouterFault::NotManager { own: name(own), manager: name(manager) }.into());
        }
        Ok(Self { plan: RouterPlan::new(&settings, units)?, contact })
    }
}

/// Checks that a plan can be made of the pending settings. Without a router with OpenWrt there is
/// none to make.
pub fn check(node: &NodeSockets) -> Result<(), Failure> {
    let settings = Settings::read(&node.sockets, Which::Next)?.cluster_settings()?;
    if let Some(settings) = settings.filter(|it| !it.cluster.router.is_octet()) {
        RouterPlan::new(&settings, &node.units)?;
    }
    Ok(())
}

fn name(number: Option<u8>) -> String {
    match number {
        None => "a board whose number is not known".to_owned(),
        Some(0) => "the router".to_owned(),
        Some(number) => format!("board {number}"),
    }
}

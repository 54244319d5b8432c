//! Both sides of exits: the one by which this node's LAN leaves, and the clients for which this node is one.

use std::net::Ipv4Addr;
use std::time::Instant;

use octet_appliance::exit_address;
use octet_node::address::NodeAddress;
use octet_node::say;

use super::{exit_clients, lan_exit};
use crate::kernel::ForwardKernel;
use crate::kernel::tunnels::{LEAVE, device};
use crate::number_pool::NumberPool;
use crate::state_folder::StateFolder;

#[derive(Debug, Default)]
pub(super) struct Exit {
    /// The exit of this node's LAN.
    pub lan_exit: LanExit,
    /// The clients of this exit node, by their slots.
    pub clients: NumberPool,
}

#[derive(Debug, Default)]
pub(super) struct LanExit {
    /// The exit node; the other fields refer to it.
    pub exit: Option<NodeAddress>,
    /// The leased address, and when it was last confirmed.
    pub lease: Option<(Ipv4Addr, Instant)>,
    /// When the slot was last requested.
    pub last_request: Option<Instant>,
    pub refusal: Option<String>,
}

impl LanExit {
    /// Whether this is the leased address.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.lease.is_some_and(|(given, _)| given == address)
    }

    /// The tunnel device, if it exists.
    pub fn device(&self) -> Option<String> {
        self.lease.map(|_| LEAVE.to_owned())
    }
}

impl Exit {
    /// The tunnel devices of both sides.
    pub fn devices(&self) -> impl Iterator<Item = String> {
        self.clients.numbers().map(device).chain(self.lan_exit.device())
    }

    /// Removes the LAN's exit.
    pub async fn remove_lan_exit(&mut self, kernel: &ForwardKernel, state: &StateFolder) {
        if self.lan_exit.lease.is_none() {
            return;
        }
        // The record is deleted last: as long as the device exists, its owner must be known.
        let ended =
            kernel.remove(LEAVE).await.and_then(|()| state.erase(lan_exit::LAN_EXIT_RECORD));
        match ended {
            Ok(()) => self.lan_exit.lease = None,
            Err(error) => say!("{error}"),
        }
    }

    /// Ends the slot with this address, if it is in use.
    pub async fn end_client_at(
        &mut self,
        address: Ipv4Addr,
        kernel: &ForwardKernel,
        state: &StateFolder,
    ) {
        let number = self.clients.numbers().find(|number| exit_address(*number) == address);
        if let Some(number) = number {
            self.end_client(number, kernel, state).await;
        }
    }

    pub async fn end_client(&mut self, number: u8, kernel: &ForwardKernel, state: &StateFolder) {
        let ended = kernel.remove(&device(number)).await;
        match ended.and_then(|()| state.erase(&exit_clients::record_name(number))) {
            Ok(()) => self.clients.free(number),
            Err(error) => say!("{error}"),
        }
    }
}

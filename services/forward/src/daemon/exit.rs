//! Both sides of exits: the one by which this node's LAN leaves, and the clients for which this node is one.

use std::net::Ipv4Addr;
use std::time::Instant;

use octet_appliance::exit_address;
use octet_node::address::NodeAddress;
use octet_node::say;

use super::{exit_clients, lan_exit};
use crate::kernel::ForwardKernel;
use crate::kernel::tunnels::{LEAVE, device};
use crate::state_folder::StateFolder;
use crate::number_pool::NumberPool;

#[derive(Debug, Default)]
pub(super) struct Exit {
    /// The exit of this node's LAN.
    pub leaving: Leaving,
    /// The clients of this exit node, by their slots.
    pub clients: NumberPool,
}

#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The exit node; the other fields refer to it.
    pub exit: Option<NodeAddress>,
    /// The leased address, and when it was last confirmed.
    pub place: Option<(Ipv4Addr, Instant)>,
    /// When the slot was last requested.
    pub asked: Option<Instant>,
    pub refused: Option<String>,
}

impl Leaving {
    /// Whether this is the leased address.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.place.is_some_and(|(given, _)| given == address)
    }

    /// The tunnel device, if it exists.
    pub fn device(&self) -> Option<String> {
        self.place.map(|_| LEAVE.to_owned())
    }
}

impl Exit {
    /// The tunnel devices of both sides.
    pub fn devices(&self) -> impl Iterator<Item = String> {
        self.clients.numbers().map(device).chain(self.leaving.device())
    }

    /// Removes the LAN's exit.
    pub async fn end_leaving(&mut self, kernel: &ForwardKernel, memory: &StateFolder) {
        if self.leaving.place.is_none() {
            return;
        }
        // The record is deleted last: as long as the device exists, its owner must be known.
        let ended = kernel.remove(LEAVE).await.and_then(|()| memory.unlearn(lan_exit::PLACE));
        match ended {
            Ok(()) => self.leaving.place = None,
            Err(error) => say!("{error}"),
        }
    }

    /// Ends the slot with this address, if it is in use.
    pub async fn end_client_at(
        &mut self,
        address: Ipv4Addr,
        kernel: &ForwardKernel,
        memory: &StateFolder,
    ) {
        let number = self.clients.numbers().find(|number| exit_address(*number) == address);
        if let Some(number) = number {
            self.end_client(number, kernel, memory).await;
        }
    }

    pub async fn end_client(&mut self, number: u8, kernel: &ForwardKernel, memory: &StateFolder) {
        let ended = kernel.remove(&device(number)).await;
        match ended.and_then(|()| memory.unlearn(&exit_clients::name(number))) {
            Ok(()) => self.clients.end(number),
            Err(error) => say!("{error}"),
        }
    }
}

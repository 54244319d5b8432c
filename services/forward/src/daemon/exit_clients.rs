//! The exit for other nodes, on a router whose policies allow traffic from `path` to `uplink`. netd filters
//! that traffic; this module gives each client a slot: a tunnel, and an address that is derived from the slot
//! number.

use std::net::Ipv4Addr;
use std::time::Instant;

use octet_appliance::exit_address;
use octet_node::address::NodeAddress;
use octet_node::say;

use super::Daemon;
use crate::engine::PathNumber;
use crate::introduction::ExitRefusal;
use crate::kernel::KernelError;

/// The name of a persisted slot.
pub(super) fn record_name(number: u8) -> String {
    format!("x-{number}")
}

impl Daemon {
    /// Whether this node is an exit; `None` if not known yet.
    fn is_exit(&self) -> Option<bool> {
        self.is_router().map(|is_router| is_router && self.settings.is_exit)
    }

    /// Assigns a slot to the node at the other end of a path; `None` if that node is not authenticated.
    pub(super) async fn handle_exit_request(
        &mut self,
        by: PathNumber,
    ) -> Option<Result<Ipv4Addr, ExitRefusal>> {
        let node = self.engine.path_end(by).and_then(|path_end| path_end.node)?;
        let client = NodeAddress::try_from(node).ok()?;
        let given = self.assign_slot(client).await;
        if given.is_err()
            && let Some(number) = self.exit.clients.number_of(client)
        {
            self.exit.end_client(number, &self.kernel, &self.state).await;
        }
        Some(given)
    }

    async fn assign_slot(&mut self, client: NodeAddress) -> Result<Ipv4Addr, ExitRefusal> {
        if self.is_exit() != Some(true) {
            return Err(ExitRefusal::Policy);
        }
        // There is only one tunnel between two nodes, so they cannot be each other's exit.
        if self.exit_node() == Some(client) {
            return Err(ExitRefusal::Mutual);
        }
        let links = self.links.ends();
        let is_taken =
            |address: Ipv4Addr| self.exit.lan_exit.has(address) || links.contains(&address);
        let given = self.exit.clients.assign(client, Instant::now(), is_taken);
        let (number, is_new) = given.ok_or(ExitRefusal::Full)?;
        if is_new {
            self.create_slot(number, client).await.map_err(|error| {
                say!("{error}");
                ExitRefusal::Failed
            })?;
            say!("{} leaves by this node as {}", self.display_name(client), exit_address(number));
        }
        Ok(exit_address(number))
    }

    /// The slot is persisted first: a device whose client is unknown could be given to another node after a
    /// restart.
    async fn create_slot(&self, number: u8, client: NodeAddress) -> Result<(), KernelError> {
        let Some(own) = self.node() else { return Ok(()) };
        self.state.persist(&record_name(number), &client.octets())?;
        let ends = (NodeAddress::of(&own).ip(), client.ip());
        self.kernel.open_client(number, ends, self.mtu_to(client), exit_address(number)).await
    }

    /// Ends slots whose clients have gone silent, and all slots once this node is no exit.
    pub(super) async fn expire_slots(&mut self, now: Instant) {
        let over = match self.is_exit() {
            None => return,
            Some(true) => self.exit.clients.expired(now),
            Some(false) => self.exit.clients.numbers().collect(),
        };
        for number in over {
            self.exit.end_client(number, &self.kernel, &self.state).await;
        }
    }

    /// Resumes the previous daemon's slots, so that clients keep their addresses.
    pub(super) async fn restore_slots(&mut self) {
        for saved in self.state.names().unwrap_or_default() {
            let number = saved.strip_prefix("x-").and_then(|it| it.parse().ok());
            let bytes = self.state.get(&saved).and_then(|it| <[u8; 16]>::try_from(it).ok());
            let client = bytes.and_then(|it| NodeAddress::try_from(it).ok());
            let Some((number, client)) = number.zip(client) else { continue };
            if self.exit.clients.restore(number, client, Instant::now())
                && let Err(error) = self.create_slot(number, client).await
            {
                say!("{error}");
                self.exit.clients.free(number);
            }
        }
    }
}

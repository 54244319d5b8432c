//! The wires of the row: pairs of this machine's own cards, each of which a cable joins. So what goes by has the
//! size of Ethernet's frames; a pair of veth devices would hand on 64 KiB at once, as no wire does.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use tokio::runtime::Builder;

use crate::node::{Here, Node};
use crate::{ENDS, Failed, NODES};

/// The length of the prefix that both ends of a wire have in common.
const PREFIX: u8 = 24;

/// An end of a wire. The wire `wire` leads from the node of that number to the next one; `side` is 0 at the
/// first of them, and 1 at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plug {
    pub wire: usize,
    pub side: usize,
}

impl Plug {
    /// That by which `node` is joined to the node before it.
    pub fn before(node: usize) -> Option<Self> {
        node.checked_sub(1).map(|wire| Self { wire, side: 1 })
    }

    /// That by which it is joined to the next one.
    pub fn behind(node: usize) -> Option<Self> {
        (node != ENDS[1]).then_some(Self { wire: node, side: 0 })
    }

    pub fn of(node: usize) -> impl Iterator<Item = Self> {
        [Self::before(node), Self::behind(node)].into_iter().flatten()
    }

    pub fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }

    /// The node that has it.
    pub fn node(self) -> usize {
        self.wire + self.side
    }

    /// The address that its card has.
    pub fn address(self) -> Ipv4Addr {
        address(self.wire, 1 + self.side)
    }

    /// The card: the first one of the machine is the board's own.
    fn card(self) -> String {
        format!("eth{}", 1 + 2 * self.wire + self.side)
    }
}

fn address(wire: usize, host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, wire as u8, host as u8)
}

/// Gives each node its cards, addresses, and routes to all wires.
pub fn lay(nodes: &[Node; NODES]) -> Result<(), Failed> {
    // This thread is where all cards are so far.
    Builder::new_current_thread().enable_io().build()?.block_on(hand_out(nodes))?;
    for (number, node) in nodes.iter().enumerate() {
        node.run(move |here| here.runtime.block_on(join(here, number)))?;
    }
    Ok(())
}

async fn hand_out(nodes: &[Node; NODES]) -> Result<(), Failed> {
    let (connection, route, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    for (number, node) in nodes.iter().enumerate() {
        for plug in Plug::of(number) {
            let to = LinkUnspec::new_with_name(&plug.card()).setns_by_fd(node.network.as_raw_fd());
            let moved = route.link().set(to.build()).execute().await;
            moved.map_err(|error| format!("{} cannot be given away: {error}", plug.card()))?;
        }
    }
    Ok(())
}

async fn join(here: &Here, number: usize) -> Result<(), Failed> {
    here.up("lo", None).await?;
    for plug in Plug::of(number) {
        here.up(&plug.card(), Some((plug.address().into(), PREFIX))).await?;
    }
    for wire in 0..NODES - 1 {
        let by = if wire > number {
            Plug::behind(number)
        } else if wire + 1 < number {
            Plug::before(number)
        } else {
            // It is at this node.
            None
        };
        let Some(by) = by else { continue };
        let route = RouteMessageBuilder::<Ipv4Addr>::new();
        let route = route.destination_prefix(address(wire, 0), PREFIX);
        let route = route.gateway(by.other().address()).build();
        here.route.route().add(route).execute().await?;
    }
    if !ENDS.contains(&number) {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    }
    Ok(())
}

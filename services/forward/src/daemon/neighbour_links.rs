//! The links to neighbours, as they are now, and the socket of their control messages.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use octet_node::address::NodeAddress;
use octet_node::control::PublicKey;
use octet_node::say;
use tokio::net::UdpSocket;

use crate::capacity::Trains;
use crate::control::{LinkMessage, PORT, is_from_forward};
use crate::engine::LinkNumber;
use crate::kernel::ForwardKernel;
use crate::metrics::LinkMetrics;
use crate::mtu::{Discovery, NARROW};
use crate::neighbour::{self, LinkNeighbour};
use crate::probe::Probes;
use crate::stamped::{Stamped, StampedDatagram};

/// The state of a link.
pub(super) struct Open {
    pub neighbour: LinkNeighbour,
    pub probes: Probes,
    pub trains: Trains,
    /// The MTU discovery; on a plain link the MTU is known.
    pub mtu: Discovery,
    /// The MTU that is configured in the kernel.
    pub reach: u16,
    /// Whether the link was up at the last check.
    pub is_up: bool,
    /// When all known announcements were last sent to the neighbour.
    pub announced_at: Option<Instant>,
}

impl Open {
    /// For an existing link the state is unknown, so it is set again.
    pub fn new(neighbour: LinkNeighbour) -> Self {
        Self {
            neighbour,
            probes: Probes::default(),
            trains: Trains::default(),
            mtu: Discovery::of_link(),
            reach: 0,
            is_up: false,
            announced_at: None,
        }
    }

    /// How packets get to the neighbour.
    pub fn transport(&self) -> &'static str {
        if self.neighbour.plain.is_some() { "plain" } else { "wireguard" }
    }

    pub fn metrics(&self) -> LinkMetrics {
        LinkMetrics {
            name: self.neighbour.link.device(),
            by: self.transport(),
            quality: self.probes.quality(),
            kilobits: self.trains.capacity(),
        }
    }
}

pub(super) struct NeighbourLinks {
    socket: Stamped,
    pub open: BTreeMap<LinkNumber, Open>,
    /// The keys of this node and of its `forward` that the links were made with.
    pub keys: Option<(PublicKey, PublicKey)>,
    /// Why the links could not be configured.
    pub failure: Option<String>,
    /// The links of the previous daemon, until its paths are taken over.
    pub previous: BTreeMap<LinkNumber, Vec<u8>>,
}

/// What is sent at a beat.
#[derive(Default)]
pub(super) struct LinkBeat {
    pub probes: Vec<(LinkNumber, u32)>,
    /// MTU probes, by their sizes.
    pub sizes: Vec<(LinkNumber, Vec<u16>)>,
    pub trains: Vec<(LinkNumber, Vec<LinkMessage>)>,
    /// Links that have come up since the last beat.
    pub came_up: Vec<LinkNumber>,
}

impl NeighbourLinks {
    /// None yet; `socket` is that of control messages.
    ///
    /// # Errors
    /// The kernel refuses timestamps or a large buffer.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            socket: Stamped::new(socket)?,
            open: BTreeMap::new(),
            keys: None,
            failure: None,
            previous: BTreeMap::new(),
        })
    }

    /// Receives the next control message.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<StampedDatagram> {
        self.socket.receive(buffer).await
    }

    /// The link that a control message has come by.
    pub fn link_of(&self, datagram: &StampedDatagram) -> Option<LinkNumber> {
        let is_it = |open: &Open| is_from_forward(open.neighbour.ends.1, datagram.from);
        self.open.iter().find(|(_, open)| is_it(open)).map(|(link, _)| *link)
    }

    pub async fn send(&self, link: LinkNumber, message: &LinkMessage) {
        let Some(open) = self.open.get(&link) else { return };
        let to = SocketAddr::from((open.neighbour.ends.1, PORT));
        // Lost messages are repeated, or the receiver times out.
        let _ = self.socket.send(&message.to_bytes(), to).await;
    }

    /// Sends an announcement to all neighbours but one.
    pub async fn flood(&self, bytes: &[u8], but: Option<LinkNumber>) {
        for (link, _) in self.up().filter(|(link, _)| Some(*link) != but) {
            self.send(link, &LinkMessage::Announcement(bytes.to_vec())).await;
        }
    }

    /// Those that were up at the last check.
    pub fn up(&self) -> impl Iterator<Item = (LinkNumber, &Open)> {
        self.open.iter().filter(|(_, open)| open.is_up).map(|(link, open)| (*link, open))
    }

    /// Checks which links are up, and says what is due on each.
    pub fn beat(&mut self, now: Instant) -> LinkBeat {
        let mut beat = LinkBeat::default();
        for (link, open) in &mut self.open {
            let answers = open.probes.quality().is_up;
            if answers && open.neighbour.plain.is_none() {
                let was_narrow = open.mtu.is_narrow();
                beat.sizes.push((*link, open.mtu.due_sizes(now)));
                if open.mtu.is_narrow() && !was_narrow {
                    say!("{} carries no paths: {NARROW}", link.device());
                }
            }
            let is_up = answers && !open.mtu.is_narrow();
            if is_up && !open.is_up {
                beat.came_up.push(*link);
            }
            open.is_up = is_up;
            if is_up {
                beat.trains.push((*link, open.trains.next(now)));
            }
            beat.probes.push((*link, open.probes.next(now)));
        }
        beat
    }

    /// Configures the MTU of a link.
    pub async fn set_mtu(&mut self, link: LinkNumber, mtu: u16, kernel: &ForwardKernel) {
        let Some(open) = self.open.get_mut(&link).filter(|open| open.reach != mtu) else { return };
        match kernel.set_link_mtu(open.neighbour.ends, mtu).await {
            Ok(()) => open.reach = mtu,
            Err(error) => say!("{error}"),
        }
    }

    /// The addresses of both ends of all links.
    pub fn ends(&self) -> BTreeSet<Ipv4Addr> {
        self.open.values().flat_map(|open| <[_; 2]>::from(open.neighbour.ends)).collect()
    }

    /// The previous daemon's links that are gone or changed, with their neighbours.
    pub fn former(&self) -> Vec<(LinkNumber, NodeAddress)> {
        let is_gone = |(link, saved): &(&LinkNumber, &Vec<u8>)| {
            self.open.get(link).is_none_or(|open| open.neighbour.to_bytes() != **saved)
        };
        let gone = self.previous.iter().filter(is_gone);
        gone.filter_map(|(link, saved)| Some((*link, neighbour::decode_address(saved)?))).collect()
    }
}

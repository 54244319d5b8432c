//! The ends of paths on this node, and the socket of messages within paths.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, SocketAddrV6};

use tokio::net::UdpSocket;

use super::Pinged;
use crate::engine::{Engine, PathNumber};
use crate::introduction::{Inner, PORT};
use crate::kernel::private::PrivateEnd;
use crate::mtu::{Discovery, MIN_OF_PATH};

pub(super) struct PathEnds {
    socket: UdpSocket,
    /// The interface indices of path ends.
    pub devices: BTreeMap<PathNumber, u32>,
    /// The private ones of those that begin here.
    pub private: BTreeMap<PathNumber, PrivateEnd>,
    /// Path ends whose peer uses an outdated introduction. The warning is logged once.
    pub outdated: BTreeSet<PathNumber>,
    /// The path MTUs, by the local ends.
    pub mtus: BTreeMap<PathNumber, Discovery>,
    /// The pings in flight, by their tokens.
    pub pings: HashMap<u64, Pinged>,
}

impl PathEnds {
    pub fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            devices: BTreeMap::new(),
            private: BTreeMap::new(),
            outdated: BTreeSet::new(),
            mtus: BTreeMap::new(),
            pings: HashMap::new(),
        }
    }

    /// Receives the next datagram from within a path.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    /// Messages that are lost are repeated. An MTU probe that is lost, or too long for the kernel, is an answer too.
    pub async fn send(&self, message: &Inner, to: SocketAddrV6) {
        let _ = self.socket.send_to(&message.to_bytes(), to).await;
    }

    /// The path that a datagram has come by.
    pub fn of(&self, from: SocketAddrV6) -> Option<PathNumber> {
        let by = |(_, index): &(&PathNumber, &u32)| **index == from.scope_id();
        self.devices.iter().find(by).map(|(number, _)| *number)
    }

    /// The inner address of a path's other end.
    pub fn address(&self, number: PathNumber, engine: &Engine) -> Option<SocketAddrV6> {
        let index = *self.devices.get(&number)?;
        let (_, far) = engine.path_end(number)?.inner();
        Some(SocketAddrV6::new(far, PORT, 0, index))
    }

    /// The MTU of a path, as far as it is known.
    pub fn mtu_of(&self, path: PathNumber) -> u16 {
        self.mtus.get(&path).and_then(Discovery::found).unwrap_or(MIN_OF_PATH)
    }

    /// Forgets a path that has ended.
    pub fn forget(&mut self, number: PathNumber) {
        self.devices.remove(&number);
        self.private.remove(&number);
        self.outdated.remove(&number);
        self.mtus.remove(&number);
    }
}

//! Datagrams of programs that know nothing of wires, as a router with address translation hands them on: each
//! program's socket is one port of the host.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::IpEndpoint;

/// Datagrams, and their bytes, that wait in each direction of a port.
const MAX_QUEUED: usize = 256;
const MAX_QUEUED_BYTES: usize = 64 << 10;

const MAX_DATAGRAM: usize = 1500;

/// A socket on this computer's loopback, and whom its datagrams are for.
pub struct Datagrams {
    program: UdpSocket,
    to: IpEndpoint,
    /// The port of each who sends.
    ports: HashMap<SocketAddr, SocketHandle>,
}

impl Datagrams {
    /// What comes to a new socket is for `to`.
    pub fn new(to: SocketAddr) -> io::Result<Self> {
        let program = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        program.set_nonblocking(true)?;
        Ok(Self { program, to: to.into(), ports: HashMap::new() })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.program.local_addr()
    }

    /// Moves datagrams in both directions. `port` gives a port that nobody has.
    pub fn poll(&mut self, sockets: &mut SocketSet<'static>, mut port: impl FnMut() -> u16) {
        let mut bytes = [0; MAX_DATAGRAM];
        while let Ok((count, from)) = self.program.recv_from(&mut bytes) {
            let handle = *self.ports.entry(from).or_insert_with(|| {
                let buffer = || {
                    PacketBuffer::new(
                        vec![PacketMetadata::EMPTY; MAX_QUEUED],
                        vec![0; MAX_QUEUED_BYTES],
                    )
                };
                let mut socket = Socket::new(buffer(), buffer());
                socket.bind(port()).expect("a port of a new socket");
                sockets.add(socket)
            });
            // What there is no room for is lost, as on a wire.
            let _ = sockets.get_mut::<Socket>(handle).send_slice(&bytes[..count], self.to);
        }
        for (program, handle) in &self.ports {
            while let Ok((bytes, from)) = sockets.get_mut::<Socket>(*handle).recv() {
                if from.endpoint == self.to {
                    let _ = self.program.send_to(bytes, program);
                }
            }
        }
    }
}

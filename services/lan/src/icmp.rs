//! An ICMPv6 socket that knows the link of each message, and whether a router has forwarded it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc::in6_pktinfo;
use nix::sys::socket::sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The hop limit of a packet that no router has forwarded (RFC 4861, 6.1).
const FROM_LINK: i32 = 255;

/// The socket. It is wrapped in a `UdpSocket` only because tokio has no type for ICMP; waiting is
/// the same.
#[derive(Debug)]
pub struct Icmp(UdpSocket);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpMessage {
    pub length: usize,
    pub from: Ipv6Addr,
    /// The interface index of the link that received it.
    pub link: u32,
    /// Whether it was sent on the link itself, and not forwarded by a router.
    pub is_link_local: bool,
}

impl Icmp {
    /// Wraps `socket`, which PID 1 has opened.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        setsockopt(&socket.as_fd(), Ipv6RecvPacketInfo, &true)?;
        setsockopt(&socket.as_fd(), Ipv6RecvHopLimit, &true)?;
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        // Without this the node would receive its own multicasts, and the guard would count them as
        // a rogue router's.
        socket.set_multicast_loop_v6(false)?;
        UdpSocket::from_std(socket).map(Self)
    }

    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<IcmpMessage> {
        loop {
            let received = self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await?;
            if let Some(received) = received {
                return Ok(received);
            }
        }
    }

    /// Sends `bytes` on the link `link`.
    ///
    /// # Errors
    /// The link does not exist, or has no route.
    pub async fn send(&self, bytes: &[u8], to: Ipv6Addr, link: u32) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, bytes, to, link)).await
    }
}

/// Receives a message; `None` if the kernel has not passed its link and hop limit.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<IcmpMessage>> {
    let mut room = nix::cmsg_space!(in6_pktinfo, i32);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let received =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut buffers, Some(&mut room), flags)?;
    let (mut link, mut hops) = (None, None);
    for it in received.cmsgs()? {
        match it {
            ControlMessageOwned::Ipv6PacketInfo(info) => link = Some(info.ipi6_ifindex),
            ControlMessageOwned::Ipv6HopLimit(limit) => hops = Some(limit),
            _ => {}
        }
    }
    let (Some(from), Some(link), Some(hops)) = (received.address, link, hops) else {
        return Ok(None);
    };
    let is_of_link = hops == FROM_LINK;
    Ok(Some(IcmpMessage {
        length: received.bytes,
        from: from.ip(),
        link,
        is_link_local: is_of_link,
    }))
}

fn send(socket: &UdpSocket, bytes: &[u8], to: Ipv6Addr, link: u32) -> io::Result<()> {
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, link));
    let hops = [ControlMessage::Ipv6HopLimit(&FROM_LINK)];
    let buffers = [IoSlice::new(bytes)];
    sendmsg(socket.as_raw_fd(), &buffers, &hops, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

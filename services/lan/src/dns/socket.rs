//! Datagrams, and to which of the node's addresses they came: an answer from another one is not
//! recognised by who waits for it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::in6_pktinfo;
use nix::sys::socket::sockopt::Ipv6RecvPacketInfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket for both versions of IP: IPv4 addresses are written as IPv6 ones (RFC 4291, 2.5.5.2).
#[derive(Debug)]
pub(super) struct DnsSocket {
    udp: UdpSocket,
}

/// Who has sent a datagram, and where it came in.
#[derive(Clone, Copy)]
pub(super) struct DatagramSource {
    pub(super) address: SocketAddr,
    own: Option<in6_pktinfo>,
}

impl DnsSocket {
    pub(super) fn new(udp: std::net::UdpSocket) -> io::Result<Self> {
        setsockopt(&udp, Ipv6RecvPacketInfo, &true)?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp: UdpSocket::from_std(udp)? })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.udp.local_addr()?.port())
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.udp.readable().await
    }

    /// The next datagram, if there is one.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, DatagramSource)> {
        let mut space = cmsg_space!(in6_pktinfo);
        self.udp.try_io(Interest::READABLE, || {
            let mut parts = [IoSliceMut::new(buffer)];
            let (fd, flags) = (self.udp.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let message = recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut space), flags)?;
            let from = message.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            let own = message.cmsgs()?.find_map(|it| match it {
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
                _ => None,
            });
            let peer = DatagramSource { address: SocketAddrV6::from(from).into(), own };
            Ok((message.bytes, peer))
        })
    }

    /// Sends an answer from the address that was asked. Where there is no room it is lost, as it might be
    /// anywhere else on its way.
    pub(super) fn try_answer(&self, bytes: &[u8], peer: DatagramSource) -> io::Result<()> {
        let SocketAddr::V6(to) = peer.address else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let own = peer.own.map(|mut own| {
            // Which way it goes is the routes' to say, but where only the link tells addresses apart.
            if !to.ip().is_unicast_link_local() {
                own.ipi6_ifindex = 0;
            }
            own
        });
        let control = own.as_ref().map(ControlMessage::Ipv6PacketInfo);
        self.udp.try_io(Interest::WRITABLE, || {
            let (fd, flags) = (self.udp.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let parts = [IoSlice::new(bytes)];
            sendmsg(fd, &parts, control.as_slice(), flags, Some(&SockaddrIn6::from(to)))?;
            Ok(())
        })
    }
}

//! UDP datagrams with their destination address: an answer must be sent from the address that was
//! asked.

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

/// A dual-stack socket: IPv4 addresses are IPv4-mapped (RFC 4291, 2.5.5.2).
#[derive(Debug)]
pub(super) struct DnsSocket {
    udp: UdpSocket,
}

/// The sender of a datagram, and the address and link at which it was received.
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

    /// Sends an answer from the address that was asked. It is dropped if the socket's buffer is
    /// full.
    pub(super) fn try_answer(&self, bytes: &[u8], peer: DatagramSource) -> io::Result<()> {
        let SocketAddr::V6(to) = peer.address else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let own = peer.own.map(|mut own| {
            // The routes select the link, except for link-local addresses, which need it.
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

//! An IPv4 UDP socket that knows the link of each message: DHCP clients have no address yet, or one
//! that is also in use on another link.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt::Ipv4PacketInfo,
};
use tokio::io::Interest;
use tokio::net;

#[derive(Debug)]
pub struct Udp(net::UdpSocket);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpMessage {
    pub length: usize,
    pub from: SocketAddrV4,
    /// The interface index of the link that received it.
    pub link: u32,
}

impl Udp {
    /// Wraps `socket`, which PID 1 has bound.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        setsockopt(&socket.as_fd(), Ipv4PacketInfo, &true)?;
        net::UdpSocket::from_std(socket).map(Self)
    }

    /// Receives a message; what exceeds `buffer` is cut off.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<UdpMessage> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await
    }

    /// Sends `bytes` on the link `link`.
    ///
    /// # Errors
    /// The link does not exist, or has no route.
    pub async fn send(&self, bytes: &[u8], to: SocketAddrV4, link: u32) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(&self.0, bytes, to, link)).await
    }
}

fn receive(socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<UdpMessage> {
    let mut room = nix::cmsg_space!(in_pktinfo);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let received = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut buffers, Some(&mut room), flags)?;
    let link = received.cmsgs()?.find_map(|it| match it {
        ControlMessageOwned::Ipv4PacketInfo(info) => u32::try_from(info.ipi_ifindex).ok(),
        _ => None,
    });
    let missing = || io::Error::other("the kernel does not say where a message comes from");
    let from = received.address.ok_or_else(missing)?;
    Ok(UdpMessage { length: received.bytes, from: from.into(), link: link.ok_or_else(missing)? })
}

fn send(socket: &net::UdpSocket, bytes: &[u8], to: SocketAddrV4, link: u32) -> io::Result<()> {
    let none = in_addr { s_addr: 0 };
    let link = i32::try_from(link).map_err(io::Error::other)?;
    let info = in_pktinfo { ipi_ifindex: link, ipi_spec_dst: none, ipi_addr: none };
    let by = [ControlMessage::Ipv4PacketInfo(&info)];
    let (buffers, to) = ([IoSlice::new(bytes)], SockaddrIn::from(to));
    sendmsg(socket.as_raw_fd(), &buffers, &by, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn knows_the_link() {
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (one, other) = (socket(), socket());
        let std::net::SocketAddr::V4(to) = other.local_addr().unwrap() else { panic!("IPv4") };
        let (one, other) = (Udp::new(one).unwrap(), Udp::new(other).unwrap());
        // Loopback has interface index 1.
        one.send(b"hello", to, 1).await.unwrap();
        let mut buffer = [0; 9];
        let received = other.receive(&mut buffer).await.unwrap();
        assert_eq!(
            (received.length, received.link, *received.from.ip()),
            (5, 1, Ipv4Addr::LOCALHOST)
        );
        assert!(one.send(b"hello", to, 9999).await.is_err());
    }
}

//! Datagrams with the kernel's receive timestamps, because the daemon reads them later.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The receive buffer in bytes, headers included. Links that come up together are measured together: each of 32
/// neighbours then sends a train of 32 datagrams and 8 MTU probes, and no other datagram may be lost meanwhile.
const RECEIVE_BUFFER: usize = 2 << 20;

/// A UDP socket over IPv4.
#[derive(Debug)]
pub struct Stamped(UdpSocket);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampedDatagram {
    /// The length; longer datagrams are truncated to the buffer.
    pub length: usize,
    pub from: SocketAddr,
    /// The receive time, since 1970.
    pub at: Option<Duration>,
}

impl Stamped {
    /// Enables receive timestamps on `socket`, and enlarges its buffer.
    ///
    /// # Errors
    /// The kernel refuses: a buffer above the default limit needs `CAP_NET_ADMIN`.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        setsockopt(&socket.as_fd(), RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&socket.as_fd(), ReceiveTimestampns, &true)?;
        Ok(Self(socket))
    }

    /// Receives the next datagram.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<StampedDatagram> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await
    }

    pub async fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.send_to(bytes, to).await
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<StampedDatagram> {
    let mut room = nix::cmsg_space!(TimeSpec);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let datagram = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut buffers, Some(&mut room), flags)?;
    let stamp = datagram.cmsgs()?.find_map(|it| match it {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    let nobody = || io::Error::other("a datagram of nobody");
    let from = datagram.address.map(SocketAddrV4::from).ok_or_else(nobody)?;
    Ok(StampedDatagram { length: datagram.bytes, from: from.into(), at: stamp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::TRAIN;
    use crate::control::LONGEST;
    use std::time::SystemTime;
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_all_neighbours_send_at_once_is_kept() {
        const ALL: usize = 32 * (TRAIN as usize + 8);
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (one, other) = (socket(), socket());
        one.set_nonblocking(true).unwrap();
        let to = one.local_addr().unwrap();
        let stamped = Stamped::new(UdpSocket::from_std(one).unwrap()).unwrap();
        for _ in 0..ALL {
            other.send_to(&[0; LONGEST], to).unwrap();
        }
        other.send_to(b"last", to).unwrap();
        let mut buffer = [0; LONGEST];
        for length in [LONGEST; ALL].into_iter().chain([4]) {
            let received = timeout(Duration::from_secs(180), stamped.receive(&mut buffer)).await;
            assert_eq!(received.expect("it was lost").unwrap().length, length);
        }
    }

    #[tokio::test]
    async fn it_is_known_when_it_came() {
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (one, other) = (socket(), socket());
        one.set_nonblocking(true).unwrap();
        let to = one.local_addr().unwrap();
        let stamped = Stamped::new(UdpSocket::from_std(one).unwrap()).unwrap();
        let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut from = None;
        // The kernel enables timestamps asynchronously; until then, datagrams are stamped when they are read.
        for _ in 0..200 {
            let before = since();
            other.send_to(b"some", to).unwrap();
            let sent = since();
            // Simulates a busy daemon.
            std::thread::sleep(Duration::from_millis(50));
            let datagram = stamped.receive(&mut [0; 4]).await.unwrap();
            assert_eq!((datagram.length, datagram.from), (4, other.local_addr().unwrap()));
            assert!(datagram.at.unwrap() >= before, "{datagram:?} {before:?} {sent:?}");
            if datagram.at.unwrap() <= sent {
                from = Some(datagram.from);
                break;
            }
        }
        let from = from.expect("the time at which it came");
        stamped.send(b"back", from).await.unwrap();
        assert_eq!(other.recv(&mut [0; 4]).unwrap(), 4);
    }
}

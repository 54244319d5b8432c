//! Watches for changes, by anybody, of what netd sets: links, addresses, routes, routing rules,
//! neighbours, and forwarding, which the kernel reports per device (linux/netconf.h,
//! `RTM_NEWNETCONF`). A notification only triggers a new read of the current state, so its content
//! is ignored, and nothing is lost when the socket's buffer overflows.

use std::io;

use futures_util::FutureExt;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// All groups except those of netconf.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// `RTNLGRP_IPV4_NETCONF` and `RTNLGRP_IPV6_NETCONF` (linux/rtnetlink.h), as bits.
const NETCONF: u32 = 1 << 23 | 1 << 24;

/// `ENOBUFS`: the socket's buffer has overflowed.
const TOO_MUCH: i32 = 105;

/// Receives a notification for every change. The socket is used for nothing else, because packets
/// from anybody to a port can cause many notifications (neighbour entries). The kernel is queried
/// by another socket, which receives only its own answers.
pub struct ChangeNotices(TokioSocket);

impl ChangeNotices {
    /// Subscribes to changes from now on.
    ///
    /// # Errors
    /// The kernel does not provide such a socket.
    pub fn open() -> io::Result<Self> {
        let bits = |bits, group: &MulticastGroup| bits | 1 << (*group as u32 - 1);
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS.iter().fold(NETCONF, bits)))?;
        Ok(Self(socket))
    }

    /// Returns when something has changed, or when the socket's buffer has overflowed.
    pub async fn changed(&self) -> io::Result<()> {
        let mut heard = self.0.recv_from_full().await;
        loop {
            match heard {
                Err(error) if error.raw_os_error() != Some(TOO_MUCH) => return Err(error),
                _ => {}
            }
            // Changes come in bursts; only the state after all of them matters.
            match self.0.recv_from_full().now_or_never() {
                Some(more) => heard = more,
                None => return Ok(()),
            }
        }
    }
}

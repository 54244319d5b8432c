//! Hears when somebody changes something that netd sets: links, addresses, routes, rules of routes, neighbours, and
//! whether packets are handed on, which the kernel tells for each device (linux/netconf.h, `RTM_NEWNETCONF`). What it
//! is now the kernel is asked anyway, so that nothing of what it says is read here, and nothing is lost with what
//! there was no room for.

use std::io;

use futures_util::FutureExt;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// All but those of netconf.
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

/// `ENOBUFS`: more was told than there is room for.
const TOO_MUCH: i32 = 105;

/// Hears of every change. It is told of so much by what anybody sends to a port that it says nothing else: the kernel
/// is asked by another socket, which never has more to say than it was asked for.
pub struct ChangeNotices(TokioSocket);

impl ChangeNotices {
    /// From now on.
    ///
    /// # Errors
    /// The kernel has no such socket.
    pub fn open() -> io::Result<Self> {
        let bits = |bits, group: &MulticastGroup| bits | 1 << (*group as u32 - 1);
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS.iter().fold(NETCONF, bits)))?;
        Ok(Self(socket))
    }

    /// Returns when something has changed, or when so much has that the kernel could not say all of it.
    pub async fn changed(&self) -> io::Result<()> {
        let mut heard = self.0.recv_from_full().await;
        loop {
            match heard {
                Err(error) if error.raw_os_error() != Some(TOO_MUCH) => return Err(error),
                _ => {}
            }
            // Each change comes with many; what counts is what there is after all of them.
            match self.0.recv_from_full().now_or_never() {
                Some(more) => heard = more,
                None => return Ok(()),
            }
        }
    }
}

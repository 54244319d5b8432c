//! Hears when somebody changes whether packets are handed on. The kernel tells it for each device
//! (linux/netconf.h, `RTM_NEWNETCONF`), in messages that the crate for all others does not read.

use std::io;

use futures_util::FutureExt;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// `RTNLGRP_IPV4_NETCONF` and `RTNLGRP_IPV6_NETCONF` (linux/rtnetlink.h), as bits.
const GROUPS: u32 = 1 << 23 | 1 << 24;

/// `ENOBUFS`: more was told than there is room for.
const TOO_MUCH: i32 = 105;

/// Hears of every change.
pub struct Netconf(TokioSocket);

impl Netconf {
    /// From now on.
    ///
    /// # Errors
    /// The kernel has no such socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// Returns when something has changed: what it is now the kernel is asked anyway.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn changed(&self) -> io::Result<()> {
        let mut heard = self.0.recv_from_full().await;
        // It is told once for each device.
        while let Some(more) = self.0.recv_from_full().now_or_never() {
            heard = more;
        }
        match heard {
            Err(error) if error.raw_os_error() != Some(TOO_MUCH) => Err(error),
            _ => Ok(()),
        }
    }
}

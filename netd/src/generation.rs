//! Who changes the kernel's rules: each transaction makes a new generation of them, and the kernel says
//! whose it was (linux/netfilter/nf_tables.h, `NFT_MSG_NEWGEN`).

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::nfnetlink::{NotRead, attributes, messages, take};

/// `NFNLGRP_NFTABLES`, as a bit.
const GROUP: u32 = 1 << 6;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN`.
const NEW: u16 = 0x0a0f;

/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
const PID: u16 = 2;
const NAME: u16 = 3;

/// Room for what the kernel says of one transaction, element by element, before whose it was: that of 32
/// boards with 1000 lines is some MB. It is memory only as long as it is filled.
const ROOM: usize = 16 << 20;

/// `ENOBUFS`: more was told than there is room for.
const TOO_MUCH: i32 = 105;

/// A process that has changed the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Its number; 0 if it is not known.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Hears of every change.
pub struct Generations(TokioSocket);

impl Generations {
    /// From now on.
    ///
    /// # Errors
    /// The kernel has no rules.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        set_socket_recv_buffer_size_force(socket.socket_ref(), ROOM)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUP))?;
        Ok(Self(socket))
    }

    /// The next who has changed something.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn next(&self) -> io::Result<Author> {
        loop {
            match self.0.recv_from_full().await {
                Ok((bytes, _)) => {
                    if let Ok(Some(author)) = author(&bytes) {
                        return Ok(author);
                    }
                }
                Err(error) if error.raw_os_error() == Some(TOO_MUCH) => {
                    return Ok(Author { pid: 0, name: "somebody".into() });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whose generation it is that a datagram tells of, if it tells of any. The changes themselves come
/// beside it.
///
/// # Errors
/// It is cut off.
pub fn author(bytes: &[u8]) -> Result<Option<Author>, NotRead> {
    let Some((_, body)) = messages(bytes)?.into_iter().find(|(kind, _)| *kind == NEW) else {
        return Ok(None);
    };
    let mut author = Author { pid: 0, name: String::new() };
    for (kind, _, value) in attributes(body.get(4..).ok_or(NotRead)?)? {
        match kind {
            PID => author.pid = u32::from_be_bytes(take(value, 0)?),
            NAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                author.name = String::from_utf8_lossy(text).into_owned();
            }
            _ => {}
        }
    }
    Ok(Some(author))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfnetlink::request;
    use proptest::prelude::*;

    /// As Linux 6.12 sends it for `nft`, process 300.
    fn message() -> Vec<u8> {
        let id = [8, 0, 1, 0, 0, 0, 0, 9];
        let pid = [8, 0, 2, 0, 0, 0, 1, 44];
        let name = [8, 0, 3, 0, b'n', b'f', b't', 0];
        request(NEW, 0, 0, 0, &[id, pid, name].concat())
    }

    #[test]
    fn who_it_was_is_read() {
        let expected = Author { pid: 300, name: "nft".into() };
        assert_eq!(author(&message()), Ok(Some(expected.clone())));
        // Behind what it has changed.
        let rule = request(0x0a06, 0, 0, 1, &[]);
        assert_eq!(author(&[rule.clone(), message()].concat()), Ok(Some(expected)));
        assert_eq!(author(&rule), Ok(None));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, cut in 0..60usize) {
            let _ = author(&bytes);
            let _ = author(&message()[..cut.min(message().len())]);
        }
    }
}

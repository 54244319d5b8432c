//! Who changes the kernel's rules: each transaction makes a new generation of them, and the kernel says
//! whose it was (linux/netfilter/nf_tables.h, `NFT_MSG_NEWGEN`), after what has changed.

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::nfnetlink::{NotRead, attributes, messages, take};

/// `NFNLGRP_NFTABLES`, as a bit.
const GROUP: u32 = 1 << 6;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN`.
const NEW: u16 = 0x0a0f;

/// Which table a change is of: `NFTA_TABLE_NAME`, and the same number in what is said of a chain, a rule, a
/// set, its elements or an object.
const TABLE: u16 = 1;

/// A table that is another daemon's (docs/ARCHITECTURE.md), which changes it with each path. It can only
/// narrow what netd's tables let.
const OTHERS: &[u8] = b"octet_forward\0";

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
    pub name: String,
}

pub struct Generations {
    socket: TokioSocket,
    heard: EarlyNotice,
}

/// What was told of a transaction before whose it is.
#[derive(Debug, Default)]
pub struct EarlyNotice {
    /// Changes of the table of [`OTHERS`].
    theirs: bool,
    ours: bool,
}

impl Generations {
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        set_socket_recv_buffer_size_force(socket.socket_ref(), ROOM)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUP))?;
        Ok(Self { socket, heard: EarlyNotice::default() })
    }

    /// The next who has changed something that is not forward's.
    pub async fn next(&mut self) -> io::Result<Author> {
        loop {
            match self.socket.recv_from_full().await {
                Ok((bytes, _)) => {
                    if let Some(author) = self.heard.take(&bytes) {
                        return Ok(author);
                    }
                }
                Err(error) if error.raw_os_error() == Some(TOO_MUCH) => {
                    self.heard = EarlyNotice::default();
                    return Ok(Author { pid: 0, name: "somebody".into() });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl EarlyNotice {
    /// Takes a datagram. Returns whose a transaction is, if this is the end of one and it has changed
    /// something that is not forward's, or nobody knows what.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Author> {
        let Ok(messages) = messages(bytes) else {
            self.ours = true;
            return None;
        };
        let mut found = None;
        for (kind, body) in messages {
            if kind != NEW {
                let is_theirs = table(body).is_ok_and(|table| table == Some(OTHERS));
                *if is_theirs { &mut self.theirs } else { &mut self.ours } = true;
                continue;
            }
            let Self { theirs, ours } = std::mem::take(self);
            if ours || !theirs {
                let nobody = Author { pid: 0, name: "somebody".into() };
                found = Some(author(body).unwrap_or(nobody));
            }
        }
        found
    }
}

/// The table that a change is of, with the zero at the end of its name.
fn table(body: &[u8]) -> Result<Option<&[u8]>, NotRead> {
    let all = attributes(body.get(4..).ok_or(NotRead)?)?;
    Ok(all.into_iter().find(|(kind, ..)| *kind == TABLE).map(|(_, _, value)| value))
}

fn author(body: &[u8]) -> Result<Author, NotRead> {
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
    Ok(author)
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

    /// A change of a rule or something else of `table`.
    fn change(kind: u16, table: &str) -> Vec<u8> {
        let mut name = [(table.len() as u16 + 5).to_ne_bytes(), 1u16.to_ne_bytes()].concat();
        name.extend(table.as_bytes());
        name.resize(name.len() + 4 - name.len() % 4, 0);
        request(kind, 0, 0, 1, &name)
    }

    #[test]
    fn who_it_was_is_read() {
        let expected = Some(Author { pid: 300, name: "nft".into() });
        let take = |bytes: &[u8]| EarlyNotice::default().take(bytes);
        assert_eq!(take(&message()), expected);
        // Behind what it has changed.
        let rule = change(0x0a06, "octet_fw");
        assert_eq!(take(&[rule.clone(), message()].concat()), expected);
        assert_eq!(take(&rule), None);
    }

    #[test]
    fn a_table_of_another_daemon_is_left_to_it() {
        let expected = Some(Author { pid: 300, name: "nft".into() });
        let (rule, elements) = (0x0a06, 0x0a0c);
        let ours = change(rule, "octet_fw");
        let theirs = [change(rule, "octet_forward"), change(elements, "octet_forward")].concat();
        let mut heard = EarlyNotice::default();
        // By as many datagrams as the kernel takes.
        for datagram in [&theirs, &theirs, &message()] {
            assert_eq!(heard.take(datagram), None);
        }
        // Nothing of that one belongs to the next.
        assert_eq!(heard.take(&message()), expected);
        for others in [ours, change(rule, "octet_forward2"), change(rule, ""), vec![1]] {
            for transaction in [[&theirs, &others, &message()], [&others, &theirs, &message()]] {
                let ends: Vec<_> = transaction.map(|datagram| heard.take(datagram)).into();
                assert_eq!(ends, [None, None, expected.clone()], "{others:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, cut in 0..60usize) {
            let _ = EarlyNotice::default().take(&bytes);
            let _ = EarlyNotice::default().take(&message()[..cut.min(message().len())]);
        }
    }
}

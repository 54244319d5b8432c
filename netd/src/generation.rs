//! Watches which process changes the kernel's ruleset. Each nftables transaction creates a new
//! generation; after the changes the kernel reports which process made them
//! (linux/netfilter/nf_tables.h, `NFT_MSG_NEWGEN`).

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::nfnetlink::{NotRead, attributes, messages, take};

/// `NFNLGRP_NFTABLES`, as a bit.
const GROUP: u32 = 1 << 6;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN`.
const NEW: u16 = 0x0a0f;

/// The table that a change belongs to: `NFTA_TABLE_NAME`. Messages about chains, rules, sets,
/// elements and objects use the same attribute number.
const TABLE: u16 = 1;

/// A table of another daemon (docs/ARCHITECTURE.md), which changes it with each path. It can only
/// restrict what netd's tables allow.
const OTHERS: &[u8] = b"octet_forward\0";

/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
const PID: u16 = 2;
const NAME: u16 = 3;

/// Size of the receive buffer in bytes. The kernel reports every element of a transaction before it
/// names the process: 32 boards with 1000 rules need some MB. The kernel allocates memory only for
/// queued messages.
const ROOM: usize = 16 << 20;

/// `ENOBUFS`: the socket's buffer has overflowed.
const TOO_MUCH: i32 = 105;

/// A process that has changed the ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Its process id; 0 if unknown.
    pub pid: u32,
    pub name: String,
}

pub struct Generations {
    socket: TokioSocket,
    notice: EarlyNotice,
}

/// What was reported about a transaction before its author is known.
#[derive(Debug, Default)]
pub struct EarlyNotice {
    /// Whether the table of [`OTHERS`] was changed.
    of_forward: bool,
    of_others: bool,
}

impl Generations {
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        set_socket_recv_buffer_size_force(socket.socket_ref(), ROOM)?;
        socket.socket_mut().bind(&SocketAddr::new(0, GROUP))?;
        Ok(Self { socket, notice: EarlyNotice::default() })
    }

    /// Waits for the next process that changes something besides forward's table.
    pub async fn next(&mut self) -> io::Result<Author> {
        loop {
            match self.socket.recv_from_full().await {
                Ok((bytes, _)) => {
                    if let Some(author) = self.notice.take(&bytes) {
                        return Ok(author);
                    }
                }
                Err(error) if error.raw_os_error() == Some(TOO_MUCH) => {
                    self.notice = EarlyNotice::default();
                    return Ok(Author { pid: 0, name: "somebody".into() });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl EarlyNotice {
    /// Handles a datagram. Returns the author of a transaction if the datagram ends one that has
    /// changed something besides forward's table, or whose changes are unknown.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Author> {
        let Ok(messages) = messages(bytes) else {
            self.of_others = true;
            return None;
        };
        let mut found = None;
        for (kind, body) in messages {
            if kind != NEW {
                let is_theirs = table(body).is_ok_and(|table| table == Some(OTHERS));
                *if is_theirs { &mut self.of_forward } else { &mut self.of_others } = true;
                continue;
            }
            let Self { of_forward: theirs, of_others: ours } = std::mem::take(self);
            if ours || !theirs {
                let nobody = Author { pid: 0, name: "somebody".into() };
                found = Some(author(body).unwrap_or(nobody));
            }
        }
        found
    }
}

/// The table that a change belongs to, with the terminating zero byte of its name.
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

    /// The message as Linux 6.12 sends it for `nft`, process 300.
    fn message() -> Vec<u8> {
        let id = [8, 0, 1, 0, 0, 0, 0, 9];
        let pid = [8, 0, 2, 0, 0, 0, 1, 44];
        let name = [8, 0, 3, 0, b'n', b'f', b't', 0];
        request(NEW, 0, 0, 0, &[id, pid, name].concat())
    }

    /// A change of a rule or of another object of `table`.
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
        // The author comes after its changes.
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
        // The kernel may split a transaction into any number of datagrams.
        for datagram in [&theirs, &theirs, &message()] {
            assert_eq!(heard.take(datagram), None);
        }
        // The state is reset between transactions.
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

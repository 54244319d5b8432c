//! Readiness notifications, as `sd_notify(3)` sends them: datagrams of `KEY=VALUE` lines.

use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use rustix::process::Pid;

/// The socket, as `$NOTIFY_SOCKET` names it.
pub const PATH: &str = "/run/octet/notify";

/// How many datagrams are taken at once; the rest waits for the next turn.
const AT_ONCE: usize = 64;

/// The socket that units notify.
pub struct Notify(UnixDatagram);

impl Notify {
    pub fn bind() -> io::Result<Self> {
        let socket = UnixDatagram::bind(PATH)?;
        socket.set_nonblocking(true)?;
        // Anyone may send; the kernel says who did, and only a unit's own process counts.
        std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o666))?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self(socket))
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The processes that have said `READY=1`.
    pub fn ready_senders(&self) -> Vec<Pid> {
        let mut senders = Vec::new();
        for _ in 0..AT_ONCE {
            match self.receive() {
                Some((Some(pid), true)) => senders.push(pid),
                Some(_) => {}
                None => break,
            }
        }
        senders
    }

    /// One datagram: who sent it, and whether it says `READY=1`.
    fn receive(&self) -> Option<(Option<Pid>, bool)> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )
        .ok()?;
        let sender = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid),
            _ => None,
        });
        Some((sender, says_ready(&bytes[..received.bytes])))
    }
}

fn says_ready(datagram: &[u8]) -> bool {
    datagram.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ready_is_a_line_of_its_own() {
        assert!(says_ready(b"READY=1"));
        assert!(says_ready(b"STATUS=up\nREADY=1\n"));
        for not in [&b""[..], b"READY=0", b"XREADY=1", b"READY=11", b"STATUS=READY=1"] {
            assert!(!says_ready(not));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            says_ready(&bytes);
        }
    }
}

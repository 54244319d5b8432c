//! The socket for notifications of services (sd_notify(3)).

use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use octet_control::notify::{MAX_DATAGRAM, Notification};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use rustix::process::Pid;

/// The path in `$NOTIFY_SOCKET`.
pub const PATH: &str = "/run/octet/notify";

/// How many datagrams are read at once; the rest waits for the next turn.
const MAX_DATAGRAMS_PER_TURN: usize = 64;

/// The notification socket.
pub struct Notify(UnixDatagram);

impl Notify {
    pub fn bind() -> io::Result<Self> {
        let socket = UnixDatagram::bind(PATH)?;
        socket.set_nonblocking(true)?;
        // Any process may send; the kernel identifies the sender, and only a unit's own process
        // counts.
        std::fs::set_permissions(PATH, std::fs::Permissions::from_mode(0o666))?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self(socket))
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The received notifications, each with its sender.
    pub fn receive(&self) -> Vec<(Pid, Notification)> {
        std::iter::from_fn(|| self.next()).take(MAX_DATAGRAMS_PER_TURN).flatten().collect()
    }

    /// One datagram; `Some(None)` if the kernel did not identify the sender.
    fn next(&self) -> Option<Option<(Pid, Notification)>> {
        let mut bytes = [0; MAX_DATAGRAM];
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
        Some(sender.map(|pid| (pid, Notification::parse(&bytes[..received.bytes]))))
    }
}

//! Carries frames between the card's cable and the hub.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// No frame is longer, in bytes: 1500 of payload, and some more.
const MAX_FRAME: usize = 2048;

/// Carries them until one of the two ends.
pub fn forward(hub: &UnixDatagram, wire: &OwnedFd) -> io::Result<()> {
    loop {
        let mut fds = [PollFd::new(hub, PollFlags::IN), PollFd::new(wire, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let [from_hub, from_wire] = fds.map(|fd| !fd.revents().is_empty());
        if from_hub && !forward_pending(hub, wire)? {
            return Ok(());
        }
        if from_wire {
            forward_pending(wire, hub)?;
        }
    }
}

/// Hands on what there is. Returns whether there will be more. Frames that the other end has no room for are lost, as
/// on any wire.
fn forward_pending(from: impl AsFd, to: impl AsFd) -> io::Result<bool> {
    let mut buffer = [0; MAX_FRAME];
    loop {
        match recv(&from, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Ok(false),
            Ok((_, count)) => {
                match send(&to, &buffer[..count], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Err(Errno::AGAIN | Errno::NOBUFS) | Ok(_) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

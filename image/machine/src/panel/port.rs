//! One end of a network card's wire.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No frame is longer, in bytes: 1500 of payload, two VLAN tags, and some more.
pub(super) const MAX_FRAME: usize = 2048;

/// How long a guest may leave frames unread before a further one is an error. A card that the guest
/// has not switched on reads none.
const TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// One of those that belong to nobody (locally administered), by its number.
    pub const fn number(number: u8) -> Self {
        Self([2, 0, 0, 0, 0, number])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network card of a machine that has not been started.
#[derive(Debug, Clone, Copy)]
pub struct Nic {
    pub mac: Mac,
}

/// The paths of a card's two sockets.
#[derive(Debug, Clone)]
pub struct Sockets {
    pub qemu: PathBuf,
    pub port: PathBuf,
}

impl Sockets {
    /// Those of card `index` in `folder`.
    pub fn new(folder: &Path, index: usize) -> Self {
        let path = |end: &str| folder.join(format!("nic{index}-{end}"));
        Self { qemu: path("q"), port: path("p") }
    }
}

/// The test's end of a wire.
#[derive(Debug)]
pub struct Port {
    out: Arc<Out>,
    frames: Receiver<Vec<u8>>,
}

/// What is sent goes here. When the last copy goes, so does the port.
#[derive(Debug)]
pub(super) struct Out {
    socket: UnixDatagram,
    /// The other end; none if the sockets are connected.
    peer: Option<PathBuf>,
}

impl Port {
    /// Listens where QEMU will send.
    pub(crate) fn bind(sockets: &Sockets) -> io::Result<Self> {
        Self::start(UnixDatagram::bind(&sockets.port)?, Some(sockets.qemu.clone()))
    }

    /// Two ends without a guest between them.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixDatagram::pair()?;
        Ok((Self::start(one, None)?, Self::start(other, None)?))
    }

    /// Frames are taken as they come, whether or not somebody asks: a guest whose frames nobody took
    /// would be another guest.
    fn start(socket: UnixDatagram, peer: Option<PathBuf>) -> io::Result<Self> {
        socket.set_write_timeout(Some(TIMEOUT))?;
        let (sender, frames) = channel();
        let reader = socket.try_clone()?;
        thread::spawn(move || {
            let mut buffer = [0; MAX_FRAME];
            // It ends when the port is dropped, which shuts the socket down.
            while let Ok(count @ 1..) = reader.recv(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { out: Arc::new(Out { socket, peer }), frames })
    }

    /// Sends a frame: from the destination's address on, without a checksum.
    ///
    /// # Errors
    /// The guest is gone, or reads nothing for 20 s.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.out.send(frame)
    }

    /// The next frame that comes before `deadline`.
    pub fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// The way out and the way in, each for a thread of its own.
    pub(super) fn split(self) -> (Arc<Out>, Receiver<Vec<u8>>) {
        (self.out, self.frames)
    }
}

impl Out {
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match &self.peer {
            Some(far) => self.socket.send_to(frame, far),
            None => self.socket.send(frame),
        }
        .map(drop)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // The reader ends with it; nothing is lost if it is shut already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = Sockets::new(folder.path(), 0);
        let port = Port::bind(&sockets).unwrap();
        let qemu = UnixDatagram::bind(&sockets.qemu).unwrap();
        let soon = Instant::now() + Duration::from_secs(60);
        qemu.send_to(b"one", &sockets.port).unwrap();
        qemu.send_to(b"two", &sockets.port).unwrap();
        assert_eq!(port.receive(soon).as_deref(), Some(&b"one"[..]));
        assert_eq!(port.receive(soon).as_deref(), Some(&b"two"[..]));
        assert_eq!(port.receive(Instant::now()), None);
        port.send(b"three").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(qemu.recv(&mut buffer).unwrap(), 5);
        drop(qemu);
        assert!(port.send(b"four").is_err());
    }
}

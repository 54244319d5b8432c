//! The network outside of boxes: one wire that their routers' uplinks share, also of boxes that other processes of the
//! same person run, and a DHCP server on it. Nothing else is there, and nothing leads away from it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::dhcp::DhcpServer;
use super::hub::{self, Hub};
use super::peer::{self, OwnAddresses};
use super::port::{MAX_FRAME, Mac, Port};

/// The DHCP server, which is also the gateway: it answers to pings, and drops what is for others.
pub const SERVER: (Ipv4Addr, Mac) = (Ipv4Addr::new(198, 18, 0, 1), Mac::number(1));

/// A network that is in use nowhere: RFC 2544 keeps it for devices that are tested.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 0, 0);

/// Seconds for which an address is given.
const LEASE: u32 = 3600;

/// Who uses the fifth byte of an Ethernet address on this wire, which is the third one of an address of IPv4.
const UPLINK: u8 = 2;
const DEVICE: u8 = 3;

/// How long whoever makes the wire may take until others can join it, or until it is free after its end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two tries.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The Ethernet address of the uplink of box `number`.
pub const fn uplink(number: u8) -> Mac {
    Mac([2, 0, 0, 0, UPLINK, number])
}

/// The Ethernet address of a program of this host that has this `number` at the hub.
pub const fn device(number: u8) -> Mac {
    Mac([2, 0, 0, 0, DEVICE, number])
}

/// The address that the DHCP server gives: nobody has to remember who has which, so a new server gives the same ones.
pub fn address(mac: Mac) -> Option<Ipv4Addr> {
    match mac.0 {
        [2, 0, 0, 0, kind @ (UPLINK | DEVICE), number @ 1..=254] => {
            Some(Ipv4Addr::new(198, 18, kind, number))
        }
        _ => None,
    }
}

/// A connection to the wire; while it is the one that has made the wire, it is the others', too. It ends with the value.
pub struct Outside {
    state: Arc<Mutex<State>>,
    receiver: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// The connection to the hub; none for the moment in which the wire changes its owner.
    hub: Option<Arc<UnixDatagram>>,
    ended: bool,
}

impl Outside {
    /// Joins the wire at `path`, and carries frames between it and `port`. Who finds no wire there makes it. When its
    /// owner ends, one of those that are left makes it anew; `lost` hears of it if none can.
    pub fn join(
        path: &Path,
        port: Port,
        lost: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (mut device, mut owned) = attach(path)?;
        let state = Arc::new(Mutex::new(State { hub: Some(Arc::clone(&device)), ended: false }));
        let (out, frames) = port.split();
        let of_sender = Arc::clone(&state);
        thread::spawn(move || {
            for frame in frames {
                let hub = lock(&of_sender).hub.clone();
                // Without an owner for a moment, or one that does not read: lost, as on any wire.
                hub.map(|hub| send(&hub, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT));
            }
        });
        let (path, of_receiver) = (path.to_owned(), Arc::clone(&state));
        let receiver = thread::spawn(move || {
            loop {
                let mut buffer = [0; MAX_FRAME];
                while let Ok((_, count @ 1..)) = recv(&device, &mut buffer, RecvFlags::empty()) {
                    // A guest that is gone takes nothing.
                    let _ = out.send(&buffer[..count]);
                }
                lock(&of_receiver).hub = None;
                drop(owned.take());
                if lock(&of_receiver).ended {
                    return;
                }
                (device, owned) = match attach(&path) {
                    Ok(attached) => attached,
                    Err(error) => return lost(error),
                };
                let mut state = lock(&of_receiver);
                if state.ended {
                    return;
                }
                state.hub = Some(Arc::clone(&device));
            }
        });
        Ok(Self { state, receiver: Some(receiver) })
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.ended = true;
        if let Some(hub) = state.hub.take() {
            let _ = shutdown(&hub, Shutdown::Both);
        }
        drop(state);
        // The process may end next: before that the wire's files are removed, if they are its own.
        self.receiver.take().map(JoinHandle::join);
    }
}

/// The wire itself, of whom it belongs to. It ends with the value.
struct Owned {
    _hub: Hub,
    path: PathBuf,
    lock: PathBuf,
    _file: File,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // In this order: nobody makes another one while this lock can be found.
        for path in [&self.path, &self.lock] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Connects to the wire at `path`, or makes it.
fn attach(path: &Path) -> io::Result<(Arc<UnixDatagram>, Option<Owned>)> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let owned = make(path)?;
        match hub::join(path) {
            Ok((device, _)) => return Ok((Arc::new(device), owned)),
            Err(error) if owned.is_some() || Instant::now() >= deadline => return Err(error),
            // Its owner has just begun, or has just ended.
            Err(_) => thread::sleep(RETRY_DELAY),
        }
    }
}

/// Makes the wire, if nobody has it.
fn make(path: &Path) -> io::Result<Option<Owned>> {
    let lock = path.with_extension("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&lock)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The owner before may have removed it meanwhile: then this lock keeps nobody out.
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    if file.metadata().map(id).ok() != fs::metadata(&lock).map(id).ok() {
        return Ok(None);
    }
    // One that was killed has left its socket.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (hub, port) = Hub::listen(path)?;
    thread::spawn(move || serve(port));
    Ok(Some(Owned { _hub: hub, path: path.to_owned(), lock, _file: file }))
}

/// Gives addresses, and is the gateway, until the hub ends.
fn serve(port: Port) {
    let (address, mac) = SERVER;
    let (out, frames) = port.split();
    for frame in frames {
        let answer = peer::neighbour(&frame, mac, OwnAddresses::One(address))
            .or_else(|| peer::echo(&frame, mac, OwnAddresses::One(address)))
            .or_else(|| lease(&frame));
        // A hub that ends takes nothing.
        answer.map(|answer| out.send(&answer));
    }
}

/// The DHCP server's answer to `frame`.
fn lease(frame: &[u8]) -> Option<Vec<u8>> {
    let from = Mac(frame.get(6..12)?.try_into().ok()?);
    let server = DhcpServer {
        mac: SERVER.1,
        address: SERVER.0,
        mask: MASK,
        offered: address(from)?,
        seconds: LEASE,
        knows: false,
    };
    server.answer(frame)?.1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

    use crate::panel::packet::{self, ReceivedPacket};
    use crate::panel::raw;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(180)
    }

    fn join(path: &Path) -> (Outside, Port) {
        let (end, port) = Port::pair().unwrap();
        let outside = Outside::join(path, port, |error| panic!("{error}")).unwrap();
        (outside, end)
    }

    fn discover(mac: Mac) -> Vec<u8> {
        let [from, to] = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST].map(IpAddr::V4);
        packet::udp((mac, Mac([0xff; 6])), (from, 68), (to, 67), &raw::dhcp::discover(mac))
    }

    /// What the server offers in `frame`.
    fn offer(frame: &[u8]) -> Option<Ipv4Addr> {
        let datagram = peer::datagram(frame).filter(|it| it.from == (SERVER.0, 67))?;
        let packet = DhcpPacket::new_checked(&datagram.payload[..]).ok()?;
        let repr = DhcpRepr::parse(&packet).ok()?;
        (repr.message_type == DhcpMessageType::Offer).then_some(repr.your_ip)
    }

    /// Sends `frame` until it, or an answer to it, comes that is `wanted`: a wire that has just lost its owner loses frames.
    fn until(from: &Port, frame: &[u8], at: &Port, wanted: impl Fn(&[u8]) -> bool) {
        let deadline = soon();
        loop {
            from.send(frame).unwrap();
            let again = Instant::now() + Duration::from_millis(200);
            while let Some(came) = at.receive(again) {
                if wanted(&came) {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "late: nothing came");
        }
    }

    #[test]
    fn each_on_the_wire_has_an_address_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (_outside, end) = join(&folder.path().join("wire"));
        for (mac, given) in [(uplink(1), [198, 18, 2, 1]), (device(9), [198, 18, 3, 9])] {
            until(&end, &discover(mac), &end, |frame| offer(frame) == Some(given.into()));
        }
        // Nobody else gets one: the answer to the next question would come behind it.
        end.send(&discover(Mac::number(9))).unwrap();
        let (own, server) = (Ipv4Addr::new(198, 18, 2, 1).into(), SERVER.0.into());
        let asked = packet::neighbour((uplink(1), Mac([0xff; 6])), own, server, server, true);
        end.send(&asked).unwrap();
        let answer = end.receive(soon()).unwrap();
        let is_at = ReceivedPacket::IsAt { address: server, mac: SERVER.1, to: own };
        assert_eq!(packet::parse(&answer), Some((uplink(1), is_at)));
    }

    #[test]
    fn the_wire_outlives_who_has_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire");
        // One that was killed has left its files.
        drop(UnixDatagram::bind(&path).unwrap());
        fs::write(path.with_extension("lock"), "").unwrap();
        let (first, one) = join(&path);
        let (second, other) = join(&path);
        until(&one, b"from one", &other, |frame| frame == b"from one");
        until(&other, b"from other", &one, |frame| frame == b"from other");
        drop(first);
        let (outlived, third) = join(&path);
        until(&third, b"from third", &other, |frame| frame == b"from third");
        until(&other, b"from other", &third, |frame| frame == b"from other");
        until(&other, &discover(uplink(2)), &other, |frame| {
            offer(frame) == Some([198, 18, 2, 2].into())
        });
        // Whoever is the last one leaves nothing.
        drop((second, outlived));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! A hub in front of a wire: programs of this host that connect to its socket are devices at that wire.
//!
//! A connection carries one Ethernet frame in each packet (`SOCK_SEQPACKET`). Its first packet, from the hub, is one
//! byte: the device's number, the lowest that is free.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen, recv, send, shutdown, socket_with,
};

use super::port::{MAX_FRAME, Out, Port};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// The hub. When the value goes, so do its connections.
pub struct Hub {
    listener: Arc<OwnedFd>,
    devices: Devices,
}

/// The connections, by the number of the device.
type Devices = Arc<Mutex<BTreeMap<u8, Arc<OwnedFd>>>>;

impl Hub {
    /// Listens at `path`. Returns also the port through which the devices are reached.
    pub fn listen(path: &Path) -> io::Result<(Self, Port)> {
        let listener = socket()?;
        bind(&listener, &SocketAddrUnix::new(path)?)?;
        listen(&listener, BACKLOG)?;
        let (end, port) = Port::pair()?;
        let (out, frames) = end.split();
        let hub = Self { listener: Arc::new(listener), devices: Devices::default() };
        let (listener, devices) = (Arc::clone(&hub.listener), Arc::clone(&hub.devices));
        thread::spawn(move || {
            // It ends when the hub is dropped, which shuts the socket down.
            while let Ok(device) = accept_with(&listener, SocketFlags::CLOEXEC) {
                plug(device, &devices, &out);
            }
        });
        let devices = Arc::clone(&hub.devices);
        thread::spawn(move || {
            for frame in frames {
                flood(&devices, None, &frame);
            }
        });
        Ok((hub, port))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Whoever has gone already is no trouble.
        let _ = shutdown(&self.listener, Shutdown::Both);
        for device in lock(&self.devices).values() {
            let _ = shutdown(device, Shutdown::Both);
        }
    }
}

/// Connects to the hub at `path`. Returns the connection and the device's number.
///
/// # Errors
/// Nobody listens there, or there is no number left.
pub fn join(path: &Path) -> io::Result<(UnixDatagram, u8)> {
    let hub = socket()?;
    connect(&hub, &SocketAddrUnix::new(path)?)?;
    let mut number = [0];
    match recv(&hub, &mut number, RecvFlags::empty())?.1 {
        1 => Ok((UnixDatagram::from(hub), number[0])),
        _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the hub has no place left")),
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Gives `device` a number, and hands on what it sends until it goes.
fn plug(device: OwnedFd, devices: &Devices, out: &Arc<Out>) {
    let mut all = lock(devices);
    // The thread of a device that has gone may not have noticed it yet, and its number is free all the same.
    all.retain(|_, device| !has_gone(device));
    let Some(number) = (1..u8::MAX).find(|number| !all.contains_key(number)) else { return };
    if send(&device, &[number], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
        return;
    }
    let device = Arc::new(device);
    all.insert(number, Arc::clone(&device));
    drop(all);
    let (devices, out) = (Arc::clone(devices), Arc::clone(out));
    thread::spawn(move || {
        let mut buffer = [0; MAX_FRAME];
        while let Ok((_, count @ 1..)) = recv(&device, &mut buffer, RecvFlags::empty()) {
            let frame = &buffer[..count];
            flood(&devices, Some(number), frame);
            // A guest that is gone takes nothing.
            let _ = out.send(frame);
        }
        let mut all = lock(&devices);
        // The number may have another device by now.
        if all.get(&number).is_some_and(|other| Arc::ptr_eq(other, &device)) {
            all.remove(&number);
        }
    });
}

/// Whether the other end of the connection is closed, even if frames of it are still to be read.
fn has_gone(device: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(device, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Sends `frame` to all devices but the one that it is from. One that does not read, as a process that is stopped,
/// loses it: the others do not wait for it.
fn flood(devices: &Devices, from: Option<u8>, frame: &[u8]) {
    for (_, device) in lock(devices).iter().filter(|(number, _)| Some(**number) != from) {
        let _ = send(device, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn receive(device: &UnixDatagram) -> Vec<u8> {
        device.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; MAX_FRAME];
        let count = device.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }

    #[test]
    fn devices_hear_each_other_and_the_wire() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lan");
        assert_eq!(join(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let (hub, wire) = Hub::listen(&path).unwrap();
        let ((one, first), (two, second)) = (join(&path).unwrap(), join(&path).unwrap());
        assert_eq!([first, second], [1, 2]);
        let soon = || Instant::now() + Duration::from_secs(60);
        one.send(b"from one").unwrap();
        assert_eq!(wire.receive(soon()).as_deref(), Some(&b"from one"[..]));
        assert_eq!(receive(&two), b"from one");
        // What came back to the first would come before this.
        wire.send(b"from the wire").unwrap();
        assert_eq!([receive(&one), receive(&two)], [b"from the wire"; 2]);
        // One that reads nothing is waited for by nobody.
        for _ in 0..2000 {
            two.send(&[0; 1500]).unwrap();
            assert!(wire.receive(soon()).is_some());
        }
        wire.send(b"still there").unwrap();
        assert_eq!(receive(&two), b"still there");
        // A number is free as soon as its device has gone, also if frames of it are not read yet.
        drop(one);
        let mut next = join(&path).unwrap();
        for _ in 0..1000 {
            assert_eq!(next.1, 1);
            next.0.send(&[0; 1500]).unwrap();
            drop(next);
            next = join(&path).unwrap();
            assert_eq!(receive(&two).len(), 1500);
        }
        // The threads of those that have gone take the number from nobody.
        next.0.send(b"from the last").unwrap();
        assert_eq!(receive(&two), b"from the last");
        assert_eq!((next.1, join(&path).unwrap().1), (1, 3));
        drop(hub);
        assert_eq!(two.recv(&mut [0; 1]).unwrap(), 0);
        assert_eq!(join(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

//! A relay of datagrams from IPv4 to IPv6 that can be cut.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::node::{V4, V6};

pub struct Relay {
    /// Where it takes datagrams of one node.
    pub address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Relay {
    /// Starts one to the IPv6 address `to`. It runs until the process ends.
    pub fn start(to: SocketAddr) -> Self {
        let [near, far] = [V4, V6].map(|at| UdpSocket::bind(at).unwrap());
        let address = near.local_addr().unwrap();
        far.connect(to).unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        // Where the peer is.
        let peer = Arc::new(Mutex::new(None));
        let (forth, back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (known, cut) = (peer.clone(), is_cut.clone());
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            while let Ok((size, from)) = forth.recv_from(&mut datagram) {
                *known.lock().unwrap() = Some(from);
                if !cut.load(Ordering::SeqCst) {
                    let _ = far.send(&datagram[..size]);
                }
            }
        });
        let cut = is_cut.clone();
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            loop {
                // An error says that nobody listens there yet.
                let Ok(size) = back.recv(&mut datagram) else { continue };
                let peer = *peer.lock().unwrap();
                if let Some(peer) = peer
                    && !cut.load(Ordering::SeqCst)
                {
                    let _ = near.send_to(&datagram[..size], peer);
                }
            }
        });
        Self { address, is_cut }
    }

    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

//! Connects two boxes by a wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use octet_machine::Socket;

use crate::cluster::site::Site;

/// The maximum delay of a waiting frame.
const TICK: Duration = Duration::from_millis(2);

const ETHERNET: usize = 14;

/// A wire between two boxes; it exists as long as this value.
pub struct Joined {
    is_cut: Arc<AtomicBool>,
    mtu: Arc<AtomicUsize>,
}

impl Joined {
    pub fn new(one: (&Site, Socket), other: (&Site, Socket)) -> Self {
        let (is_cut, number) = (Arc::new(AtomicBool::new(false)), 200);
        let end = |(site, socket): (&Site, Socket)| {
            let own = match socket {
                Socket::Router(card) => card,
                Socket::Board(board) | Socket::Other(board) => number + board,
            };
            site.cluster.attach(own, socket).unwrap()
        };
        let ends = [end(one), end(other)];
        let mtu = Arc::new(AtomicUsize::new(usize::MAX - ETHERNET));
        let (cut, longest) = (Arc::clone(&is_cut), Arc::clone(&mtu));
        thread::spawn(move || {
            while !cut.load(Ordering::Relaxed) {
                for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                    let fits =
                        |frame: &Vec<u8>| frame.len() <= longest.load(Ordering::Relaxed) + ETHERNET;
                    if let Some(frame) = from.receive(Instant::now() + TICK).filter(fits) {
                        // A guest that has ended receives nothing.
                        let _ = to.send(&frame);
                    }
                }
            }
        });
        Self { is_cut, mtu }
    }

    /// From now on longer packets are dropped, and all of their fragments: they are sent by nodes
    /// that ignore the MTU.
    pub fn narrow(&self, mtu: usize) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

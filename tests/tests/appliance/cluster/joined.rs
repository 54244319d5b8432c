//! Two boxes at one wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use octet_machine::Socket;

use crate::cluster::site::Site;

/// How soon a frame that waits is carried on.
const TICK: Duration = Duration::from_millis(2);

/// A wire between two boxes, as long as the value lives.
pub struct Joined(Arc<AtomicBool>);

impl Joined {
    pub fn new(one: (&Site, Socket), other: (&Site, Socket)) -> Self {
        let (is_cut, number) = (Arc::new(AtomicBool::new(false)), 200);
        let end = |(site, socket): (&Site, Socket)| {
            let own = match socket {
                Socket::Router(card) => card,
                Socket::Board(board) | Socket::Other(board) => number + board,
            };
            site.cluster.be(own, socket).unwrap()
        };
        let ends = [end(one), end(other)];
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            while !cut.load(Ordering::Relaxed) {
                for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                    if let Some(frame) = from.receive(Instant::now() + TICK) {
                        // A guest that is gone takes nothing.
                        let _ = to.send(&frame);
                    }
                }
            }
        });
        Self(is_cut)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

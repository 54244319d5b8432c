//! Records the traffic on the wires of the box, from the first frame on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use memchr::memmem::Finder;
use octet_machine::{Cluster, FrameAction, Socket};

use crate::cluster::metering::{self, Place};

/// The EtherType of IPv4, and the protocol of UDP (RFC 894, RFC 768).
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// MPLS in IP (RFC 4023).
const MPLS_IN_IP: u8 = 137;

/// WireGuard's port at both ends, as in a UDP header.
pub const LINK_PORTS: [u8; 4] = [0xca, 0x6c, 0xca, 0x6c];

/// A frame, and the socket that has sent it.
type Frame = (Socket, Vec<u8>);

/// Decides what happens to a frame.
type Rule = Box<dyn FnMut(Socket, &[u8]) -> FrameAction + Send>;

#[derive(Clone, Default)]
pub struct Wires {
    frames: Arc<Mutex<Vec<Frame>>>,
    rule: Arc<Mutex<Option<Rule>>>,
}

/// The source and the destination of an IPv4 packet without options of `protocol` between boards.
/// Ethernet has 14 bytes; IPv4's protocol and addresses are at 9 and 12 of its 20 bytes. Board N is
/// 10.20.N.2.
fn boards(frame: &[u8], protocol: u8) -> Option<(u8, u8)> {
    let is_it = frame.get(12..14)? == IPV4 && *frame.get(23)? == protocol;
    match frame.get(26..34).filter(|_| is_it)? {
        [10, 20, source, 2, 10, 20, target, 2] => Some((*source, *target)),
        _ => None,
    }
}

/// The source and the destination of a WireGuard frame.
pub fn link(frame: &[u8]) -> Option<(u8, u8)> {
    boards(frame, UDP).filter(|_| frame.get(34..38) == Some(&LINK_PORTS))
}

/// The source and the destination of a frame with a visible label.
pub fn plain(frame: &[u8]) -> Option<(u8, u8)> {
    boards(frame, MPLS_IN_IP)
}

/// The WireGuard traffic from one board to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub frames: usize,
    /// Those that are longer than the given length.
    pub long: usize,
}

impl Wires {
    /// Records all frames from now on. A frame of a board is recorded at its end of the wire even
    /// if it is lost; a frame to a board that is lost is not recorded there.
    pub fn record(cluster: &Cluster) -> Self {
        let wires = Self::default();
        let Self { frames, rule } = wires.clone();
        cluster.watch(move |from, frame| {
            let fate = rule
                .lock()
                .unwrap()
                .as_mut()
                .map_or(FrameAction::Forward, |rule| rule(from, frame));
            if fate != FrameAction::Drop || matches!(from, Socket::Board(_)) {
                frames.lock().unwrap().push((from, frame.to_vec()));
            }
            fate
        });
        wires
    }

    /// Makes `rule` decide what happens to each frame.
    pub fn disturb(&self, rule: impl FnMut(Socket, &[u8]) -> FrameAction + Send + 'static) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Delivers all frames normally again.
    pub fn calm(&self) {
        *self.rule.lock().unwrap() = None;
    }

    /// The names of the `needles` (a name and bytes each) that appeared on the wire of each board.
    /// A needle has to be in one frame.
    pub fn found<'a>(&self, needles: &[(&'a str, Vec<u8>)]) -> BTreeMap<u8, BTreeSet<&'a str>> {
        let needles: Vec<_> =
            needles.iter().map(|(name, needle)| (*name, Finder::new(needle))).collect();
        let mut found = BTreeMap::<u8, BTreeSet<_>>::new();
        for (from, frame) in self.frames.lock().unwrap().iter() {
            // Both ends of a wire have the same number.
            let (Socket::Board(wire) | Socket::Router(wire)) = from else { continue };
            let here = needles.iter().filter(|(_, needle)| needle.find(frame).is_some());
            found.entry(*wire).or_default().extend(here.map(|(name, _)| *name));
        }
        found
    }

    /// The WireGuard traffic between each two boards; frames longer than `length` are counted
    /// separately.
    pub fn links(&self, length: usize) -> BTreeMap<(u8, u8), Count> {
        let mut links = BTreeMap::<_, Count>::new();
        for (from, frame) in self.frames.lock().unwrap().iter() {
            let Socket::Board(_) = from else { continue };
            let Some(ends) = link(frame) else { continue };
            let count = links.entry(ends).or_default();
            count.frames += 1;
            count.long += usize::from(frame.len() > length);
        }
        links
    }

    /// The traffic with visible labels, by board. The bytes are those of the label and of its
    /// payload.
    pub fn labels(&self) -> BTreeMap<Place, metering::Count> {
        let mut labels = BTreeMap::<_, metering::Count>::new();
        for (from, frame) in self.frames.lock().unwrap().iter() {
            // The total length of IPv4 is at 2.
            let (Some((source, target)), Some(label), Some(length)) =
                (plain(frame), frame.get(34..38), frame.get(16..18))
            else {
                continue;
            };
            let place = match from {
                Socket::Board(board) if *board == source => (*board, "out", target),
                Socket::Router(board) if *board == target => (*board, "in", source),
                other => panic!("{source} to {target} at {other:?}"),
            };
            let number =
                |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let (board, way, other) = place;
            let count = labels.entry((board, way, other, number(label) >> 12)).or_default();
            *count = (count.0 + 1, count.1 + number(length) - 20);
        }
        labels
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.lock().unwrap().len()
    }
}

//! What goes by on the wires of the box, from the first frame on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use memchr::memmem::Finder;
use octet_machine::{Cluster, FrameAction, Socket};

use crate::cluster::metering::{self, Place};

/// An IPv4 header follows, and after it UDP (RFC 894, RFC 768).
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// MPLS in IP (RFC 4023).
const MPLS_IN_IP: u8 = 137;

/// WireGuard's port at both ends, as it is written in UDP's header.
pub const LINK_PORTS: [u8; 4] = [0xca, 0x6c, 0xca, 0x6c];

/// A frame, and the socket that it came from.
type Frame = (Socket, Vec<u8>);

/// What becomes of a frame.
type Rule = Box<dyn FnMut(Socket, &[u8]) -> FrameAction + Send>;

#[derive(Clone, Default)]
pub struct Wires {
    frames: Arc<Mutex<Vec<Frame>>>,
    rule: Arc<Mutex<Option<Rule>>>,
}

/// Between which boards an IPv4 packet without options goes, if it is one of `protocol`. Ethernet has 14 bytes;
/// protocol and addresses are at 9 and 12 of IPv4, whose header has 20. Board N is 10.20.N.2.
fn boards(frame: &[u8], protocol: u8) -> Option<(u8, u8)> {
    let is_it = frame.get(12..14)? == IPV4 && *frame.get(23)? == protocol;
    match frame.get(26..34).filter(|_| is_it)? {
        [10, 20, source, 2, 10, 20, target, 2] => Some((*source, *target)),
        _ => None,
    }
}

/// From which board to which one a frame of WireGuard's goes.
pub fn link(frame: &[u8]) -> Option<(u8, u8)> {
    boards(frame, UDP).filter(|_| frame.get(34..38) == Some(&LINK_PORTS))
}

/// From which board to which one a frame goes whose label anybody sees.
pub fn plain(frame: &[u8]) -> Option<(u8, u8)> {
    boards(frame, MPLS_IN_IP)
}

/// How much of WireGuard went from one board to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub frames: usize,
    /// Of these, those that are longer than what was asked for.
    pub long: usize,
}

impl Wires {
    /// Everything that goes by from now on. What a board has sent did so at its end of the wire even if it is
    /// lost; what is lost on its way to a board does not come there.
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

    /// Has `rule` say what becomes of each frame.
    pub fn disturb(&self, rule: impl FnMut(Socket, &[u8]) -> FrameAction + Send + 'static) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Has all go on again.
    pub fn calm(&self) {
        *self.rule.lock().unwrap() = None;
    }

    /// Which of `needles`, a name and bytes each, went by on the wire of each board. A needle has to be in one
    /// frame.
    pub fn found<'a>(&self, needles: &[(&'a str, Vec<u8>)]) -> BTreeMap<u8, BTreeSet<&'a str>> {
        let needles: Vec<_> =
            needles.iter().map(|(name, needle)| (*name, Finder::new(needle))).collect();
        let mut found = BTreeMap::<u8, BTreeSet<_>>::new();
        for (from, frame) in self.frames.lock().unwrap().iter() {
            // Of both ends of a wire the number is the same.
            let (Socket::Board(wire) | Socket::Router(wire)) = from else { continue };
            let here = needles.iter().filter(|(_, needle)| needle.find(frame).is_some());
            found.entry(*wire).or_default().extend(here.map(|(name, _)| *name));
        }
        found
    }

    /// How much of WireGuard each board has sent to each other one, frames longer than `length` apart.
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

    /// How much has gone by with labels that anybody sees, at which board. The bytes are those of the label and
    /// of what is in it.
    pub fn labels(&self) -> BTreeMap<Place, metering::Count> {
        let mut labels = BTreeMap::<_, metering::Count>::new();
        for (from, frame) in self.frames.lock().unwrap().iter() {
            // The length of all of the IPv4 packet is after its first two bytes.
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

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.lock().unwrap().len()
    }
}

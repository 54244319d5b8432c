//! Control messages between neighbours, one per UDP datagram. The link authenticates and encrypts them.
//!
//! All numbers are big-endian. The first byte is the version (1), the second the kind:
//!
//! | kind | | what follows |
//! |---|---|---|
//! | 1 | probe | number (4) |
//! | 2 | probed | the number of the probe (4) |
//! | 3 | announcement | the announcement |
//! | 4 | set-up | id (8), label for the reverse direction (4), the onion |
//! | 5 | answer | id (8), label for the forward direction, or 0 (4), the onion |
//! | 6 | change | id (8), the sealed change |
//! | 7 | unreadable | id (8) of a set-up that is not for the neighbour, or was altered |
//! | 8 | train | number (4), place in it (1), zeros up to [`LONGEST`] |
//! | 9 | trained | number of the train (4), how fast it came in kbit/s (4) |
//! | 10 | MTU probe | the length of its IPv4 packet (2), zeros |
//! | 11 | MTU probed | the length of the packet that came (2) |
//! | 12 | account | a message between the `accounts` of both nodes (docs/accounts.md) |

use std::net::{Ipv4Addr, SocketAddr};

use crate::label::Label;
use crate::mtu;
use crate::onion::{CHANGE, SetUp};

/// The UDP port for control messages.
pub const PORT: u16 = 4042;

/// The maximum size of a message in bytes, except MTU probes: it passes each link in one packet.
pub const LONGEST: usize = 1280;

/// The maximum size of a message between the units `accounts`.
pub const MAX_ACCOUNT_MESSAGE: usize = LONGEST - 2;

/// The headers of IPv4 (20) and UDP (8).
const HEADERS: usize = 28;

/// The maximum size of an MTU probe.
pub const LONGEST_PROBE: usize = mtu::LINK as usize - HEADERS;

const VERSION: u8 = 1;

/// Whether the sender is the neighbour's `forward`. Any unit of the neighbour shares its address, but PID 1
/// alone hands out this port.
pub fn is_from_forward(end: Ipv4Addr, from: SocketAddr) -> bool {
    from == SocketAddr::from((end, PORT))
}

/// A path's identifier on one link, chosen by the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkMessage {
    /// Checks that the neighbour is reachable.
    Probe(u32),
    ProbeReply(u32),
    /// A flooded announcement.
    Announcement(Vec<u8>),
    /// Requests a path.
    SetUp {
        /// The path's identifier on this link.
        id: Id,
        /// The label for the reverse direction.
        reverse_label: Label,
        /// The encrypted instructions for all hops.
        onion: Box<SetUp>,
    },
    /// The answer to a set-up.
    Answer {
        id: Id,
        /// The label for the forward direction; `None` if the path was refused.
        label: Option<Label>,
        /// The encrypted answers of all hops.
        onion: Box<SetUp>,
    },
    /// The neighbour cannot decrypt the set-up.
    Unreadable(Id),
    /// A change of a path by its source.
    Change {
        id: Id,
        /// The encrypted change for all hops.
        sealed: Box<[u8; CHANGE]>,
    },
    /// A message of a packet train.
    Train {
        number: u32,
        /// The position in the train, from 0.
        position: u8,
    },
    /// The result of a train.
    TrainReply {
        number: u32,
        /// The measured rate, in kbit/s.
        kilobits: u32,
    },
    /// An MTU probe of this length.
    MtuProbe(u16),
    /// The answer to an MTU probe of this length.
    MtuProbeReply(u16),
    /// A message between the units `accounts` of both nodes.
    Account(Vec<u8>),
}

impl LinkMessage {
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbered = |kind: u8, number: u32, rest: &[u8]| {
            [&[VERSION, kind][..], &number.to_be_bytes(), rest].concat()
        };
        let of = |kind: u8, id: Id, label: u32, rest: &[u8]| {
            [&[VERSION, kind][..], &id.0.to_be_bytes(), &label.to_be_bytes(), rest].concat()
        };
        match self {
            Self::Probe(number) => numbered(1, *number, &[]),
            Self::ProbeReply(number) => numbered(2, *number, &[]),
            Self::Announcement(bytes) => [&[VERSION, 3][..], bytes].concat(),
            Self::SetUp { id, reverse_label, onion } => of(4, *id, reverse_label.get(), &onion[..]),
            Self::Answer { id, label, onion } => {
                of(5, *id, label.map_or(0, Label::get), &onion[..])
            }
            Self::Unreadable(id) => [&[VERSION, 7][..], &id.0.to_be_bytes()].concat(),
            Self::Change { id, sealed } => {
                [&[VERSION, 6][..], &id.0.to_be_bytes(), &sealed[..]].concat()
            }
            Self::Train { number, position } => {
                let mut bytes = numbered(8, *number, &[*position]);
                bytes.resize(LONGEST, 0);
                bytes
            }
            Self::TrainReply { number, kilobits } => numbered(9, *number, &kilobits.to_be_bytes()),
            Self::MtuProbe(size) => {
                let mut bytes = [&[VERSION, 10][..], &size.to_be_bytes()].concat();
                bytes.resize(usize::from(*size).clamp(HEADERS + 4, mtu::LINK.into()) - HEADERS, 0);
                bytes
            }
            Self::MtuProbeReply(size) => [&[VERSION, 11][..], &size.to_be_bytes()].concat(),
            Self::Account(bytes) => [&[VERSION, 12][..], bytes].concat(),
        }
    }

    /// Decodes a message. `None` if it is malformed: no error is returned, because there is nobody to report it
    /// to.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind], rest) = bytes.split_first_chunk()?;
        if version != VERSION || bytes.len() > LONGEST && kind != 10 {
            return None;
        }
        Some(match kind {
            1 => Self::Probe(u32::from_be_bytes(rest.try_into().ok()?)),
            2 => Self::ProbeReply(u32::from_be_bytes(rest.try_into().ok()?)),
            3 => Self::Announcement(rest.to_vec()),
            4 => {
                let (id, label, onion) = path(rest)?;
                Self::SetUp { id, reverse_label: Label::new(label)?, onion }
            }
            5 => {
                let (id, number, onion) = path(rest)?;
                let label = Label::new(number);
                // The label 0 means that there is no path; other reserved values are malformed.
                if label.is_none() && number != 0 {
                    return None;
                }
                Self::Answer { id, label, onion }
            }
            6 => {
                let (id, sealed) = rest.split_first_chunk()?;
                let sealed = Box::new(sealed.try_into().ok()?);
                Self::Change { id: Id(u64::from_be_bytes(*id)), sealed }
            }
            7 => Self::Unreadable(Id(u64::from_be_bytes(rest.try_into().ok()?))),
            8 => {
                let (number, rest) = rest.split_first_chunk()?;
                let (place, filler) = rest.split_first()?;
                if bytes.len() != LONGEST || filler.iter().any(|byte| *byte != 0) {
                    return None;
                }
                Self::Train { number: u32::from_be_bytes(*number), position: *place }
            }
            9 => {
                let (number, rest) = rest.split_first_chunk()?;
                let kilobits = u32::from_be_bytes(rest.try_into().ok()?);
                Self::TrainReply { number: u32::from_be_bytes(*number), kilobits }
            }
            10 => {
                let (size, filler) = rest.split_first_chunk()?;
                let size = u16::from_be_bytes(*size);
                let is_whole = bytes.len() + HEADERS == usize::from(size);
                if !is_whole || size > mtu::LINK || filler.iter().any(|byte| *byte != 0) {
                    return None;
                }
                Self::MtuProbe(size)
            }
            11 => Self::MtuProbeReply(u16::from_be_bytes(rest.try_into().ok()?)),
            12 => Self::Account(rest.to_vec()),
            _ => return None,
        })
    }
}

fn path(bytes: &[u8]) -> Option<(Id, u32, Box<SetUp>)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (label, onion) = rest.split_first_chunk()?;
    let onion = Box::new(onion.try_into().ok()?);
    Some((Id(u64::from_be_bytes(*id)), u32::from_be_bytes(*label), onion))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn another_program_of_the_neighbour_is_not_its_forward() {
        let end = Ipv4Addr::new(100, 67, 227, 3);
        let is = |from: &str| is_from_forward(end, from.parse().unwrap());
        assert!(is("100.67.227.3:4042"));
        assert!(!is("100.67.227.3:40420") && !is("100.67.227.4:4042"));
    }

    #[test]
    fn the_longest_fits() {
        let onion = Box::new([0; crate::onion::SETUP]);
        let reverse_label = Label::of_chance(0);
        assert!(LinkMessage::SetUp { id: Id(0), reverse_label, onion }.to_bytes().len() <= LONGEST);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u64, label: u32, byte: u8, number: u32, bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
            let (id, label) = (Id(id), Label::of_chance(label));
            let onion = Box::new([byte; crate::onion::SETUP]);
            for message in [
                LinkMessage::Probe(number),
                LinkMessage::ProbeReply(number),
                LinkMessage::Announcement(bytes.clone()),
                LinkMessage::Account(bytes),
                LinkMessage::SetUp { id, reverse_label: label, onion: onion.clone() },
                LinkMessage::Answer { id, label: Some(label), onion: onion.clone() },
                LinkMessage::Answer { id, label: None, onion },
                LinkMessage::Unreadable(id),
                LinkMessage::Change { id, sealed: Box::new([byte; CHANGE]) },
                LinkMessage::Train { number, position: byte },
                LinkMessage::TrainReply { number, kilobits: label.get() },
                LinkMessage::MtuProbe(32 + (number % 1409) as u16),
                LinkMessage::MtuProbeReply(number as u16),
            ] {
                let read = LinkMessage::from_bytes(&message.to_bytes());
                prop_assert_eq!(read.as_ref(), Some(&message));
                let cut = &message.to_bytes()[..message.to_bytes().len() - 1];
                let has_any_length = matches!(message, LinkMessage::Announcement(_) | LinkMessage::Account(_));
                prop_assert!(has_any_length || LinkMessage::from_bytes(cut).is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_or_not(kind in 0u8..14, bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let bytes = [&[VERSION, kind][..], &bytes].concat();
            if let Some(message) = LinkMessage::from_bytes(&bytes) {
                prop_assert_eq!(message.to_bytes(), bytes);
            }
        }
    }
}

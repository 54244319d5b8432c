//! The announcement that a node floods about itself and its links: signed, one encoding, one datagram.

mod signed;

pub use signed::{InvalidAnnouncement, SignedAnnouncement};

use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The maximum number of links in an announcement. A node with more links announces the ones it wants used.
pub const LINKS: usize = 32;

/// The maximum size of an announcement in bytes: with headers it fits into a datagram of 1280 bytes.
pub const LONGEST: usize = 1200;

/// The maximum lifetime of an announcement, in seconds.
pub const LIFETIME: u16 = 3600;

/// The unit whose key signs announcements.
pub const UNIT: &str = "forward";

/// Bit 0 of the flags.
const RELAYS: u8 = 1;

/// Bit 1 of the flags.
const EXIT: u8 = 2;

/// A node's announcement of itself and its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The sequence number. Among announcements under keys of the same epoch, the higher one wins.
    pub sequence: u64,
    /// The time of issue, in seconds since 1970, by the node's clock.
    pub issued: u64,
    /// The lifetime in seconds after `issued`, 1 to [`LIFETIME`].
    pub lifetime: u16,
    /// The X25519 key that encrypts the node's part of a set-up.
    pub onion_key: [u8; 32],
    /// Whether the node relays paths.
    pub relays: bool,
    /// Whether the node forwards packets to the internet.
    pub exit: bool,
    /// The price for 2^30 bytes, in millionths of the unit of account.
    pub price: u32,
    /// The links, sorted by the neighbours' addresses; at most [`LINKS`], and none to the node itself.
    pub links: Vec<AnnouncedLink>,
}

/// A link to a neighbour, as measured by the announcing node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedLink {
    pub neighbour: NodeAddress,
    /// The capacity towards the neighbour, in kbit/s; 0 if unknown.
    pub capacity: u32,
    /// Half the round-trip time, in tenths of a millisecond.
    pub latency: u16,
    /// The loss rate, in 255ths.
    pub loss: u8,
}

impl Announcement {
    /// The time of expiry, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.issued.saturating_add(self.lifetime.into())
    }

    /// The announced link to `neighbour`.
    pub fn link(&self, neighbour: NodeAddress) -> Option<&AnnouncedLink> {
        let at = self.links.binary_search_by_key(&neighbour, |link| link.neighbour).ok()?;
        Some(&self.links[at])
    }

    /// Checks that the node with this address can announce this.
    fn check(&self, own: NodeAddress) -> Result<(), &'static str> {
        if self.lifetime == 0 || self.lifetime > LIFETIME {
            return Err("it counts for no time, or for too long");
        }
        if self.links.len() > LINKS {
            return Err("it has too many links");
        }
        if !self.links.is_sorted_by(|one, other| one.neighbour < other.neighbour) {
            return Err("its links are not in order, or two are to one neighbour");
        }
        if self.links.iter().any(|link| link.neighbour == own) {
            return Err("it has a link to itself");
        }
        Ok(())
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.issued.to_be_bytes());
        out.extend_from_slice(&self.lifetime.to_be_bytes());
        out.extend_from_slice(&self.onion_key);
        let relays = if self.relays { RELAYS } else { 0 };
        let exit = if self.exit { EXIT } else { 0 };
        out.push(relays | exit);
        out.extend_from_slice(&self.price.to_be_bytes());
        out.push(u8::try_from(self.links.len()).unwrap_or(u8::MAX));
        for link in &self.links {
            out.extend_from_slice(&link.neighbour.octets());
            out.extend_from_slice(&link.capacity.to_be_bytes());
            out.extend_from_slice(&link.latency.to_be_bytes());
            out.push(link.loss);
        }
    }

    fn read(fields: &mut Fields) -> Option<Self> {
        let (sequence, issued) = (fields.u64()?, fields.u64()?);
        let (lifetime, onion_key) = (fields.u16()?, fields.array()?);
        let (flags, price) = (fields.u8()?, fields.u32()?);
        let count = fields.u8()?;
        if flags & !(RELAYS | EXIT) != 0 || usize::from(count) > LINKS {
            return None;
        }
        let links = (0..count).map(|_| AnnouncedLink::read(fields)).collect::<Option<_>>()?;
        let (relays, exit) = (flags & RELAYS != 0, flags & EXIT != 0);
        Some(Self { sequence, issued, lifetime, onion_key, relays, exit, price, links })
    }
}

impl AnnouncedLink {
    fn read(fields: &mut Fields) -> Option<Self> {
        let neighbour = fields.array::<16>()?.try_into().ok()?;
        let (capacity, latency) = (fields.u32()?, fields.u16()?);
        Some(Self { neighbour, capacity, latency, loss: fields.u8()? })
    }
}

//! What a node says of itself and its links to all others: signed, in one encoding, in one datagram.

mod signed;

pub use signed::{InvalidAnnouncement, SignedAnnouncement};

use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The most links that a node announces. One that has more names those that it wants used.
pub const LINKS: usize = 32;

/// The most bytes of an announcement: with a header it fits into one datagram of 1280 bytes.
pub const LONGEST: usize = 1200;

/// The longest that an announcement counts, in seconds.
pub const LIFETIME: u16 = 3600;

/// The unit whose key signs.
pub const UNIT: &str = "forward";

/// Bit 0 of the flags.
const RELAYS: u8 = 1;

/// Bit 1 of the flags.
const EXIT: u8 = 2;

/// What a node says of itself and its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Of two of one node with keys of the same epoch the higher one counts.
    pub sequence: u64,
    /// When it was written, in seconds since 1970, by the node's clock.
    pub issued: u64,
    /// For how many seconds from then it counts, 1 to [`LIFETIME`].
    pub lifetime: u16,
    /// The key by which parts of set-ups are sealed for it (X25519).
    pub onion_key: [u8; 32],
    /// It carries paths that do not end at it.
    pub relays: bool,
    /// It carries packets on into the internet.
    pub exit: bool,
    /// What it asks for carrying 2^30 bytes, in millionths of the unit of account.
    pub price: u32,
    /// Its links, in the order of the neighbours' addresses, at most [`LINKS`], and none to itself.
    pub links: Vec<AnnouncedLink>,
}

/// A link to a neighbour, as the node that announces it has measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedLink {
    pub neighbour: NodeAddress,
    /// How much it carries to the neighbour, in kbit/s; 0: nobody knows.
    pub capacity: u32,
    /// How long there and back takes, halved, in tenths of a millisecond.
    pub latency: u16,
    /// How much of what is sent is lost, in 255ths.
    pub loss: u8,
}

impl Announcement {
    /// When it counts no more, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.issued.saturating_add(self.lifetime.into())
    }

    /// What is said of the link to `neighbour`.
    pub fn link(&self, neighbour: NodeAddress) -> Option<&AnnouncedLink> {
        let at = self.links.binary_search_by_key(&neighbour, |link| link.neighbour).ok()?;
        Some(&self.links[at])
    }

    /// Whether the node with this address may say it.
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

//! The source's request to a hop, and the hop's answer.

use super::SLOT;
use super::keys::{ENC, HINT, TAG};
use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The size of a record before it is sealed, in bytes.
pub const RECORD: usize = SLOT - HINT - ENC - TAG;

/// The size of an answer before it is sealed, in bytes.
pub const ANSWER: usize = SLOT - TAG;

/// The first byte of a relay's record, and of its accepting answer.
const RELAY: u8 = 1;

/// The first byte of the end's record, and of its accepting answer.
const END: u8 = 2;

/// The first byte of a refusal.
const REFUSED: u8 = 3;

/// The source's request to a hop.
///
/// Its one encoding (numbers are big-endian): role (1 byte: 1 relay, 2 end), flags (1), issued (8), lifetime
/// (2), rate (4), then for a relay the next hop's address (16), for the end the key (32) and the number of the
/// path (4), and zeros up to 88 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HopRecord {
    pub terms: Terms,
    /// The hop's role in the path.
    pub role: HopRole,
}

/// The terms of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The time of the request, in seconds since 1970, by the source's clock.
    pub issued: u64,
    /// The lifetime until the next refresh, in seconds.
    pub lifetime: u16,
    /// The maximum rate in either direction, in kbit/s; 0 if unspecified.
    pub rate: u32,
    /// Flags, by agreement of source and hop; a hop refuses flags that it does not know.
    pub flags: u8,
}

/// The role of a hop in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopRole {
    Relay {
        /// Forward to this neighbour.
        next: NodeAddress,
    },
    /// The path ends here.
    End {
        /// The source's public key of the inner WireGuard, made for this path.
        inner_key: [u8; 32],
        /// The number by which the source tells this path from others to the same end.
        path: u32,
    },
}

/// A hop's answer.
///
/// Its one encoding: kind (1 byte: 1 a relay accepts, 2 the end accepts, 3 refused), then if accepted lifetime
/// (2), rate (4) and, for the end, its key (32), if refused the reason (1), and zeros up to 128 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopReply {
    Relay(HopGrant),
    End {
        grant: HopGrant,
        /// The end's public key of the inner WireGuard, for this path.
        inner_key: [u8; 32],
    },
    /// The hop refuses the path.
    Refused(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HopGrant {
    /// The granted lifetime in seconds, until the next refresh.
    pub lifetime: u16,
    /// The granted rate in kbit/s; 0 if unlimited.
    pub rate: u32,
}

/// Why a hop refuses a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The hop's limit of paths or its capacity is used up.
    Full,
    /// The hop does not relay, or not under these terms.
    Policy,
    /// The set-up is too old or in the future, by the hop's clock.
    Clock,
    /// The set-up was replayed.
    Replay,
    /// The next hop is not a neighbour, or its link is down.
    NoLink,
    /// The next hop did not answer in time.
    Silent,
    /// The next hop could not decrypt its slot: its onion key has changed, or the set-up was altered.
    Unreadable,
    /// The hop requires payment first.
    Unpaid,
    /// A reason that this version does not know.
    Other(u8),
}

impl HopRecord {
    pub fn to_bytes(self) -> [u8; RECORD] {
        let (kind, about) = match self.role {
            HopRole::Relay { next } => (RELAY, next.octets().to_vec()),
            HopRole::End { inner_key, path } => {
                (END, [&inner_key[..], &path.to_be_bytes()].concat())
            }
        };
        let Terms { issued, lifetime, rate, flags } = self.terms;
        filled(&[
            &[kind, flags],
            &issued.to_be_bytes(),
            &lifetime.to_be_bytes(),
            &rate.to_be_bytes(),
            &about,
        ])
    }

    /// Decodes a record. `None` if the role is unknown, the next hop is not a node address, or unused bytes are
    /// not zero.
    pub fn from_bytes(bytes: &[u8; RECORD]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (kind, flags) = (fields.u8()?, fields.u8()?);
        let (issued, lifetime, rate) = (fields.u64()?, fields.u16()?, fields.u32()?);
        let role = match kind {
            RELAY => HopRole::Relay { next: fields.array::<16>()?.try_into().ok()? },
            END => HopRole::End { inner_key: fields.array()?, path: fields.u32()? },
            _ => return None,
        };
        let terms = Terms { issued, lifetime, rate, flags };
        fields.only_zeros().then_some(Self { terms, role })
    }
}

impl HopReply {
    pub fn to_bytes(self) -> [u8; ANSWER] {
        match self {
            Self::Relay(HopGrant { lifetime, rate }) => {
                filled(&[&[RELAY], &lifetime.to_be_bytes(), &rate.to_be_bytes()])
            }
            Self::End { grant: HopGrant { lifetime, rate }, inner_key } => {
                filled(&[&[END], &lifetime.to_be_bytes(), &rate.to_be_bytes(), &inner_key])
            }
            Self::Refused(reason) => filled(&[&[REFUSED, reason.code()]]),
        }
    }

    /// Decodes an answer. `None` if the kind is unknown, or unused bytes are not zero.
    pub fn from_bytes(bytes: &[u8; ANSWER]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let kind = fields.u8()?;
        let answer = if kind == REFUSED {
            Self::Refused(Reason::from_code(fields.u8()?))
        } else {
            let grant = HopGrant { lifetime: fields.u16()?, rate: fields.u32()? };
            match kind {
                RELAY => Self::Relay(grant),
                END => Self::End { grant, inner_key: fields.array()? },
                _ => return None,
            }
        };
        fields.only_zeros().then_some(answer)
    }
}

impl Reason {
    fn code(self) -> u8 {
        match self {
            Self::Full => 1,
            Self::Policy => 2,
            Self::Clock => 3,
            Self::Replay => 4,
            Self::NoLink => 5,
            Self::Silent => 6,
            Self::Unreadable => 7,
            Self::Unpaid => 8,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Full,
            2 => Self::Policy,
            3 => Self::Clock,
            4 => Self::Replay,
            5 => Self::NoLink,
            6 => Self::Silent,
            7 => Self::Unreadable,
            8 => Self::Unpaid,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "it takes no more paths now",
            Self::Policy => "it does not carry this",
            Self::Clock => "by its clock the set-up is too old or not yet issued",
            Self::Replay => "it has seen this set-up before",
            Self::NoLink => "the next hop is no neighbour of it that it can reach",
            Self::Silent => "the next hop did not answer",
            Self::Unreadable => "the next hop could not read its part",
            Self::Unpaid => "it wants to be paid first",
            Self::Other(code) => {
                return write!(f, "reason {code}, which this version does not know");
            }
        })
    }
}

/// Concatenates the parts and pads them with zeros.
fn filled<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, byte) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *byte;
    }
    bytes
}

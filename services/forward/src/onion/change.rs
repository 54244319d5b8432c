//! Changes of an established path by its source.

use super::record::HopGrant;
use octet_node::bytes::Fields;

/// The size of a change before it is sealed, in bytes.
pub const PLAIN: usize = 8;

const REFRESH: u8 = 1;
const TEAR_DOWN: u8 = 2;

/// The instruction to all hops of a path.
///
/// Its one encoding: kind (1 byte: 1 refresh, 2 tear down), zero (1), lifetime (2), rate (4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopChange {
    /// Keep the path for this lifetime from now on, with this rate.
    Refresh(HopGrant),
    TearDown,
}

impl HopChange {
    pub fn to_bytes(self) -> [u8; PLAIN] {
        let (kind, HopGrant { lifetime, rate }) = match self {
            Self::Refresh(grant) => (REFRESH, grant),
            Self::TearDown => (TEAR_DOWN, HopGrant { lifetime: 0, rate: 0 }),
        };
        let ([long, short], [a, b, c, d]) = (lifetime.to_be_bytes(), rate.to_be_bytes());
        [kind, 0, long, short, a, b, c, d]
    }

    /// Decodes a change. `None` if the kind is unknown, or unused bytes are not zero.
    pub fn from_bytes(bytes: &[u8; PLAIN]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let [kind, 0] = fields.array()? else { return None };
        let change = match kind {
            REFRESH => Self::Refresh(HopGrant { lifetime: fields.u16()?, rate: fields.u32()? }),
            TEAR_DOWN => Self::TearDown,
            _ => return None,
        };
        fields.only_zeros().then_some(change)
    }
}

//! What bytes cost, and on which terms.

use octet_node::bytes::Fields;
use ring::digest::{SHA256, digest};

/// A price is for so many bytes, in millionths of the unit of account.
pub const UNIT_BYTES: u64 = 1 << 30;

/// What `bytes` cost at `price`, in millionths of the unit of account, rounded down.
pub fn cost(bytes: u64, price: u64) -> u64 {
    let exact = u128::from(bytes) * u128::from(price) / u128::from(UNIT_BYTES);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// The most bytes that cost at most `amount`.
pub(crate) fn affordable(amount: u64, price: u64) -> u64 {
    if price == 0 || amount == u64::MAX {
        return u64::MAX;
    }
    // The first byte too many makes the exact cost reach `amount + 1`.
    let first_too_many = ((u128::from(amount) + 1) * u128::from(UNIT_BYTES)).div_ceil(price.into());
    u64::try_from(first_too_many - 1).unwrap_or(u64::MAX)
}

/// What `bytes` cost at `price`, rounded up: what is reserved for them.
pub(crate) fn cost_rounded_up(bytes: u64, price: u64) -> u64 {
    let exact = (u128::from(bytes) * u128::from(price)).div_ceil(u128::from(UNIT_BYTES));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceKind {
    /// Bytes that a relay carried.
    Carriage = 1,
    /// Objects that a giver served.
    Objects = 2,
}

impl ServiceKind {
    pub const ALL: [Self; 2] = [Self::Carriage, Self::Objects];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carriage => "carriage",
            Self::Objects => "objects",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Carriage => Self::Objects,
            Self::Objects => Self::Carriage,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The terms of an epoch. They are fixed within it.
///
/// Their encoding (numbers are big-endian): genesis (32 bytes), kind (1), price (8), window (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountTerms {
    /// The hash of the ledger's genesis; zeros without a ledger.
    pub genesis: [u8; 32],
    pub kind: ServiceKind,
    /// For [`UNIT_BYTES`], in millionths of the unit of account.
    pub price: u64,
    /// How many bytes the payee serves beyond what is signed.
    pub window: u64,
}

impl AccountTerms {
    /// Whether receipts for them are claimed on a ledger.
    pub fn is_on_ledger(&self) -> bool {
        self.genesis != [0; 32]
    }

    /// What receipts name these terms by: the SHA-256 of `octet terms 1`, a zero byte, and the encoding. No path
    /// is part of it.
    pub fn scope(&self) -> [u8; 32] {
        let mut bytes = b"octet terms 1\0".to_vec();
        self.encode(&mut bytes);
        let mut scope = [0; 32];
        scope.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        scope
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.genesis);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.price.to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let genesis = fields.array()?;
        let kind = ServiceKind::from_byte(fields.u8()?)?;
        Some(Self { genesis, kind, price: fields.u64()?, window: fields.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_is_for_a_gibibyte() {
        assert_eq!(cost(UNIT_BYTES, 5_000_000), 5_000_000);
        assert_eq!(cost(UNIT_BYTES - 1, 5_000_000), 4_999_999);
        assert_eq!(cost(0, u64::MAX), 0);
        assert_eq!(cost(u64::MAX, 0), 0);
        assert_eq!(cost(u64::MAX, 1 << 30), u64::MAX);
        assert_eq!(cost(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn all_of_the_terms_are_in_the_scope() {
        let terms = AccountTerms {
            genesis: [0; 32],
            kind: ServiceKind::Carriage,
            price: 7,
            window: 1 << 20,
        };
        for other in [
            AccountTerms { genesis: [1; 32], ..terms },
            AccountTerms { kind: ServiceKind::Objects, ..terms },
            AccountTerms { price: 8, ..terms },
            AccountTerms { window: 1 << 21, ..terms },
        ] {
            assert_ne!(terms.scope(), other.scope(), "{other:?}");
        }
        assert_eq!(terms.scope(), AccountTerms { ..terms }.scope());
    }

    proptest! {
        #[test]
        fn affordable_bytes_are_the_most(amount in 0..u64::MAX - 1, price in 1..u64::MAX) {
            let bytes = affordable(amount, price);
            prop_assert!(cost(bytes, price) <= amount);
            if let Some(more) = bytes.checked_add(1) {
                prop_assert!(cost(more, price) > amount);
            }
        }

        #[test]
        fn more_bytes_cost_no_less(bytes: u64, more: u64, price: u64) {
            prop_assert!(cost(bytes.saturating_add(more), price) >= cost(bytes, price));
        }

        #[test]
        fn one_encoding(bytes in prop::collection::vec(any::<u8>(), 49)) {
            if let Some(terms) = AccountTerms::decode(&mut Fields(&bytes)) {
                let mut again = vec![];
                terms.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}

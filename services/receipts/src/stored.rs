//! The bytes of an account on the disk.

use octet_node::bytes::Fields;

use crate::account::{Account, AccountId, PeerKey, Totals};
use crate::payee::{MAX_CLOSED, PayeeSide, ServedEpoch};
use crate::payer::{PaidEpoch, PayerSide};
use crate::receipt::SignedReceipt;
use crate::settlement;
use crate::terms::{AccountTerms, ServiceKind};

/// A value that is stored. Numbers are big-endian; an option is 0, or 1 and the value; fields stand in the order in
/// which they are declared.
trait Stored: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(fields: &mut Fields<'_>) -> Option<Self>;
}

impl Stored for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        fields.u64()
    }
}

impl Stored for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        match fields.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Stored for octet_node::control::PublicKey {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        fields.key()
    }
}

impl Stored for ServiceKind {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        Self::from_byte(fields.u8()?)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        if bool::get(fields)? { T::get(fields).map(Some) } else { Some(None) }
    }
}

impl Stored for SignedReceipt {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        Self::decode(fields)
    }
}

impl Stored for octet_node::signed::SignedStatement<settlement::Settlement> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        settlement::decode(fields)
    }
}

impl Stored for AccountTerms {
    fn put(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        Self::decode(fields)
    }
}

/// Of closed epochs: their number (1 byte), and each.
impl<T: Stored> Stored for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.len()).unwrap_or(u8::MAX));
        self.iter().for_each(|value| value.put(out));
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        let count = usize::from(fields.u8()?);
        if count > MAX_CLOSED {
            return None;
        }
        (0..count).map(|_| T::get(fields)).collect()
    }
}

/// Stores the named fields of a struct, one after the other.
macro_rules! stored {
    ($type:ty: $($field:ident),+) => {
        impl Stored for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)+
            }

            fn get(fields: &mut Fields<'_>) -> Option<Self> {
                $(let $field = Stored::get(fields)?;)+
                Some(Self { $($field),+ })
            }
        }
    };
}

stored!(AccountId: node, kind);
stored!(PeerKey: key, epoch);
stored!(PaidEpoch: epoch, payee, payer, terms);
stored!(
    PayerSide: accepted, next, receipt, signed, skipped, closed_amount, closed, settled, settled_seen
);
stored!(ServedEpoch: epoch, payer, payee, terms, begin, receipt, paid);
stored!(
    PayeeSide: payer, current, closed, floor, signer, received, earned, forgiven, offered_at, settled, settlement,
    is_charging, coins
);
stored!(Account: peer, totals, payer, payee);

impl Stored for Totals {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch);
        for number in [self.last_bought, self.last_served, self.bought, self.served] {
            number.put(out);
        }
    }

    fn get(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            epoch: fields.array()?,
            last_bought: fields.u64()?,
            last_served: fields.u64()?,
            bought: fields.u64()?,
            served: fields.u64()?,
        })
    }
}

/// Appends whose account it is, and the account.
pub(crate) fn put(id: &AccountId, account: &Account, out: &mut Vec<u8>) {
    id.put(out);
    account.put(out);
}

pub(crate) fn get(fields: &mut Fields<'_>) -> Option<(AccountId, Account)> {
    Some((AccountId::get(fields)?, Account::get(fields)?))
}

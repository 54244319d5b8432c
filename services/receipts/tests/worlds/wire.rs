//! Reads what goes over the link, byte by byte, without the library.

use octet_receipts::ServiceKind;
use ring::digest::{SHA256, digest};

/// What a payment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaySeen {
    pub payer: [u8; 32],
    pub scope: [u8; 32],
    pub epoch: u64,
    pub bytes: u64,
    pub price: u64,
    pub amount: u64,
}

/// What an offer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferSeen {
    pub scope: [u8; 32],
    pub kind: ServiceKind,
    pub epoch: u64,
    pub received: u64,
    pub settled: u64,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let field: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
    field.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

pub fn pay(message: &[u8]) -> Option<PaySeen> {
    let receipt = message.strip_prefix(&[1, 3, 1])?;
    assert_eq!(receipt.len(), 192);
    Some(PaySeen {
        payer: receipt[..32].try_into().unwrap(),
        scope: receipt[64..96].try_into().unwrap(),
        epoch: number(receipt, 96),
        bytes: number(receipt, 104),
        price: number(receipt, 112),
        amount: number(receipt, 120),
    })
}

pub fn offer(message: &[u8]) -> Option<OfferSeen> {
    let offer = message.strip_prefix(&[1, 1, 1])?;
    let after_certificate = 2 + usize::from(offer[0]) * 256 + usize::from(offer[1]);
    let (terms, fields) = offer[after_certificate..].split_at(49);
    let hash = digest(&SHA256, &[b"octet terms 1\0", terms].concat());
    let kind = match terms[32] {
        1 => ServiceKind::Carriage,
        2 => ServiceKind::Objects,
        other => panic!("kind {other}"),
    };
    let epoch = number(fields, 0);
    let settled = if fields[72] == 1 { number(fields, 73 + 1 + 64 + 1) } else { 0 };
    if fields[72] == 1 {
        assert_eq!(fields[73 + 1 + 64], terms[32], "a settlement is of one kind");
    }
    let scope = hash.as_ref().try_into().unwrap();
    Some(OfferSeen { scope, kind, epoch, received: number(fields, 40), settled })
}

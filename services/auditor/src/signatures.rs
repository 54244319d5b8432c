//! Whose signature is under what.

use ed25519_dalek::VerifyingKey;
use octet_node::control::PublicKey;
use octet_node::key::{Domain, verify};

use crate::Bytes32;
use crate::difference::BrokenRule;
use crate::encoding::{ChangeKind, Order, Ordered, Promise};

/// Whether a key is a point of the curve, and not one of small order: one signature of such a key fits many messages.
pub fn is_usable(key: &Bytes32) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|point| !point.is_weak())
}

fn is_signed(key: &Bytes32, domain: Domain, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
    is_usable(key) && verify(&PublicKey::new(*key), domain, &parts.concat(), signature)
}

/// A precommit: genesis, 2, height, round, 1, and the hash of the block. `key` is a validator's, which is usable.
pub fn is_precommit(
    genesis: &Bytes32,
    (height, round, block): (u64, u32, &Bytes32),
    key: &Bytes32,
    signature: &[u8; 64],
) -> bool {
    let (height, round) = (height.to_be_bytes(), round.to_be_bytes());
    let vote = [&genesis[..], &[2], &height, &round, &[1], block].concat();
    verify(&PublicKey::new(*key), Domain::Vote, &vote, signature)
}

/// Checks all signatures of an order. They do not depend on the state.
pub fn check(order: &Order<'_>, genesis: &Bytes32) -> Result<(), BrokenRule> {
    let Order { signer, signature, .. } = order;
    if !is_signed(signer, Domain::Transaction, &[genesis, order.signed], signature) {
        return Err(BrokenRule::Forged);
    }
    // What the key is for, its owner, its node or zeros, and its epoch.
    let consents = |purpose: u8, owner: &Bytes32, node: &Bytes32, epoch: u64, key, consent| {
        let parts: [&[u8]; 5] = [genesis, &[purpose], owner, node, &epoch.to_be_bytes()];
        match is_signed(key, Domain::Possession, &parts, consent) {
            true => Ok(()),
            false => Err(BrokenRule::NoConsent),
        }
    };
    match &order.what {
        Ordered::Transfer { to, .. } if !is_usable(to) => Err(BrokenRule::UnusableKey),
        Ordered::Bind { node, key, epoch, consent, .. } => {
            consents(1, signer, node, *epoch, key, consent)
        }
        Ordered::Claim(promise) => check_promise(promise, genesis),
        Ordered::Vote { change, consent } => {
            let is_new = matches!(change.kind, ChangeKind::Add | ChangeKind::AddMember);
            if is_new && !is_usable(&change.owner) {
                return Err(BrokenRule::UnusableKey);
            }
            match (&change.key, consent) {
                (Some((key, epoch)), Some(consent)) => {
                    consents(2, &change.owner, &[0; 32], *epoch, key, consent)
                }
                _ => Ok(()),
            }
        }
        Ordered::Rotate { key, epoch, consent } => {
            consents(2, signer, &[0; 32], *epoch, key, consent)
        }
        _ => Ok(()),
    }
}

/// A receipt: between two keys, with the amount that its bytes cost (a price is for 2^30 bytes, rounded down), and
/// signed by the payer for this ledger.
fn check_promise(promise: &Promise<'_>, genesis: &Bytes32) -> Result<(), BrokenRule> {
    if promise.payer == promise.payee {
        return Err(BrokenRule::OneOwner);
    }
    let exact = (u128::from(promise.bytes) * u128::from(promise.price)) >> 30;
    if u128::from(promise.amount) != exact.min(u64::MAX.into()) {
        return Err(BrokenRule::Arithmetic);
    }
    let parts: [&[u8]; 2] = [genesis, promise.signed];
    match is_signed(&promise.payer, Domain::Receipt, &parts, &promise.signature) {
        true => Ok(()),
        false => Err(BrokenRule::ForgedReceipt),
    }
}

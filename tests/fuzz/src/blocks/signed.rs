//! Signatures of transactions in an input. Mutations would never meet one, so all that known keys say is signed again.

use std::sync::OnceLock;

use octet_coins::{Action, LedgerState, Possession, SignedTransaction, Transaction, VotedChange};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt, cost};

use super::{NODES, genesis};

/// Keys whose first byte is higher are what they are in the input.
const KNOWN: u8 = 128;

fn key(number: u8) -> &'static PrivateKey {
    static KEYS: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    let key = |number| PrivateKey::from_seed([number; 32]).expect("any seed is a key");
    &KEYS.get_or_init(|| (0..NODES.end).map(key).collect())[usize::from(number)]
}

pub(super) fn public(number: u8) -> PublicKey {
    key(number).public()
}

/// What stands for a key in an input.
pub(super) fn stand_in(number: u8) -> PublicKey {
    PublicKey::new([number; 32])
}

/// A receipt as in an input.
pub(super) fn unsigned(receipt: Receipt) -> SignedReceipt {
    let Receipt { payer, payee, scope, epoch, bytes, price, amount } = receipt;
    let mut out = vec![1];
    for key in [payer.as_bytes(), payee.as_bytes(), &scope] {
        out.extend_from_slice(key);
    }
    for number in [epoch, bytes, price, amount] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&[0; 64]);
    SignedReceipt::from_bytes(&out).expect("a receipt")
}

/// The known key for which a key of the input stands.
fn known(stands: &PublicKey) -> Option<&'static PrivateKey> {
    let first = stands.as_bytes()[0];
    (first < KNOWN).then(|| key(first % NODES.end))
}

fn real(stands: PublicKey) -> PublicKey {
    known(&stands).map_or(stands, PrivateKey::public)
}

/// The transaction, with the keys for which its keys stand, and signed by them. A nonce of 0 stands for the next one of
/// its signer, after `before` in the same block.
pub(super) fn sign(
    mut it: Transaction,
    state: &LedgerState,
    before: &[SignedTransaction],
) -> SignedTransaction {
    let signer = it.signer;
    it.signer = real(signer);
    it.action = action(it.action, &it.signer);
    if it.nonce == 0 && !it.is_claim() {
        let earlier = before.iter().map(SignedTransaction::transaction);
        let earlier = earlier.filter(|other| other.signer == it.signer && !other.is_claim());
        let account = state.account(&it.signer).unwrap_or_default();
        it.nonce = account.nonce.saturating_add(1 + earlier.count() as u64);
    }
    // Without a known signer, any signature is wrong.
    let by = known(&signer).unwrap_or_else(|| key(0));
    SignedTransaction::sign(it, &genesis().hash(), by)
}

fn action(action: Action, signer: &PublicKey) -> Action {
    match action {
        Action::Transfer { to, amount } => Action::Transfer { to: real(to), amount },
        Action::BindKey { node, key, epoch, max_per_day, consent } => {
            let node = real(node);
            let sign = |key| Possession::of_sub_key(&genesis().hash(), signer, &node, epoch, key);
            let (consent, key) = (known(&key).map_or(consent, sign), real(key));
            Action::BindKey { node, key, epoch, max_per_day, consent }
        }
        Action::RevokeKey { key } => Action::RevokeKey { key: real(key) },
        Action::Lock { payer, payee, amount } => {
            Action::Lock { payer: real(payer), payee: real(payee), amount }
        }
        Action::Withdraw { payer, payee } => {
            Action::Withdraw { payer: real(payer), payee: real(payee) }
        }
        Action::Claim { receipt } => Action::Claim { receipt: sign_receipt(receipt) },
        Action::Vote { change, consent } => {
            let (change, signed) = sign_change(change);
            Action::Vote { change, consent: signed.or(consent) }
        }
        Action::RotateValidator { key, epoch, consent } => {
            let (signed, key) = (validator_consent(signer, epoch, &key), real(key));
            Action::RotateValidator { key, epoch, consent: signed.unwrap_or(consent) }
        }
    }
}

fn sign_receipt(receipt: SignedReceipt) -> SignedReceipt {
    let mut it = *receipt.receipt();
    let Some(payer) = known(&it.payer) else { return receipt };
    (it.payer, it.payee, it.amount) = (payer.public(), real(it.payee), cost(it.bytes, it.price));
    SignedReceipt::sign(it, &genesis().hash().0, payer).unwrap_or(receipt)
}

fn sign_change(change: VotedChange) -> (VotedChange, Option<Possession>) {
    match change {
        VotedChange::Add { owner, key, epoch } => {
            let owner = real(owner);
            let consent = validator_consent(&owner, epoch, &key);
            (VotedChange::Add { owner, key: real(key), epoch }, consent)
        }
        VotedChange::Remove { owner } => (VotedChange::Remove { owner: real(owner) }, None),
        VotedChange::Replace { owner, key, epoch } => {
            let owner = real(owner);
            let consent = validator_consent(&owner, epoch, &key);
            (VotedChange::Replace { owner, key: real(key), epoch }, consent)
        }
        VotedChange::AddMember { owner, node } => {
            (VotedChange::AddMember { owner: real(owner), node }, None)
        }
        VotedChange::RemoveMember { owner, node } => {
            (VotedChange::RemoveMember { owner: real(owner), node }, None)
        }
    }
}

fn validator_consent(owner: &PublicKey, epoch: u64, key: &PublicKey) -> Option<Possession> {
    known(key).map(|key| Possession::of_validator(&genesis().hash(), owner, epoch, key))
}

//! People with their keys, and the receipts that their boxes have signed.

use fastrand::Rng;
use octet_coins::BlockHash;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt, cost};

/// An owner's key on the ledger. A person may have several, and the ledger does not know it.
pub struct Owner {
    pub key: PrivateKey,
    pub person: usize,
    /// Of its validator; the newest last. Whoever has none may get one.
    pub validator_keys: Vec<PrivateKey>,
}

/// The key of a unit `accounts`.
pub struct SubKey {
    pub key: PrivateKey,
    pub owner: usize,
}

/// A receipt, with what the world knows of it.
#[derive(Clone, Copy)]
pub struct Paper {
    pub signed: SignedReceipt,
    /// Whether the payer has signed it for this ledger.
    pub is_genuine: bool,
}

#[derive(Default)]
pub struct People {
    pub owners: Vec<Owner>,
    pub sub_keys: Vec<SubKey>,
    pub papers: Vec<Paper>,
    next: u64,
}

impl People {
    pub fn new_key(&mut self) -> PrivateKey {
        self.next += 1;
        let mut seed = [5; 32];
        seed[..8].copy_from_slice(&self.next.to_be_bytes());
        PrivateKey::from_seed(seed).unwrap()
    }

    pub fn new_owner(&mut self, person: usize) -> usize {
        let key = self.new_key();
        self.owners.push(Owner { key, person, validator_keys: vec![] });
        self.owners.len() - 1
    }

    /// Makes a key, which is not bound yet.
    pub fn new_sub_key(&mut self, owner: usize) -> usize {
        let key = self.new_key();
        self.sub_keys.push(SubKey { key, owner });
        self.sub_keys.len() - 1
    }

    pub fn node(&self, owner: usize, number: u8) -> PublicKey {
        let mut node = *self.owners[owner].key.public().as_bytes();
        node[0] = number;
        PublicKey::new(node)
    }

    /// A box signs for what it bought since: mostly more than before, sometimes a lie.
    pub fn sign_receipt(&mut self, payer: usize, payee: usize, genesis: BlockHash, rng: &mut Rng) {
        let (payer_key, payee_key) =
            (self.sub_keys[payer].key.public(), self.sub_keys[payee].key.public());
        let of_pair = self.papers.iter().rev().map(|it| *it.signed.receipt());
        let last = of_pair.into_iter().find(|it| (it.payer, it.payee) == (payer_key, payee_key));
        let mut receipt = last.unwrap_or(Receipt {
            payer: payer_key,
            payee: payee_key,
            scope: [rng.u8(0..2); 32],
            epoch: rng.u64(1..3),
            bytes: 0,
            price: rng.u64(1..4) << 29,
            amount: 0,
        });
        receipt.bytes = receipt.bytes.saturating_add(rng.u64(0..3000));
        match rng.u8(0..40) {
            0 => receipt.epoch += 1,
            1 => (receipt.epoch, receipt.bytes) = (receipt.epoch + 1, rng.u64(0..500)),
            2 => receipt.bytes = rng.u64(0..=receipt.bytes),
            3 => receipt.price = rng.u64(0..4) << 29,
            4 => receipt.scope = [rng.u8(0..3); 32],
            5 => receipt.bytes = u64::MAX - rng.u64(0..2),
            6 => receipt.epoch = receipt.epoch.saturating_sub(1),
            _ => {}
        }
        receipt.amount = cost(receipt.bytes, receipt.price);
        let kind = rng.u8(0..20);
        let genesis = match kind {
            0 => [0; 32],
            1 => [1; 32],
            _ => genesis.0,
        };
        let Ok(mut signed) = SignedReceipt::sign(receipt, &genesis, &self.sub_keys[payer].key)
        else {
            return;
        };
        if kind == 2 {
            // Forged: of the amount, or of the signature.
            let mut bytes = signed.to_bytes();
            let at = if rng.bool() { 128 } else { 150 };
            bytes[at] ^= 1;
            signed = SignedReceipt::from_bytes(&bytes).unwrap();
        }
        self.papers.push(Paper { signed, is_genuine: kind > 2 });
    }
}

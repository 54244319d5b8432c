//! All that a ledger knows, and the hash of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::encoding::Change;
use crate::genesis::{Beginning, Counting};
use crate::pool::{Earned, Period};
use crate::{Bytes32, sha256};

/// So many heights after a missed turn, a validator is still last.
const ABSENT: u64 = 64;

#[derive(Debug, Clone, Copy, Default)]
pub struct OwnerBooks {
    pub balance: u128,
    /// So many transactions it has numbered.
    pub orders: u64,
}

/// The key of a unit `accounts`.
#[derive(Debug, Clone, Copy)]
pub struct BoxKey {
    pub owner: Bytes32,
    pub node: Bytes32,
    pub epoch: u64,
    pub max_per_day: u64,
    pub closed_at: Option<u64>,
    pub is_void: bool,
    /// The day of its newest payment, and what it paid on that day.
    pub day: u64,
    pub paid: u128,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Deposit {
    pub put: u128,
    pub paid: u128,
    /// When its owner gave notice.
    pub notice: Option<u64>,
}

/// What was paid of the receipts of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Paid {
    pub epoch: u64,
    pub bytes: u64,
    pub price: u64,
    pub promised: u64,
    pub paid: u128,
}

/// An owner's validator.
#[derive(Debug, Clone, Copy)]
pub struct ValidatorBooks {
    pub key: Bytes32,
    pub epoch: u64,
    /// The height of its last turn, if it missed that.
    pub missed: Option<u64>,
}

/// The books of a ledger after a block.
#[derive(Debug, Clone)]
pub struct Books {
    pub counting: Counting,
    pub genesis: Bytes32,
    /// Of the block that is audited.
    pub height: u64,
    pub owners: BTreeMap<Bytes32, OwnerBooks>,
    pub fees: u128,
    pub keys: BTreeMap<Bytes32, BoxKey>,
    /// The newest key of an owner's node.
    pub newest: BTreeMap<(Bytes32, Bytes32), Bytes32>,
    /// By payers and payees.
    pub locks: BTreeMap<(Bytes32, Bytes32), Deposit>,
    /// By payers, payees and scopes.
    pub claims: BTreeMap<(Bytes32, Bytes32, Bytes32), Paid>,
    pub seats: BTreeMap<Bytes32, ValidatorBooks>,
    /// All keys that were ever a validator's, with the owners.
    pub seat_keys: BTreeMap<Bytes32, Bytes32>,
    /// What an owner votes for, and since when.
    pub votes: BTreeMap<Bytes32, (u64, Change)>,
    /// The owners and nodes of the pool's members.
    pub members: BTreeSet<(Bytes32, Bytes32)>,
    /// Without a pool nothing is counted.
    pub period: Period,
    pub earned: BTreeMap<Bytes32, Earned>,
    /// What was ever paid by claims, and by how many. It is not part of the state.
    pub claimed: (u128, u64),
    /// What the pool has ever paid. It is not part of the state.
    pub pool_paid: u128,
}

impl Deposit {
    pub fn left(&self) -> u128 {
        self.put.saturating_sub(self.paid)
    }
}

impl Books {
    pub fn new(beginning: &Beginning) -> Self {
        let owners = beginning.balances.iter();
        let owners =
            owners.map(|(owner, it)| (*owner, OwnerBooks { balance: u128::from(*it), orders: 0 }));
        let seats = beginning.validators.iter();
        let seats = seats
            .map(|(owner, key)| (*owner, ValidatorBooks { key: *key, epoch: 0, missed: None }));
        let keys = beginning.validators.iter().map(|(owner, key)| (*key, *owner));
        Self {
            counting: beginning.counting,
            genesis: beginning.hash,
            height: 0,
            owners: owners.collect(),
            fees: 0,
            keys: BTreeMap::new(),
            newest: BTreeMap::new(),
            locks: BTreeMap::new(),
            claims: BTreeMap::new(),
            seats: seats.collect(),
            seat_keys: keys.collect(),
            votes: BTreeMap::new(),
            members: BTreeSet::new(),
            period: Period::default(),
            earned: BTreeMap::new(),
            claimed: (0, 0),
            pool_paid: 0,
        }
    }

    /// All balances, all that is locked, and the fees, in millionths of a coin.
    pub fn coins(&self) -> u128 {
        let balances: u128 = self.owners.values().map(|it| it.balance).sum();
        let locked: u128 = self.locks.values().map(Deposit::left).sum();
        balances + locked + self.fees
    }

    /// Owners and keys of the validators in the order of their turns at `height`: the present ones, and then those
    /// who missed a turn in the last 64 heights. The first one of each is another one at each height.
    pub fn turns(&self, height: u64) -> Vec<(Bytes32, Bytes32)> {
        let mut all = vec![];
        for wants_absent in [false, true] {
            let group: Vec<_> = self
                .seats
                .iter()
                .filter(|(_, it)| (absent_until(it) >= height) == wants_absent)
                .map(|(owner, it)| (*owner, it.key))
                .collect();
            let count = group.len().max(1) as u64;
            let first = usize::try_from(height % count).unwrap_or(0);
            all.extend_from_slice(&group[first..]);
            all.extend_from_slice(&group[..first]);
        }
        all
    }

    /// The SHA-256 of `octet state 1`, a zero byte, the genesis, and of 1024 hashes of rows. A row is in the one with
    /// the number of the first 10 bits of the SHA-256 of its key; one without rows is zeros.
    pub fn hash(&self) -> Bytes32 {
        let mut groups = vec![vec![]; 1024];
        for (key, value) in self.rows() {
            let [first, second, ..] = sha256(&key);
            let number = usize::from(u16::from_be_bytes([first, second]) >> 6);
            groups[number].extend([key, value].concat());
        }
        let mut all = [&b"octet state 1\0"[..], &self.genesis].concat();
        for group in groups {
            all.extend(if group.is_empty() { [0; 32] } else { sha256(&group) });
        }
        sha256(&all)
    }

    /// Keys and values, in the order of the keys: the byte of the kind and the names, and the fields.
    fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Counting { withdrawal_heights, claim_heights, vote_heights, .. } = self.counting;
        let mut rows = vec![];
        let mut row = |kind: u8, names: &[&Bytes32], value: Vec<u8>| {
            let mut key = vec![kind];
            names.iter().for_each(|name| key.extend_from_slice(*name));
            rows.push((key, value));
        };
        if self.fees > 0 {
            row(1, &[], numbers(&[self.fees]));
        }
        for (owner, it) in &self.owners {
            row(2, &[owner], numbers(&[it.balance, it.orders.into()]));
        }
        for (key, it) in &self.keys {
            let state = match it.closed_at {
                _ if it.is_void => u64::MAX,
                Some(at) => at + claim_heights,
                None => 0,
            };
            let [epoch, max, state, day] =
                [it.epoch, it.max_per_day, state, it.day].map(u128::from);
            let value = [&it.owner[..], &it.node, &numbers(&[epoch, max, state, day, it.paid])];
            row(3, &[key], value.concat());
        }
        for ((owner, node), key) in &self.newest {
            let epoch = self.keys.get(key).map_or(0, |it| it.epoch);
            row(4, &[owner, node], [&key[..], &epoch.to_be_bytes()].concat());
        }
        for ((payer, payee), it) in &self.locks {
            let returns = it.notice.map_or(0, |at| at + withdrawal_heights);
            row(5, &[payer, payee], numbers(&[it.left(), returns.into()]));
        }
        for ((payer, payee, scope), it) in &self.claims {
            let [epoch, bytes, price, promised] =
                [it.epoch, it.bytes, it.price, it.promised].map(u128::from);
            row(6, &[payer, payee, scope], numbers(&[epoch, bytes, price, promised, it.paid]));
        }
        for (owner, it) in &self.seats {
            let value = numbers(&[it.epoch.into(), absent_until(it).into()]);
            row(7, &[owner], [&it.key[..], &value].concat());
        }
        for (key, owner) in &self.seat_keys {
            row(8, &[key], owner.to_vec());
        }
        for (owner, (since, change)) in &self.votes {
            let lapses = (since + vote_heights).to_be_bytes();
            row(9, &[owner], [&lapses[..], &change.bytes()].concat());
        }
        for (kind, names, value) in self.pool_rows() {
            row(kind, &names.iter().collect::<Vec<_>>(), numbers(&value));
        }
        rows
    }
}

/// Up to this height it comes after the others.
fn absent_until(seat: &ValidatorBooks) -> u64 {
    seat.missed.map_or(0, |at| at + ABSENT)
}

/// Numbers of 8 bytes. None of a ledger is larger: all coins are at most 2^62 millionths.
fn numbers(all: &[u128]) -> Vec<u8> {
    all.iter().flat_map(|number| u64::try_from(*number).unwrap_or(u64::MAX).to_be_bytes()).collect()
}

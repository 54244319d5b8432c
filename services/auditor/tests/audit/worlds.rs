//! Random worlds: `octet-coins` says which transactions a block can have, and the auditor has to agree on each.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use octet_auditor::{Difference, Mismatch};
use octet_coins::{
    Action, InvalidBlock, KeyState, LedgerState, Possession, SignedTransaction, Transaction,
    VotedChange,
};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_receipts::{Receipt, SignedReceipt, cost};

use crate::chain::{Chain, Heights, genesis_file, owner, sub_key};
use crate::worlds_pool::pool;

const WORLDS: u64 = 60;
const OWNERS: usize = 8;

/// What has happened, so that nobody takes an empty world for a good one.
#[derive(Debug, Default)]
struct Happened {
    /// By kinds of actions: accepted, and refused.
    orders: BTreeMap<&'static str, (u64, u64)>,
    returned: u64,
    voided: u64,
    passed: u64,
    lapsed: u64,
    missed: u64,
    admitted: u64,
    removed: u64,
    /// By the pool.
    paid: u64,
}

pub struct World {
    pub rng: Rng,
    pub chain: Chain,
    /// The owners of the keys of units `accounts`; the keys have the same numbers.
    pub owners_of: Vec<usize>,
    pub pairs: Vec<(usize, usize)>,
    receipts: Vec<SignedReceipt>,
    campaign: Option<Action>,
    past: Vec<SignedTransaction>,
    next_validator: usize,
    happened: Happened,
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Transfer { .. } => "transfer",
        Action::BindKey { .. } => "bind",
        Action::RevokeKey { .. } => "revoke",
        Action::Lock { .. } => "lock",
        Action::Withdraw { .. } => "withdraw",
        Action::Claim { .. } => "claim",
        Action::Vote { .. } => "vote",
        Action::RotateValidator { .. } => "rotate",
    }
}

fn votes(state: &LedgerState) -> usize {
    state.rows().filter(|(key, _)| key[0] == 9).count()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let heights = Heights {
            day: rng.u64(2..9),
            withdrawal: rng.u64(2..8),
            claim: rng.u64(3..9),
            vote: rng.u64(2..7),
            fee: rng.u64(1..50),
            settlement: rng.u64(1..8),
            // Half of the worlds have one.
            pool: seed.is_multiple_of(2).then(|| pool(&mut rng)),
        };
        let balances = [(); OWNERS].map(|()| rng.u64(0..60_000));
        let validators = rng.usize(4..7);
        let chain = Chain::new(&genesis_file("world", validators, &balances, heights));
        Self {
            rng,
            chain,
            owners_of: vec![],
            pairs: vec![],
            receipts: vec![],
            campaign: None,
            past: vec![],
            next_validator: validators,
            happened: Happened::default(),
        }
    }

    pub fn rarely(&mut self) -> bool {
        self.rng.u8(0..12) == 0
    }

    fn new_sub_key(&mut self, by: usize) -> PrivateKey {
        self.owners_of.push(by);
        sub_key(self.owners_of.len() - 1)
    }

    /// A key, mostly an open one.
    pub fn any_key(&mut self) -> Option<usize> {
        let any = !self.rarely();
        let is_open = |number: &usize| {
            let key = self.chain.state.key(&sub_key(*number).public());
            !any || key.is_some_and(|it| it.state == KeyState::Open)
        };
        let open: Vec<_> = (0..self.owners_of.len()).filter(is_open).collect();
        self.rng.choice(open)
    }

    /// Two keys, mostly with a lock.
    fn pair(&mut self) -> Option<(usize, usize)> {
        let any = self.rarely();
        let is_locked = |(from, to): &&(usize, usize)| {
            let (payer, payee) = (sub_key(*from).public(), sub_key(*to).public());
            any || self.chain.state.coin_lock(&payer, &payee).is_some()
        };
        let locked: Vec<_> = self.pairs.iter().filter(is_locked).copied().collect();
        self.rng.choice(locked)
    }

    pub fn amount(&mut self, by: usize) -> u64 {
        let balance = self.chain.state.account(&owner(by).public()).map_or(0, |it| it.balance);
        match self.rng.u8(0..14) {
            0 => 0,
            1 => balance,
            2 => u64::MAX,
            _ => self.rng.u64(0..=balance / 4),
        }
    }

    /// Who orders what.
    fn any_action(&mut self) -> Option<(usize, Action)> {
        let by = self.rng.usize(0..OWNERS);
        Some(match self.rng.u8(0..17) {
            0 => {
                let (to, amount) = (owner(self.rng.usize(0..OWNERS + 1)).public(), self.amount(by));
                (by, Action::Transfer { to, amount })
            }
            1..4 => (by, self.bind(by)),
            4 => {
                let number = self.any_key()?;
                (self.owner_of(number), Action::RevokeKey { key: sub_key(number).public() })
            }
            5..8 | 14 | 15 => {
                let known = if self.rng.u8(0..3) == 0 { self.pair() } else { None };
                let (from, to) = match known {
                    Some(pair) => pair,
                    None => (self.any_key()?, self.any_key()?),
                };
                let by = self.owner_of(from);
                let (payer, payee) = (sub_key(from).public(), sub_key(to).public());
                self.pairs.push((from, to));
                (by, Action::Lock { payer, payee, amount: self.amount(by) })
            }
            8 => {
                let (from, to) = self.pair()?;
                let (payer, payee) = (sub_key(from).public(), sub_key(to).public());
                (self.owner_of(from), Action::Withdraw { payer, payee })
            }
            9..14 => (by, self.vote()),
            _ => {
                let (key, epoch, consent) = self.validator_key(by);
                (by, Action::RotateValidator { key, epoch, consent })
            }
        })
    }

    fn owner_of(&mut self, sub_key: usize) -> usize {
        if self.rarely() { self.rng.usize(0..OWNERS) } else { self.owners_of[sub_key] }
    }

    fn bind(&mut self, by: usize) -> Action {
        let mut key = self.new_sub_key(by);
        if self.rarely() {
            key = sub_key(self.any_key().unwrap_or(0));
        }
        let (signer, node) = (owner(by).public(), PublicKey::new([self.rng.u8(0..2); 32]));
        let epoch = self.chain.state.node_key(&signer, &node).map_or(0, |it| it.1);
        let epoch = if self.rarely() { epoch } else { epoch + 1 };
        let says = if self.rarely() { epoch + 1 } else { epoch };
        let consent = Possession::of_sub_key(&self.chain.genesis, &signer, &node, says, &key);
        let max_per_day = if self.rng.bool() { u64::MAX } else { self.rng.u64(0..3000) };
        Action::BindKey { node, key: key.public(), epoch, max_per_day, consent }
    }

    fn validator_key(&mut self, about: usize) -> (PublicKey, u64, Possession) {
        let public = owner(about).public();
        let epoch = self.chain.state.validator_epoch(&public).unwrap_or(0);
        let epoch = if self.rarely() { epoch } else { epoch + 1 };
        if !self.rarely() {
            self.next_validator += 1;
        }
        let key = crate::chain::validator(self.next_validator);
        let says = if self.rarely() { epoch + 1 } else { epoch };
        let consent = Possession::of_validator(&self.chain.genesis, &public, says, &key);
        (key.public(), epoch, consent)
    }

    /// Mostly for what others vote for.
    pub fn vote(&mut self) -> Action {
        if let Some(action) = self.campaign.filter(|_| self.rng.u8(0..14) > 0) {
            return action;
        }
        let about = self.rng.usize(0..OWNERS);
        let owner = owner(about).public();
        // Without a pool it is refused.
        if (self.has_pool() && self.rng.u8(0..6) == 0) || self.rarely() {
            let node = PublicKey::new([self.rng.u8(0..2); 32]);
            let is_wrong = self.rarely();
            let change = self.about_member(owner, node, is_wrong);
            let vote = Action::Vote { change, consent: None };
            return if self.has_pool() { *self.campaign.insert(vote) } else { vote };
        }
        let is_validator = self.chain.state.validator_epoch(&owner).is_some();
        let (change, consent) = match (self.rng.u8(0..2), is_validator) {
            (0, true) => (VotedChange::Remove { owner }, None),
            _ => {
                let (key, epoch, consent) = self.validator_key(about);
                let change = match is_validator != self.rarely() {
                    true => VotedChange::Replace { owner, key, epoch },
                    false => VotedChange::Add { owner, key, epoch },
                };
                (change, Some(consent))
            }
        };
        *self.campaign.insert(Action::Vote { change, consent })
    }

    /// A claim of a receipt that grows, or of any earlier one.
    fn claim(&mut self) -> Option<SignedTransaction> {
        let (from, to) = self.pair()?;
        let (payer, payee) = (sub_key(from).public(), sub_key(to).public());
        let of_pair = self.receipts.iter().rev().map(|it| *it.receipt());
        let last = of_pair.into_iter().find(|it| (it.payer, it.payee) == (payer, payee));
        let (scope, price) = ([self.rng.u8(0..2); 32], self.rng.u64(1..4) << 29);
        let new = Receipt { payer, payee, scope, epoch: 1, bytes: 0, price, amount: 0 };
        let mut receipt = last.unwrap_or(new);
        receipt.bytes = receipt.bytes.saturating_add(self.rng.u64(0..3000));
        match self.rng.u8(0..24) {
            0 => (receipt.epoch, receipt.bytes) = (receipt.epoch + 1, self.rng.u64(0..500)),
            1 => receipt.bytes = self.rng.u64(0..=receipt.bytes),
            2 => receipt.price = self.rng.u64(0..4) << 29,
            3 => receipt.bytes = u64::MAX,
            4 => receipt.epoch = receipt.epoch.saturating_sub(1),
            _ => {}
        }
        receipt.amount = cost(receipt.bytes, receipt.price);
        let genesis = if self.rarely() { [0; 32] } else { self.chain.genesis.0 };
        let mut signed = SignedReceipt::sign(receipt, &genesis, &sub_key(from)).ok()?;
        self.receipts.push(signed);
        if self.rarely() {
            signed = self.receipts[self.rng.usize(0..self.receipts.len())];
        }
        let by = if self.rarely() { from } else { to };
        let nonce = u64::from(self.rarely());
        let action = Action::Claim { receipt: signed };
        let transaction = Transaction { signer: sub_key(by).public(), nonce, action };
        Some(SignedTransaction::sign(transaction, &self.chain.genesis, &sub_key(by)))
    }

    /// The next transaction of an owner after those in the block.
    fn in_turn(
        &self,
        by: usize,
        action: Action,
        in_block: &[SignedTransaction],
        skipped: u64,
    ) -> SignedTransaction {
        let signer = owner(by).public();
        let others = in_block.iter().filter(|it| it.transaction().signer == signer).count();
        self.chain.order_after(by, others as u64 + skipped, action)
    }

    fn any_order(&mut self, in_block: &[SignedTransaction]) -> Option<SignedTransaction> {
        let mut signed = match self.rng.u8(0..12) {
            0 => *self.past.get(self.rng.usize(0..self.past.len().max(1)))?,
            1..5 => self.claim()?,
            _ => {
                let (by, action) = self.any_action()?;
                let skipped = u64::from(self.rarely());
                self.in_turn(by, action, in_block, skipped)
            }
        };
        if self.rng.u8(0..25) == 0 {
            let mut bytes = signed.to_bytes();
            let at = self.rng.usize(0..bytes.len());
            bytes[at] ^= 1 << self.rng.u8(0..8);
            signed = SignedTransaction::from_bytes(&bytes).unwrap_or(signed);
        }
        Some(signed)
    }

    fn block(&mut self) {
        let round = match self.rng.u8(0..10) {
            0 => self.rng.u32(1..9),
            1 => u32::MAX,
            _ => 0,
        };
        let mut accepted = vec![];
        let plan = if self.rng.bool() { self.plan() } else { vec![] };
        let any = self.rng.usize(0..7);
        for planned in plan.into_iter().map(Some).chain((0..any).map(|_| None)) {
            let order = match planned {
                Some((by, action)) => Some(self.in_turn(by, action, &accepted, 0)),
                None => self.any_order(&accepted),
            };
            let Some(order) = order else { continue };
            self.past.push(order);
            let with_it = [&accepted[..], &[order]].concat();
            let block = self.chain.block(round, with_it);
            let counts = self.happened.orders.entry(kind(&order.transaction().action)).or_default();
            match self.chain.state.check(&block) {
                Ok(_) => {
                    counts.0 += 1;
                    accepted.push(order);
                }
                Err(InvalidBlock::Transaction(number, why)) => {
                    counts.1 += 1;
                    let found = self.chain.opinion(&block);
                    let Err(Difference { transaction, what: Mismatch::Rule(_), .. }) = found else {
                        panic!("{why}: {found:?}, {:?}", order.transaction());
                    };
                    assert_eq!(transaction, Some(number + 1), "{why}");
                }
                Err(why) => panic!("{why}"),
            }
        }
        let block = self.chain.block(round, accepted);
        let before = self.chain.state.clone();
        // Some votes come in a later round, and those of less than a third are missing.
        let mut signers: Vec<_> =
            before.validators().iter().map(|it| &self.chain.keys[&it.key]).collect();
        self.rng.shuffle(&mut signers);
        signers.truncate(signers.len() * 2 / 3 + 1 + self.rng.usize(0..2));
        let round = round.saturating_add(self.rng.u32(0..2));
        let of = (block.height, round, block.hash().0);
        let votes_for_it = crate::chain::certificate(&self.chain.genesis, of, &signers);
        self.chain.follow_with(&block, votes_for_it);
        self.note(&before, block.round);
    }

    fn note(&mut self, before: &LedgerState, round: u32) {
        let (after, happened) = (&self.chain.state, &mut self.happened);
        happened.missed += u64::from(round > 0);
        for (from, to) in self.pairs.iter().collect::<BTreeSet<_>>() {
            let pair = (sub_key(*from).public(), sub_key(*to).public());
            let former = before.coin_lock(&pair.0, &pair.1).and_then(|it| it.returns_at);
            let is_over = after.coin_lock(&pair.0, &pair.1).is_none();
            happened.returned += u64::from(is_over && former == Some(after.height()));
        }
        for number in 0..self.owners_of.len() {
            let key = sub_key(number).public();
            let is_void =
                |state: &LedgerState| state.key(&key).is_some_and(|it| it.state == KeyState::Void);
            happened.voided += u64::from(!is_void(before) && is_void(after));
        }
        let members = |state: &LedgerState| state.members().collect::<BTreeSet<_>>();
        happened.admitted += members(after).difference(&members(before)).count() as u64;
        happened.removed += members(before).difference(&members(after)).count() as u64;
        if after.period().is_some_and(|it| it.first_height == after.height() + 1) {
            happened.paid += u64::from(after.last_payout() > 0);
        }
        if members(before) != members(after) {
            self.campaign = None;
        }
        let owners = |state: &LedgerState| {
            state.validators().iter().map(|it| it.owner).collect::<BTreeSet<_>>()
        };
        match owners(before) == owners(after) {
            true => happened.lapsed += u64::from(votes(after) < votes(before)),
            false => {
                happened.passed += 1;
                self.campaign = None;
            }
        }
    }
}

#[test]
fn the_auditor_agrees_with_the_ledger() {
    let mut all = Happened::default();
    for seed in 0..WORLDS {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.block();
        }
        for (kind, (accepted, refused)) in world.happened.orders {
            let counts = all.orders.entry(kind).or_default();
            *counts = (counts.0 + accepted, counts.1 + refused);
        }
        all.returned += world.happened.returned;
        all.voided += world.happened.voided;
        all.passed += world.happened.passed;
        all.lapsed += world.happened.lapsed;
        all.missed += world.happened.missed;
        all.admitted += world.happened.admitted;
        all.removed += world.happened.removed;
        all.paid += world.happened.paid;
    }
    println!("{all:?}");
    assert_eq!(all.orders.len(), 8);
    assert!(all.orders.values().all(|(accepted, refused)| *accepted > 10 && *refused > 10));
    let of_votes = [all.passed, all.lapsed, all.admitted, all.removed];
    for count in [all.returned, all.voided, all.missed, all.paid].into_iter().chain(of_votes) {
        assert!(count > 5, "{all:?}");
    }
}

//! A world: a ledger that grows by random blocks, and is compared with the evaluator after each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use octet_coins::{
    Action, Block, BlockHash, Genesis, LedgerParameters, LedgerState, PendingTransactions,
    PoolParameters, Possession, Validator, VotedChange,
};
use octet_node::control::PublicKey;

use crate::evaluator::Evaluator;
use crate::orders::Order;
use crate::people::People;

/// What has happened in a world, so that nobody takes an empty one for a good one.
#[derive(Debug, Default)]
pub struct Happened {
    blocks: u64,
    accepted: u64,
    refused: u64,
    claims: u64,
    paid: i128,
    returned: u64,
    voided_locks: u64,
    changes: u64,
    reloads: u64,
    identities: usize,
    self_payments: u64,
    payouts: u64,
    capped: u64,
    paid_by_pool: i128,
    members: u64,
    removed_members: u64,
}

impl Happened {
    pub fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.claims += other.claims;
        self.paid += other.paid;
        self.returned += other.returned;
        self.voided_locks += other.voided_locks;
        self.changes += other.changes;
        self.reloads += other.reloads;
        self.identities = self.identities.max(other.identities);
        self.self_payments += other.self_payments;
        self.payouts += other.payouts;
        self.capped += other.capped;
        self.paid_by_pool += other.paid_by_pool;
        self.members += other.members;
        self.removed_members += other.removed_members;
    }

    pub fn check(&self, worlds: u64) {
        let each = |count: u64| assert!(count >= worlds, "{self:?}");
        each(self.accepted / 20);
        each(self.refused / 20);
        each(self.claims / 3);
        each(self.returned * 4);
        each(self.voided_locks * 4);
        each(self.changes * 4);
        each(self.reloads);
        each(self.self_payments);
        each(self.payouts);
        each(self.capped * 2);
        each(self.members);
        each(self.removed_members * 8);
        assert!(self.identities == 64 || worlds < 100);
    }
}

/// Any rules that a genesis may have; those of which nothing comes are rare.
fn pool(rng: &mut Rng) -> PoolParameters {
    let mostly = |rng: &mut Rng, usual: u64, min: u64, max: u64| match rng.u8(0..3) {
        0 => usual,
        _ => rng.u64(min..=max),
    };
    PoolParameters {
        per_period: rng.u64(1..2000),
        halving_periods: mostly(rng, 0, 1, 4),
        fees_percent: mostly(rng, 50, 0, 100),
        owner_percent: mostly(rng, 10, 1, 100),
        levy_permille: mostly(rng, 10, 0, 100),
    }
}

pub struct World {
    pub rng: Rng,
    pub people: People,
    pub evaluator: Evaluator,
    pub hash: BlockHash,
    /// Orders of before, to replay.
    pub past: Vec<Order>,
    /// Pairs of keys that do business.
    pub busy: Vec<(usize, usize)>,
    /// Changes of validators that were proposed.
    pub campaign: Vec<(Action, bool)>,
    genesis: Genesis,
    state: LedgerState,
    /// Follows the same blocks, and is read from rows from time to time.
    reloaded: LedgerState,
    pool: PendingTransactions,
    happened: Happened,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut people = People::default();
        let validators = rng.usize(4..7);
        // People with one owner's key, and one with many.
        for person in 0..validators + rng.usize(1..4) {
            people.new_owner(person);
        }
        let identities = match rng.u8(0..16) {
            0 => 64,
            1..6 => rng.usize(2..9),
            _ => 1,
        };
        for _ in 1..identities {
            people.new_owner(0);
        }
        let mut balances = BTreeMap::new();
        for owner in &people.owners {
            if rng.u8(0..8) > 0 {
                balances.insert(owner.key.public(), rng.u64(1..60_000));
            }
        }
        let mut all = vec![];
        for number in 0..validators {
            let key = people.new_key();
            let owner = &mut people.owners[number];
            all.push(Validator { owner: owner.key.public(), key: key.public() });
            owner.validator_keys.push(key);
        }
        let parameters = LedgerParameters {
            spacing: Duration::from_secs(10),
            heights_per_day: rng.u64(3..12),
            withdrawal_heights: rng.u64(2..9),
            claim_heights: rng.u64(1..6),
            vote_heights: rng.u64(2..9),
            settlement_heights: rng.u64(1..9),
            fee: rng.u64(1..60),
            // Half of the worlds have one.
            pool: (seed / 2).is_multiple_of(2).then(|| pool(&mut rng)),
        };
        let genesis = Genesis::new("world", all.clone(), balances.clone(), parameters).unwrap();
        let evaluator = Evaluator {
            parameters,
            height: 1,
            balances: balances.into_iter().map(|(owner, it)| (owner, it.into())).collect(),
            nonces: BTreeMap::new(),
            keys: BTreeMap::new(),
            newest: BTreeMap::new(),
            pairs: BTreeMap::new(),
            claims: BTreeMap::new(),
            days: BTreeMap::new(),
            validators: all.iter().map(|it| (it.owner, (it.key, 0))).collect(),
            validator_keys: all.iter().map(|it| it.key).collect(),
            votes: BTreeMap::new(),
            fees: 0,
            fee_history: vec![],
            carried: vec![],
            members: BTreeSet::new(),
            payouts: BTreeMap::new(),
            capped: 0,
            movements: vec![],
            fees_paid: BTreeMap::new(),
        };
        let state = LedgerState::new(&genesis);
        Self {
            rng,
            people,
            evaluator,
            hash: genesis.hash(),
            past: vec![],
            busy: vec![],
            campaign: vec![],
            reloaded: state.clone(),
            state,
            genesis,
            pool: PendingTransactions::default(),
            happened: Happened { identities, ..Happened::default() },
        }
    }

    pub fn run(mut self) -> Happened {
        let binds = self.first_keys();
        self.block(binds, 0);
        if self.genesis.parameters().pool.is_some() {
            for owner in 0..self.rng.usize(1..5) {
                let votes = self.ballot(owner);
                self.block(votes, 0);
            }
        }
        for _ in 0..self.rng.u64(20..36) {
            let count = self.rng.usize(0..9);
            let has_pool = self.genesis.parameters().pool.is_some();
            let first = match self.rng.u8(0..16) {
                0 if has_pool => {
                    let about = self.rng.usize(0..4);
                    self.ballot(about)
                }
                1..9 if has_pool => self.work(),
                _ => vec![],
            };
            self.block(first, count);
        }
        self.happened
    }

    /// Every owner binds a key, and some lock coins for another one.
    fn first_keys(&mut self) -> Vec<Order> {
        let mut orders = vec![];
        for owner in 0..self.people.owners.len() {
            let node = self.people.node(owner, 0);
            let sub_key = self.people.new_sub_key(owner);
            let (key, signer) =
                (&self.people.sub_keys[sub_key].key, self.people.owners[owner].key.public());
            let consent = Possession::of_sub_key(&self.hash, &signer, &node, 1, key);
            let (key, max_per_day) = (key.public(), u64::MAX);
            let bind = Action::BindKey { node, key, epoch: 1, max_per_day, consent };
            orders.push(self.order(owner, bind, true));
        }
        orders
    }

    /// All owners of validators vote about the first node of an owner.
    fn ballot(&mut self, about: usize) -> Vec<Order> {
        let (node, owner) = (self.people.node(about, 0), self.people.owners[about].key.public());
        let change = match self.evaluator.members.contains(&(owner, node)) {
            true => VotedChange::RemoveMember { owner, node },
            false => VotedChange::AddMember { owner, node },
        };
        let vote = Action::Vote { change, consent: None };
        (0..self.genesis.validators().len()).map(|by| self.order(by, vote, true)).collect()
    }

    /// The next block has those of `orders` and of `more` random ones that the evaluator accepts. With one of the
    /// others it is refused.
    fn block(&mut self, mut orders: Vec<Order>, more: usize) {
        self.evaluator.begin();
        let before = self.evaluator.clone();
        let round = match self.rng.u8(0..12) {
            0 => self.rng.u32(1..8),
            1 => u32::MAX,
            _ => 0,
        };
        let (height, parent) = (self.state.height() + 1, self.state.tip());
        let of = |state: &LedgerState, transactions| Block {
            height,
            parent,
            state: state.hash(),
            round,
            transactions,
        };
        let mut accepted = vec![];
        let count = orders.len() + more;
        for number in 0..count {
            if number == orders.len() {
                let Some(order) = self.any_order() else { break };
                orders.push(order);
            }
            let order = orders[number];
            let is_accepted = self.evaluator.accept(order.signed.transaction(), order.is_genuine);
            let _ = self.pool.admit(order.signed, &self.state);
            // Two of the same bytes: only one waits.
            assert!(order.is_genuine || !self.pool.contains(&order.signed.hash()));
            if is_accepted {
                accepted.push(order.signed);
                self.happened.accepted += 1;
            } else {
                let mut with_it = accepted.clone();
                with_it.push(order.signed);
                let checked = self.state.check_with(&of(&self.state, with_it), &self.pool);
                assert!(checked.is_err(), "{:?}", order.signed.transaction());
                self.happened.refused += 1;
            }
            self.past.push(order);
        }
        let block = of(&self.state, accepted);
        let decoded = Block::from_bytes(&block.to_bytes()).unwrap();
        let next = match self.state.check_with(&decoded, &self.pool) {
            Ok(next) => next,
            Err(why) => panic!("height {height}: {why}, {:?}", block.transactions),
        };
        self.evaluator.end();
        self.evaluator.compare(&next);
        self.monotone(&next);
        self.no_gain(&before, &next);
        self.note(&before, &block);
        if self.rng.u8(0..8) == 0 {
            let (height, tip) = (self.state.height(), self.state.tip());
            let rows = self.state.rows().collect::<Vec<_>>();
            self.reloaded = LedgerState::from_rows(&self.genesis, height, tip, rows).unwrap();
            self.happened.reloads += 1;
        }
        self.reloaded = self.reloaded.check_with(&block, &self.pool).unwrap();
        assert_eq!(self.reloaded.hash(), next.hash());
        assert_eq!(self.reloaded.validators(), next.validators());
        self.pool.prune(&next);
        let proposed = self.pool.block(&next, 0);
        assert_eq!(proposed.transactions.is_empty(), self.pool.is_empty());
        assert!(next.check_with(&proposed, &self.pool).is_ok());
        self.state = next;
    }

    /// What was claimed never becomes less, except with the payer's key.
    fn monotone(&self, next: &LedgerState) {
        for (payer, payee, scope) in self.evaluator.claims.keys() {
            let claimed = |state: &LedgerState| {
                state.claimed(payer, payee, scope).map(|it| (it.epoch, it.bytes, it.amount))
            };
            assert!(claimed(next) >= claimed(&self.state) || self.evaluator.is_void(payer));
        }
    }

    /// A person has what it had, and what others gave: no sum over its keys rises by moves among themselves.
    fn no_gain(&mut self, before: &Evaluator, next: &LedgerState) {
        let person: BTreeMap<PublicKey, usize> =
            self.people.owners.iter().map(|it| (it.key.public(), it.person)).collect();
        let wealth = |state: &LedgerState| {
            let mut all: BTreeMap<usize, i128> = BTreeMap::new();
            for (owner, person) in &person {
                let balance = state.account(owner).map_or(0, |it| it.balance);
                *all.entry(*person).or_default() += i128::from(balance);
            }
            for (payer, payee) in self.evaluator.pairs.keys() {
                let lock = state.coin_lock(payer, payee).map_or(0, |it| it.amount);
                let owner = self.evaluator.keys[payer].owner;
                *all.entry(person[&owner]).or_default() += i128::from(lock);
            }
            all
        };
        let (was, is) = (wealth(&self.state), wealth(next));
        assert!(before.height + 1 == self.evaluator.height);
        for (who, now) in is {
            let mut expected = was[&who];
            for movement in &self.evaluator.movements {
                let (from, to) = (person[&movement.from], person[&movement.to]);
                if from != to && from == who {
                    expected -= movement.amount;
                }
                if from != to && to == who {
                    expected += movement.amount;
                }
                self.happened.self_payments += u64::from(from == to && from == who);
            }
            let fees = self.evaluator.fees_paid.iter().filter(|(owner, _)| person[owner] == who);
            expected -= fees.map(|(_, fee)| fee).sum::<i128>();
            if self.evaluator.has_settled() {
                let paid = self.evaluator.payouts.iter().filter(|it| person[it.0] == who);
                expected += paid.map(|(_, share)| share).sum::<i128>();
            }
            assert_eq!(now, expected, "person {who}");
        }
    }

    fn note(&mut self, before: &Evaluator, block: &Block) {
        let happened = &mut self.happened;
        happened.blocks += 1;
        for transaction in &block.transactions {
            happened.claims += u64::from(transaction.transaction().is_claim());
        }
        let payments = |it: &Evaluator| it.pairs.values().map(|pair| pair.payments).sum::<i128>();
        happened.paid += payments(&self.evaluator) - payments(before);
        for (pair, history) in &self.evaluator.pairs {
            let former = before.pairs.get(pair).map_or(0, |it| it.returns);
            if history.returns > former {
                match self.evaluator.is_void(&pair.0) {
                    true => happened.voided_locks += 1,
                    false => happened.returned += 1,
                }
            }
        }
        if self.evaluator.has_settled() {
            let paid = || self.evaluator.payouts.values().filter(|share| **share > 0);
            happened.payouts += paid().count() as u64;
            happened.paid_by_pool += paid().sum::<i128>();
            happened.capped += self.evaluator.capped - before.capped;
        }
        let members = |it: &Evaluator, of: &Evaluator| it.members.difference(&of.members).count();
        happened.members += members(&self.evaluator, before) as u64;
        happened.removed_members += members(before, &self.evaluator) as u64;
        let owners = |it: &Evaluator| it.validators.keys().copied().collect::<BTreeSet<_>>();
        happened.changes += u64::from(owners(before) != owners(&self.evaluator));
    }
}

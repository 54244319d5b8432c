//! What people order, rightly or wrongly.

use octet_coins::{Action, BlockHash, Possession, SignedTransaction, Transaction, VotedChange};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

use crate::evaluator::History;
use crate::people::SubKey;
use crate::world::World;

/// A transaction, with what the world knows of it.
#[derive(Clone, Copy)]
pub struct Order {
    pub signed: SignedTransaction,
    /// Whether all its signatures are by those whom it names, for this ledger.
    pub is_genuine: bool,
}

impl World {
    fn pick(&mut self, count: usize) -> usize {
        self.rng.usize(0..count)
    }

    fn rarely(&mut self) -> bool {
        self.rng.u8(0..16) == 0
    }

    /// The next transaction of an owner; rarely with another nonce.
    pub fn order(&mut self, owner: usize, action: Action, is_genuine: bool) -> Order {
        let key = &self.people.owners[owner].key;
        let signer = key.public();
        let nonce = self.evaluator.nonces.get(&signer).copied().unwrap_or(0);
        let mut nonce = u64::try_from(nonce).unwrap() + 1;
        if self.rng.u8(0..40) == 0 {
            nonce = nonce.saturating_add_signed(self.rng.i64(-2..3)).max(1);
        }
        let transaction = Transaction { signer, nonce, action };
        // Rarely for another ledger.
        let (hash, is_genuine) = match self.rng.u8(0..60) {
            0 => (BlockHash([1; 32]), false),
            _ => (self.hash, is_genuine),
        };
        Order { signed: SignedTransaction::sign(transaction, &hash, key), is_genuine }
    }

    /// One order of a random kind.
    pub fn any_order(&mut self) -> Option<Order> {
        let order = match self.rng.u8(0..28) {
            0..=2 => self.transfer(),
            3..=5 => self.bind(),
            6 => self.revoke(),
            7..=10 => self.lock(),
            11 => self.withdraw(),
            12..=19 => self.claim()?,
            20..=25 => self.vote(),
            26 => self.rotate(),
            _ => {
                let number = self.rng.usize(0..self.past.len().max(1));
                return self.past.get(number).copied();
            }
        };
        Some(if self.rng.u8(0..30) == 0 { self.tampered(order) } else { order })
    }

    fn tampered(&mut self, order: Order) -> Order {
        let mut bytes = order.signed.to_bytes();
        let at = bytes.len() - 64 + self.pick(64);
        bytes[at] ^= 1 << self.rng.u8(0..8);
        let signed = SignedTransaction::from_bytes(&bytes).unwrap();
        Order { signed, is_genuine: false }
    }

    fn amount(&mut self, owner: usize) -> u64 {
        let balance = self.evaluator.balances.get(&self.people.owners[owner].key.public());
        let balance = u64::try_from(balance.copied().unwrap_or(0)).unwrap();
        match self.rng.u8(0..20) {
            0 => 0,
            1 => balance,
            2 => u64::MAX,
            3 => balance.saturating_sub(self.evaluator.parameters.fee),
            _ => self.rng.u64(0..=balance / 4),
        }
    }

    fn transfer(&mut self) -> Order {
        let (from, to) = (self.pick(self.people.owners.len()), self.pick(self.people.owners.len()));
        let amount = self.amount(from);
        let to = self.people.owners[to].key.public();
        self.order(from, Action::Transfer { to, amount }, true)
    }

    /// Binds a new key of a node; or a bound one, another's, or one without its consent.
    fn bind(&mut self) -> Order {
        let mut owner = self.pick(self.people.owners.len());
        let number = self.rng.u8(0..3);
        let node = self.people.node(owner, number);
        let signer = self.people.owners[owner].key.public();
        let newest = self.evaluator.newest.get(&(signer, node));
        let mut epoch = newest.map_or(0, |it| u64::try_from(it.1).unwrap()) + 1;
        if self.rarely() {
            epoch = epoch.saturating_sub(1);
        }
        let mut sub_key = self.people.new_sub_key(owner);
        if self.rarely() {
            sub_key = self.pick(self.people.sub_keys.len());
        }
        let (mut is_genuine, mut says) = (true, (signer, node, epoch));
        if self.rarely() {
            is_genuine = false;
            match self.rng.u8(0..3) {
                0 => says.2 += 1,
                1 => says.1 = self.people.node(owner, number + 1),
                // A thief: the consent is to another owner.
                _ => {
                    let thief = (owner + 1) % self.people.owners.len();
                    owner = thief;
                }
            }
        }
        let key = &self.people.sub_keys[sub_key].key;
        let consent = Possession::of_sub_key(&self.hash, &says.0, &says.1, says.2, key);
        let key = key.public();
        let max_per_day = if self.rng.bool() { u64::MAX } else { self.rng.u64(0..3000) };
        self.order(owner, Action::BindKey { node, key, epoch, max_per_day, consent }, is_genuine)
    }

    /// Mostly the owner of a key, sometimes another one.
    fn owner_of(&mut self, sub_key: usize) -> usize {
        let owner = self.people.sub_keys[sub_key].owner;
        if self.rarely() { self.pick(self.people.owners.len()) } else { owner }
    }

    fn revoke(&mut self) -> Order {
        let sub_key = self.pick(self.people.sub_keys.len());
        let (owner, key) = (self.owner_of(sub_key), self.people.sub_keys[sub_key].key.public());
        self.order(owner, Action::RevokeKey { key }, true)
    }

    /// Two keys: mostly of a lock that has coins.
    fn pair(&mut self) -> (usize, usize) {
        if self.rng.u8(0..8) > 0 && !self.busy.is_empty() {
            let number = self.pick(self.busy.len());
            let (from, to) = self.busy[number];
            let left = self.evaluator.pairs.get(&self.keys(from, to)).map_or(0, History::left);
            if left == 0 && self.rng.u8(0..4) > 0 {
                self.busy.swap_remove(number);
            }
            return (from, to);
        }
        let count = self.people.sub_keys.len();
        (self.pick(count), self.pick(count))
    }

    fn lock(&mut self) -> Order {
        let count = self.people.sub_keys.len();
        let (from, to) = match self.rng.u8(0..3) {
            0 => self.pair(),
            // The newest keys are the most likely to be open.
            _ => [0; 2].map(|_| count - 1 - self.rng.usize(0..count.min(12))).into(),
        };
        let owner = self.owner_of(from);
        let (payer, payee) = self.keys(from, to);
        let amount = self.amount(owner);
        if !self.busy.contains(&(from, to)) {
            self.busy.push((from, to));
        }
        self.order(owner, Action::Lock { payer, payee, amount }, true)
    }

    fn keys(&self, from: usize, to: usize) -> (PublicKey, PublicKey) {
        (self.people.sub_keys[from].key.public(), self.people.sub_keys[to].key.public())
    }

    fn withdraw(&mut self) -> Order {
        let (from, to) = self.pair();
        let owner = self.owner_of(from);
        let (payer, payee) = self.keys(from, to);
        self.order(owner, Action::Withdraw { payer, payee }, true)
    }

    /// A lock for a member's key, and a claim of it.
    pub fn work(&mut self) -> Vec<Order> {
        let is_open = |sub_key: &SubKey, of_member: bool| {
            let known = self.evaluator.keys.get(&sub_key.key.public());
            known.is_some_and(|it| {
                let is_member = self.evaluator.members.contains(&(it.owner, it.node));
                it.closed_at.is_none() && (is_member || !of_member)
            })
        };
        let all = self.people.sub_keys.iter().enumerate();
        let keys = |of_member: bool| -> Vec<usize> {
            all.clone().filter(|it| is_open(it.1, of_member)).map(|it| it.0).collect()
        };
        let (payers, payees) = (keys(false), keys(true));
        let (Some(from), Some(to)) = (self.rng.choice(payers), self.rng.choice(payees)) else {
            return vec![];
        };
        let (owner, (payer, payee)) = (self.people.sub_keys[from].owner, self.keys(from, to));
        let amount = self.amount(owner);
        let lock = self.order(owner, Action::Lock { payer, payee, amount }, true);
        [lock].into_iter().chain(self.claim_of(from, to)).collect()
    }

    fn claim(&mut self) -> Option<Order> {
        let (from, to) = self.pair();
        self.claim_of(from, to)
    }

    /// Any receipt that was ever signed; mostly one of the newest.
    fn claim_of(&mut self, from: usize, to: usize) -> Option<Order> {
        self.people.sign_receipt(from, to, self.hash, &mut self.rng);
        let count = self.people.papers.len();
        let newest = self.rng.u8(0..3) > 0;
        let number = if newest { count.checked_sub(1)? } else { self.rng.usize(0..count.max(1)) };
        let paper = *self.people.papers.get(number)?;
        let payee = paper.signed.receipt().payee;
        let mut by = self.people.sub_keys.iter().position(|it| it.key.public() == payee)?;
        if self.rarely() {
            by = self.pick(self.people.sub_keys.len());
        }
        let key = &self.people.sub_keys[by].key;
        let action = Action::Claim { receipt: paper.signed };
        let transaction = Transaction { signer: key.public(), nonce: 0, action };
        let signed = SignedTransaction::sign(transaction, &self.hash, key);
        Some(Order { signed, is_genuine: paper.is_genuine })
    }

    /// A new key for the validator of an owner, with a consent that is sometimes for another epoch.
    fn validator_key(&mut self, owner: usize) -> (PublicKey, u64, Possession, bool) {
        let public = self.people.owners[owner].key.public();
        let now = self.evaluator.validators.get(&public).map_or(0, |it| it.1);
        let mut epoch = u64::try_from(now).unwrap() + 1;
        if self.rarely() {
            epoch = epoch.saturating_sub(1);
        }
        let used = self.people.owners[owner].validator_keys.len();
        let key: PrivateKey = match self.rarely() && used > 0 {
            true => {
                let number = self.pick(used);
                let seed = *self.people.owners[owner].validator_keys[number].seed();
                PrivateKey::from_seed(seed).unwrap()
            }
            false => self.people.new_key(),
        };
        let is_genuine = !self.rarely();
        let says = if is_genuine { epoch } else { epoch + 1 };
        let consent = Possession::of_validator(&self.hash, &public, says, &key);
        let public = key.public();
        self.people.owners[owner].validator_keys.push(key);
        (public, epoch, consent, is_genuine)
    }

    /// Mostly for what others vote for.
    fn vote(&mut self) -> Order {
        let mut by = self.pick(self.people.owners.len());
        for _ in 0..3 {
            let public = self.people.owners[by].key.public();
            let has_voted = self.evaluator.votes.contains_key(&public);
            if has_voted || !self.evaluator.validators.contains_key(&public) {
                by = self.pick(self.people.owners.len());
            }
        }
        if self.rng.u8(0..12) > 0 && !self.campaign.is_empty() {
            let number = self.campaign.len() - 1;
            let (action, is_genuine) = self.campaign[number];
            return self.order(by, action, is_genuine);
        }
        let about = self.pick(self.people.owners.len().min(10));
        let owner = self.people.owners[about].key.public();
        // Without a pool it is refused.
        let has_pool = self.evaluator.parameters.pool.is_some();
        if (has_pool && self.rng.bool()) || self.rarely() {
            let node = self.people.node(about, self.rng.u8(0..2));
            let is_member = self.evaluator.members.contains(&(owner, node));
            let change = match is_member != self.rarely() {
                true => VotedChange::RemoveMember { owner, node },
                false => VotedChange::AddMember { owner, node },
            };
            let action = Action::Vote { change, consent: None };
            self.campaign.push((action, true));
            return self.order(by, action, true);
        }
        let is_validator = self.evaluator.validators.contains_key(&owner);
        let (change, consent, is_genuine) = match (self.rng.u8(0..3), is_validator) {
            (0, true) => (VotedChange::Remove { owner }, None, true),
            (kind, _) => {
                let (key, epoch, consent, is_genuine) = self.validator_key(about);
                let change = match is_validator ^ (kind == 2 && self.rarely()) {
                    true => VotedChange::Replace { owner, key, epoch },
                    false => VotedChange::Add { owner, key, epoch },
                };
                (change, Some(consent), is_genuine)
            }
        };
        let action = Action::Vote { change, consent };
        self.campaign.push((action, is_genuine));
        self.order(by, action, is_genuine)
    }

    fn rotate(&mut self) -> Order {
        let owner = self.pick(self.people.owners.len());
        let (key, epoch, consent, is_genuine) = self.validator_key(owner);
        self.order(owner, Action::RotateValidator { key, epoch, consent }, is_genuine)
    }
}

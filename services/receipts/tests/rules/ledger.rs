//! Receipts for a ledger: what is locked bounds what is served, and what is signed is claimed. The ledger is a model with arithmetic
//! of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use octet_receipts::{
    AccountBook, Agreement, ClaimRules, KeyPair, LockState, PaidClaim, PayeeState, PayerState,
    Receipt, SignedReceipt,
};

use crate::pair::{A_BYTE, CHARGES, PAYS, Pair, W, carriage, certified, key};

const GENESIS: [u8; 32] = [9; 32];
pub const PAYS_COINS: Agreement = Agreement { genesis: GENESIS, ..PAYS };
pub const TAKES_COINS: Agreement = Agreement { genesis: GENESIS, ..CHARGES };
const FEE: u64 = 100;
pub const RULES: ClaimRules =
    ClaimRules { genesis: GENESIS, fee: FEE, interval: Duration::from_secs(600) };

/// One lock, and what was claimed of it.
pub struct Ledger {
    pub locked: u64,
    pub max_per_day: u64,
    paid_today: u64,
    is_open: bool,
    /// By scope: epoch, amount of the receipt, and what was paid of it.
    claims: BTreeMap<[u8; 32], (u64, u64, u64)>,
    pub paid: u64,
}

impl Ledger {
    pub fn new(locked: u64) -> Self {
        let (max_per_day, is_open) = (u64::MAX, true);
        Self { locked, max_per_day, paid_today: 0, is_open, claims: BTreeMap::new(), paid: 0 }
    }

    /// Returns whether the claim is valid.
    pub fn claim(&mut self, receipt: &Receipt) -> bool {
        let (mut epoch, mut amount, mut paid) =
            self.claims.get(&receipt.scope).copied().unwrap_or_default();
        if receipt.epoch < epoch {
            return false;
        }
        if receipt.epoch > epoch {
            (epoch, amount, paid) = (receipt.epoch, 0, 0);
        }
        let day = self.max_per_day - self.paid_today;
        let due =
            [receipt.amount.saturating_sub(paid), self.locked, day].into_iter().min().unwrap();
        if receipt.amount < amount || due == 0 {
            return false;
        }
        self.claims.insert(receipt.scope, (epoch, receipt.amount, paid + due));
        self.locked -= due;
        self.paid_today += due;
        self.paid += due;
        true
    }

    fn state(&self) -> LockState {
        let claims = self.claims.iter();
        LockState {
            locked: self.locked,
            max_per_day: self.max_per_day,
            day_left: self.max_per_day - self.paid_today,
            is_open: self.is_open,
            claims: claims
                .map(|(scope, (epoch, _, paid))| (*scope, PaidClaim { epoch: *epoch, paid: *paid }))
                .collect(),
        }
    }

    /// Tells a book what it asks for.
    pub fn tell(&self, book: &mut AccountBook) {
        let pair = KeyPair { payer: key(11).public(), payee: key(12).public() };
        let queries = book.lock_queries();
        assert!(queries.contains_key(&pair), "{queries:?}");
        let mut state = self.state();
        state.claims.retain(|scope, _| queries[&pair].contains(scope));
        book.set_locks([(pair, state)].into());
    }

    pub fn tell_both(&self, pair: &mut Pair) {
        self.tell(&mut pair.p.book);
        self.tell(&mut pair.e.book);
        pair.p.write();
        pair.e.write();
    }
}

pub fn claims(pair: &mut Pair) -> Vec<SignedReceipt> {
    pair.e.book.claims(&RULES, pair.now)
}

/// Claims until nothing is due any more. One that the ledger refuses was for what a book did not know yet.
pub fn settle(pair: &mut Pair, ledger: &mut Ledger) {
    let mut idle = 0;
    for _ in 0..200 {
        pair.now += Duration::from_secs(601);
        let due = claims(pair);
        for signed in &due {
            ledger.claim(signed.receipt());
        }
        ledger.tell_both(pair);
        idle = if due.is_empty() { idle + 1 } else { 0 };
        if idle == 3 {
            return;
        }
    }
    panic!("claims do not end");
}

fn agreed(ledger: &Ledger) -> Pair {
    let mut pair = Pair::agreed(PAYS_COINS, TAKES_COINS);
    ledger.tell_both(&mut pair);
    pair
}

#[test]
fn no_more_is_served_than_is_locked() {
    let mut ledger = Ledger::new(3 * W);
    let mut pair = Pair::agreed(PAYS_COINS, TAKES_COINS);
    // While nothing is known of the ledger, nothing is served.
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(0), PayeeState::LockUsed));
    ledger.tell_both(&mut pair);
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(W), PayeeState::Serving));
    let mut served = 0;
    for _ in 0..20 {
        served += pair.serve(W);
        pair.run(1);
    }
    assert_eq!(served, 3 * W, "all of the lock, and not a byte more");
    assert_eq!(pair.e.row().serving, PayeeState::LockUsed);
    let (e, p) = (pair.e.row(), pair.p.row());
    assert_eq!((e.owed, e.received, p.owe, p.signed), (3 * W, 3 * W, 3 * W, 3 * W));

    // A claim moves the coins, and gives no new credit; another lock does.
    settle(&mut pair, &mut ledger);
    assert_eq!((ledger.paid, ledger.locked, pair.remaining()), (3 * W, 0, Some(0)));
    let (e, p) = (pair.e.row(), pair.p.row());
    assert_eq!((e.owed, e.coins, p.owe), (0, 3 * W, 0));
    ledger.locked = W / 2;
    ledger.tell_both(&mut pair);
    assert_eq!(pair.serve(W), W / 2);
}

/// The payer signs no more than is locked, whatever the payee has served.
#[test]
fn no_more_is_signed_than_is_locked() {
    let ledger = Ledger::new(2 * W);
    let mut pair = agreed(&ledger);
    pair.p.counters.bought = 5 * W;
    pair.run(3);
    let row = pair.p.row();
    assert_eq!((row.signed, row.owe, row.paying), (2 * W, 2 * W, PayerState::LockUsed));
    // Without the key's owner no more than in a day.
    let mut pair = agreed(&Ledger { max_per_day: W / 4, ..ledger });
    pair.p.counters.bought = 5 * W;
    pair.run(3);
    assert_eq!(pair.p.row().signed, W / 4);
}

/// At a price at which the first bytes cost less than a millionth.
#[test]
fn nothing_is_served_without_a_lock() {
    let price = Some(A_BYTE / 5000);
    for (locked, remaining) in [(0, 0), (1, 10_000)] {
        let mut pair = Pair::agreed(PAYS_COINS, Agreement { price, ..TAKES_COINS });
        Ledger::new(locked).tell_both(&mut pair);
        let state = if locked == 0 { PayeeState::LockUsed } else { PayeeState::Serving };
        assert_eq!((pair.remaining(), pair.e.row().serving), (Some(remaining), state));
    }
}

#[test]
fn a_lock_that_ends_is_claimed_at_once() {
    let mut ledger = Ledger::new(10 * W);
    let mut pair = agreed(&ledger);
    pair.serve(W);
    pair.run(1);
    assert_eq!(claims(&mut pair), [], "it can wait");
    ledger.is_open = false;
    ledger.tell_both(&mut pair);
    assert_eq!((pair.remaining(), pair.e.row().serving), (Some(0), PayeeState::LockUsed));
    let due = claims(&mut pair);
    assert_eq!(due.iter().map(|it| it.receipt().amount).collect::<Vec<_>>(), [W]);
    assert_eq!(claims(&mut pair), [], "it waits for a block");
    pair.now += Duration::from_secs(61);
    assert_eq!(claims(&mut pair), due, "the block did not come");
    assert!(ledger.claim(due[0].receipt()) && !ledger.claim(due[0].receipt()));
    ledger.tell_both(&mut pair);
    pair.now += Duration::from_secs(61);
    assert_eq!((claims(&mut pair), pair.e.row().coins), (vec![], W));
}

#[test]
fn claims_follow_the_interval_and_are_worth_their_fee() {
    let mut ledger = Ledger::new(10 * W);
    let mut pair = agreed(&ledger);
    pair.serve(20 * FEE - 1);
    pair.run(6);
    assert_eq!(claims(&mut pair), []);
    pair.now += RULES.interval;
    assert_eq!(claims(&mut pair), [], "the fee would be more than a twentieth");
    pair.serve(1);
    pair.run(6);
    let due = claims(&mut pair);
    assert_eq!(due[0].receipt().amount, 20 * FEE);
    assert!(ledger.claim(due[0].receipt()));
    ledger.tell_both(&mut pair);
    pair.serve(W);
    pair.run(6);
    assert_eq!(claims(&mut pair), [], "the interval has begun again");
    pair.now += RULES.interval;
    assert_eq!(claims(&mut pair)[0].receipt().amount, 20 * FEE + W);
    // The day's limit is free again with each claim, so half of it does not wait.
    ledger.claim(claims(&mut pair).first().map_or(due[0].receipt(), SignedReceipt::receipt));
    let mut limited = agreed(&Ledger { max_per_day: W, ..Ledger::new(10 * W) });
    limited.serve(W / 2 - 1);
    limited.run(6);
    assert_eq!(claims(&mut limited), []);
    limited.serve(1);
    limited.run(6);
    assert_eq!(claims(&mut limited).len(), 1);
}

/// Of a claim that is paid no more than its fee nothing is left.
#[test]
fn what_a_day_has_left_must_be_worth_the_fee() {
    let mut ledger = Ledger { max_per_day: 2 * W, ..Ledger::new(10 * W) };
    let mut pair = agreed(&ledger);
    pair.serve(W / 2);
    pair.run(6);
    ledger.is_open = false;
    for (left, count) in [(0, 0), (FEE, 0), (FEE + 1, 1)] {
        ledger.paid_today = ledger.max_per_day - left;
        ledger.tell_both(&mut pair);
        assert_eq!(claims(&mut pair).len(), count, "{left}");
    }
}

/// A lock is for two keys: what was signed with a former one takes nothing of it.
#[test]
fn another_key_has_another_lock() {
    let ledger = Ledger::new(2 * W);
    let mut pair = agreed(&ledger);
    pair.serve(W);
    pair.run(6);
    let payee = key(12).public();
    let [old, new] = [11, 21].map(|seed| KeyPair { payer: key(seed).public(), payee });
    pair.p.book.set_identity(certified(1, 21, 2));
    pair.run(15);
    let queries = pair.e.book.lock_queries();
    assert!(queries.contains_key(&old) && queries.contains_key(&new), "{queries:?}");
    for (locked, remaining) in [(W / 2, W / 2), (0, 0)] {
        let locks = [(old, ledger.state()), (new, Ledger::new(locked).state())];
        pair.e.book.set_locks(locks.into());
        assert_eq!(pair.remaining(), Some(remaining));
        assert_eq!(pair.e.row().owed, W);
    }
}

/// A claim of a later epoch would end the one before.
#[test]
fn an_epoch_is_claimed_to_its_end_before_the_next() {
    let mut ledger = Ledger::new(10 * W);
    let mut pair = agreed(&ledger);
    for price in [A_BYTE, A_BYTE / 2, A_BYTE] {
        pair.e
            .book
            .agree(carriage(pair.p.node), Agreement { price: Some(price), ..TAKES_COINS })
            .unwrap();
        pair.run(12);
        pair.serve(W / 2);
        pair.run(6);
    }
    let amounts = [W / 2, W / 4, W / 2];
    assert_eq!((pair.e.row().owed, pair.p.row().owe), (5 * W / 4, 5 * W / 4));
    for amount in &amounts[..2] {
        let due = claims(&mut pair);
        assert_eq!(due.iter().map(|it| it.receipt().amount).collect::<Vec<_>>(), [*amount]);
        assert!(ledger.claim(due[0].receipt()));
        ledger.tell_both(&mut pair);
    }
    // The last one has the scope of the first, and can wait.
    assert_eq!(claims(&mut pair), []);
    settle(&mut pair, &mut ledger);
    assert_eq!((ledger.paid, pair.e.row().coins), (5 * W / 4, 5 * W / 4));
    assert_eq!((pair.e.row().owed, pair.p.row().owe), (0, 0));
}

#[test]
fn who_is_of_another_ledger_is_not_paid() {
    for (pays, charges) in [(PAYS, TAKES_COINS), (PAYS_COINS, CHARGES)] {
        let mut pair = Pair::new(pays, charges);
        pair.run(15);
        assert_eq!(pair.p.row().paying, PayerState::WaitingForOffer);
        assert_eq!(pair.p.row().signed, 0);
        // Both agree on one.
        pair.p
            .book
            .agree(carriage(pair.e.node), Agreement { genesis: charges.genesis, ..PAYS })
            .unwrap();
        pair.run(15);
        assert_eq!(pair.p.row().paying, PayerState::Paying);
    }
}

/// What was signed before is still owed in the old way, and no ledger pays it.
#[test]
fn a_pair_can_begin_with_a_ledger() {
    let mut ledger = Ledger::new(10 * W);
    let mut pair = Pair::agreed(PAYS, CHARGES);
    pair.serve(W);
    pair.run(1);
    pair.p.book.agree(carriage(pair.e.node), PAYS_COINS).unwrap();
    pair.e.book.agree(carriage(pair.p.node), TAKES_COINS).unwrap();
    pair.run(15);
    ledger.tell_both(&mut pair);
    pair.serve(W / 2);
    pair.run(6);
    assert_eq!((pair.e.row().owed, pair.p.row().owe), (3 * W / 2, 3 * W / 2));
    settle(&mut pair, &mut ledger);
    assert_eq!((ledger.paid, pair.e.row().owed, pair.p.row().owe), (W / 2, W, W));
    pair.e.book.settle(&carriage(pair.p.node), W).unwrap();
    pair.run(15);
    assert_eq!((pair.e.row().owed, pair.p.row().owe), (0, 0));
}

/// Everything happens in any order: what is signed and unpaid is always locked, and all of it is paid in the end.
#[test]
fn random_pairs() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let mut ledger = Ledger::new(rng.u64(0..4) * W);
        ledger.max_per_day = if rng.bool() { u64::MAX } else { 2 * W };
        let mut pair = agreed(&ledger);
        let mut submitted: Vec<SignedReceipt> = vec![];
        for _ in 0..250 {
            match rng.u32(0..12) {
                0..=3 => drop(pair.serve(rng.u64(0..W))),
                4 | 5 => pair.run(rng.u32(1..8)),
                6 => pair.now += Duration::from_secs(rng.u64(0..900)),
                7 => submitted.extend(claims(&mut pair)),
                // A block has one of them, or none: it is lost.
                8 if !submitted.is_empty() => {
                    let one = submitted.swap_remove(rng.usize(..submitted.len()));
                    if rng.u32(0..4) > 0 {
                        ledger.claim(one.receipt());
                    }
                }
                9 => match rng.bool() {
                    true => ledger.tell(&mut pair.e.book),
                    false => ledger.tell(&mut pair.p.book),
                },
                // Of more than sixteen epochs the oldest are forgotten.
                10 if rng.u32(0..3) == 0 => {
                    let price = Some([A_BYTE, A_BYTE / 2, 2 * A_BYTE][rng.usize(0..3)]);
                    let max_price = Some(2 * A_BYTE);
                    let (p, e) = (pair.p.node, pair.e.node);
                    pair.p.book.agree(carriage(e), Agreement { max_price, ..PAYS_COINS }).unwrap();
                    pair.e.book.agree(carriage(p), Agreement { price, ..TAKES_COINS }).unwrap();
                }
                _ => match rng.u32(0..6) {
                    0 => ledger.locked += rng.u64(0..2 * W),
                    1 => ledger.paid_today = 0,
                    2 => restart(&mut pair),
                    _ => {}
                },
            }
            pair.p.write();
            pair.e.write();
            let (owed, coins) = (pair.e.row().owed, pair.e.row().coins);
            let bound = ledger.locked + (ledger.paid - coins);
            assert!(owed <= bound, "{seed}: {owed} of {bound}");
        }
        // All messages arrive, and all claims.
        ledger.paid_today = 0;
        pair.run(60);
        settle(&mut pair, &mut ledger);
        while pair.e.row().owed > 20 * FEE * 16 {
            ledger.paid_today = 0;
            ledger.tell_both(&mut pair);
            settle(&mut pair, &mut ledger);
        }
        assert_eq!(pair.e.row().coins, ledger.paid, "{seed}");
        assert!(ledger.paid > 0, "{seed}");
    }
}

/// Both units begin again with what is on their disks.
fn restart(pair: &mut Pair) {
    let (p, e) = (pair.p.node, pair.e.node);
    for (end, node, seed, other, agreement) in [
        (&mut pair.p, 1, 11, e, Agreement { max_price: Some(2 * A_BYTE), ..PAYS_COINS }),
        (&mut pair.e, 2, 12, p, TAKES_COINS),
    ] {
        end.book = AccountBook::from_bytes(&end.disk).unwrap();
        end.book.set_identity(certified(node, seed, 1));
        end.book.agree(carriage(other), agreement).unwrap();
    }
    pair.observe();
}

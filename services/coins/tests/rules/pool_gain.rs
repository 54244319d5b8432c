//! What people who pay each other in circles gain from a pool at most in a settlement period, and what a second
//! admitted owner does: a closed form, attacks on a ledger that come close to it, and honest controls.
//!
//! `cargo test -p octet-coins pool_gain -- --nocapture` prints the numbers of docs/ledger.md.

use std::collections::BTreeMap;

use octet_coins::{Action, Genesis, LedgerParameters, PoolParameters};

use crate::ledger::{Ledger, genesis_with, owner, parameters, sub_key, transfer};
use crate::pool::member;

/// A payer, and a member that carries for it.
const HONEST: (u8, u8) = (4, 5);
/// All are admitted; the first ones of them collude, and the others do nothing.
const COLLUDERS: std::ops::Range<u8> = 10..22;
/// It pays for those who are alone, and is not admitted.
const ACCOMPLICE: u8 = 22;
/// They buy of the colluders, in the control.
const CUSTOMER: u8 = 23;

const BALANCE: u64 = 1_000_000_000;

fn default_pool() -> PoolParameters {
    PoolParameters::with_per_period(1_000_000_000)
}

/// A ledger at the begin of a period, in which all have keys and the members are admitted.
fn town() -> Ledger {
    let base = genesis_with(4);
    let all = COLLUDERS.chain([HONEST.0, HONEST.1, ACCOMPLICE, CUSTOMER]);
    let mut balances: BTreeMap<_, _> = base.balances().clone();
    balances.extend(all.clone().map(|by| (owner(by).public(), BALANCE)));
    let parameters = LedgerParameters {
        settlement_heights: 8,
        vote_heights: 1000,
        pool: Some(default_pool()),
        ..parameters()
    };
    let validators = base.validators().to_vec();
    let mut ledger = Ledger::of(Genesis::new("town", validators, balances, parameters).unwrap());
    let binds = all.map(|by| ledger.signed(by, ledger.bind_action(by, 1))).collect();
    ledger.follow(&ledger.next(binds)).unwrap();
    for by in COLLUDERS.chain([HONEST.1]) {
        ledger.pass_vote(member(by));
    }
    ledger.end_period();
    ledger
}

impl Ledger {
    /// So many transfers of others, and what others carry for each other.
    fn others(&mut self, transfers: u64, work: u64) {
        if work > 0 {
            self.pay(&[HONEST], work);
        }
        let nonce = self.state.account(&owner(HONEST.0).public()).unwrap().nonce;
        let all = (1..=transfers).map(|it| self.numbered(HONEST.0, nonce + it, transfer(0, 1)));
        self.follow(&self.next(all.collect())).unwrap();
    }

    /// A block with locks between these, and one with claims out of them: of `each` millionths.
    fn pay(&mut self, pairs: &[(u8, u8)], each: u64) {
        // One payer may have several payees.
        let mut locks = BTreeMap::new();
        let locks: Vec<_> = pairs
            .iter()
            .map(|(from, to)| {
                let (payer, payee) = (sub_key(*from, 1).public(), sub_key(*to, 1).public());
                let nonce = self.state.account(&owner(*from).public()).unwrap().nonce;
                let before = locks.entry(*from).or_insert(nonce);
                *before += 1;
                self.numbered(*from, *before, Action::Lock { payer, payee, amount: each })
            })
            .collect();
        self.follow(&self.next(locks)).unwrap();
        let claims = pairs.iter().map(|pair| self.claim_between(*pair, 1, 7, each)).collect();
        self.follow(&self.next(claims)).unwrap();
    }

    fn wealth(&self, of: impl Iterator<Item = u8>) -> f64 {
        of.map(|by| self.balance(by) as f64).sum()
    }

    fn again(&self) -> Self {
        Self { genesis: self.genesis.clone(), state: self.state.clone() }
    }

    /// The rest of a period in which the first `count` colluders are paid `volume` in all.
    fn rest(&self, count: u8, volume: u64, is_real: bool) -> RestOfPeriod {
        let mut ledger = self.again();
        let first = COLLUDERS.start;
        let pair = |at: u8| match (is_real, count) {
            (true, _) => (CUSTOMER, first + at),
            (_, 1) => (ACCOMPLICE, first),
            _ => (first + at, first + (at + 1) % count),
        };
        let pairs: Vec<_> = (0..count).map(pair).collect();
        let all = || COLLUDERS.chain([ACCOMPLICE]);
        let before = ledger.wealth(all());
        ledger.pay(&pairs, volume / u64::from(count));
        let payout = ledger.state.period().unwrap().payout(&default_pool()) as f64;
        ledger.end_period();
        let paid = all().map(|by| ledger.earnings(by).last_pool as f64).sum();
        RestOfPeriod { gain: ledger.wealth(all()) - before, paid, payout }
    }
}

/// In millionths of a coin.
struct RestOfPeriod {
    /// Of all colluders.
    gain: f64,
    /// What the pool has paid them.
    paid: f64,
    /// What it might have paid in all.
    payout: f64,
}

/// What others have done in the period, in millionths of a coin.
struct Others {
    /// Their fees without levies.
    fees: f64,
    work: f64,
}

impl Others {
    fn of(ledger: &Ledger) -> Self {
        let period = ledger.state.period().unwrap();
        let levies = default_pool().levy(period.work);
        Self { fees: (period.fees - levies) as f64, work: period.work as f64 }
    }

    /// All that they have paid into the pot.
    fn all(&self) -> f64 {
        self.fees + self.work / 100.0
    }

    /// The most that `count` admitted owners gain, and the volume by which. With levy l, part of fees f, and their
    /// cap c = count * owner_percent: a part s of the work costs the levy of s / (1 - s) * work, so they gain
    /// s * (f * fees - (1 - f) * l * work / (1 - s)); s is at most c, and best where its derivative is 0.
    fn most(&self, count: u8) -> (f64, f64) {
        let (levy, f, cap) = (0.01, 0.5, f64::from(count.min(10)) / 10.0);
        if self.work == 0.0 {
            return (cap * f * self.fees, 0.0);
        }
        let (win, cost) = (f * self.fees, (1.0 - f) * levy * self.work);
        let best = (1.0 - (cost / win).sqrt()).clamp(0.0, cap.min(1.0 - 1e-9));
        (best * (win - cost / (1.0 - best)), self.work * best / (1.0 - best))
    }
}

/// The best attack of many volumes, and the gain of it.
fn best(ledger: &Ledger, count: u8, about: f64) -> (u64, f64) {
    let volumes = [0.0, 0.5, 0.9, 1.0, 1.1, 3.0].map(|it| (it * about) as u64);
    let volumes = volumes.map(|it| it.max(u64::from(count)));
    let gains = volumes.map(|volume| (volume, ledger.rest(count, volume, false).gain));
    gains.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn colluders_gain_at_most_a_part_of_others_fees() {
    println!("admitted | of payout | most | found | with work of others: most | found | volume");
    let town = town();
    let worlds = [0, 1_000_000].map(|work| {
        let mut ledger = town.again();
        ledger.others(1000, work);
        ledger
    });
    for count in [1u8, 2, 3, 5, 10, 12] {
        let percent_of_payout = (u32::from(count) * 10).min(100);
        let mut shown = vec![];
        for ledger in &worlds {
            let others = Others::of(ledger);
            let (most, volume) = others.most(count);
            let (volume, gain) = best(ledger, count, volume);
            let of_fees = 100.0 / others.all();
            shown.push((most * of_fees, gain * of_fees, volume));
            assert!(gain <= most, "{count}: {gain} of {most}");
            assert!(gain > 0.93 * most, "{count}: {gain} of {most}");
            // The bound that needs no knowledge of what others carry.
            assert!(gain <= f64::from(percent_of_payout) / 100.0 * 0.5 * others.all());
            // And the one by the payout.
            let RestOfPeriod { paid, payout, .. } = ledger.rest(count, volume, false);
            assert!(paid <= f64::from(percent_of_payout) / 100.0 * payout);
        }
        let [(most, found, _), (most_2, found_2, volume)] = shown[..] else { panic!() };
        println!(
            "{count} | {percent_of_payout} % | {most:.2} % | {found:.2} % | {most_2:.2} % | {found_2:.2} % | {volume}"
        );
    }
}

/// If levies of others are as much as their other fees, it does not pay at any volume.
#[test]
fn where_levies_are_half_of_the_fees_nobody_gains() {
    let mut ledger = town();
    ledger.others(300, 3_300_000);
    let others = Others::of(&ledger);
    assert!(others.fees <= others.work / 100.0 && others.most(10).0 == 0.0);
    for count in [1, 2, 5, 10] {
        let volumes = [10, 1000, 100_000, 1_000_000, 3_300_000, 10_000_000, 100_000_000];
        for volume in volumes {
            let RestOfPeriod { gain, paid, .. } = ledger.rest(count, volume, false);
            assert!(gain < 0.0, "{count} {volume}: {gain}");
            // The control: real payers bring the same from the pool, and pay.
            let real = ledger.rest(count, volume, true);
            assert_eq!(paid, real.paid);
            let each = volume / u64::from(count);
            let brought = (each - default_pool().levy(each)) * u64::from(count);
            assert_eq!(real.gain, brought as f64 + paid - 100.0 * f64::from(count));
        }
    }
}

/// Whoever carries most of all has less than its part because of the cap, and a second admitted owner brings it as
/// much again. A second box brings nothing
/// (`pool::boxes_of_one_owner_are_paid_together`).
#[test]
fn a_second_owner_gains_at_most_the_cap() {
    let mut ledger = town();
    ledger.others(500, 400_000);
    for count in [1u8, 2, 3, 10] {
        // Six tenths of all work, carried for a customer.
        let RestOfPeriod { paid, payout, .. } = ledger.rest(count, 600_000, true);
        let of_payout = paid / payout * 100.0;
        println!("{count} owners with 60 % of the work get {of_payout:.2} % of the payout");
        let expected = (f64::from(count) * 10.0).min(60.0);
        assert!((of_payout - expected).abs() < 0.1, "{of_payout}");
    }
}

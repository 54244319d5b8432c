//! Payouts of the pool that break its rules, and that all validators have signed.

use octet_auditor::{Audit, AuditError, BrokenRule};
use octet_coins::{Action, VotedChange};
use octet_node::control::PublicKey;

use crate::chain::{Chain, HEIGHTS, genesis_file, owner};
use crate::forged::{account, add, is_found};

/// All that the fees allow may be paid to one owner.
const WHOLE: [u64; 5] = [1_000_000, 0, 50, 100, 10];

const POT: &[u8] = &[1];

fn balance(chain: &Chain, of: usize) -> u64 {
    chain.state.account(&owner(of).public()).map_or(0, |it| it.balance)
}

fn earnings(of: usize) -> Vec<u8> {
    [&[12], &owner(of).public().as_bytes()[..]].concat()
}

/// A period in which a claim has paid 4000 to the member is over: the levy is 40, and the fee 100.
fn paid(pool: [u64; 5]) -> Chain {
    let mut chain = Chain::with_member(pool, 10_000);
    chain.run(vec![chain.claim(4000)]);
    chain.pass(HEIGHTS.settlement - 1);
    assert_eq!(chain.state.height() % HEIGHTS.settlement, 0);
    chain
}

#[test]
fn a_wrong_payout_is_found() {
    let chain = paid(WHOLE);
    assert_eq!((balance(&chain, 5), chain.state.last_payout()), (1_000_000 - 100 + 3860 + 70, 70));
    let summary = chain.audit.summary();
    assert_eq!((summary.members, summary.pool_paid), (1, 70));
    for more in [1, -1] {
        is_found(&chain, |rows| {
            add(rows, &account(5), more);
            add(rows, POT, -more);
        });
    }
    // What the row says of it is part of the state.
    is_found(&chain, |rows| {
        let value = rows.get_mut(&earnings(5)).unwrap();
        value[31] ^= 1;
    });
}

#[test]
fn one_who_is_no_member_is_not_paid() {
    let mut chain = Chain::with_member(WHOLE, 10_000);
    let vote = Action::Vote { change: Chain::member(5, false), consent: None };
    chain.run([0, 1, 2].map(|by| chain.order(by, vote)).to_vec());
    chain.run(vec![chain.claim(4000)]);
    chain.pass(HEIGHTS.settlement - 2);
    assert_eq!(chain.state.last_payout(), 0);
    // Half of 4 fees and 40.
    let share = (4 * 100 + 40) / 2;
    is_found(&chain, |rows| {
        add(rows, &account(5), share);
        add(rows, POT, -share);
        let value = rows.get_mut(&earnings(5)).unwrap();
        value[24..].copy_from_slice(&share.to_be_bytes());
    });
}

#[test]
fn a_cap_that_is_ignored_is_found() {
    let chain = paid([1_000_000, 0, 50, 10, 10]);
    assert_eq!(chain.state.last_payout(), 7);
    is_found(&chain, |rows| {
        add(rows, &account(5), 63);
        add(rows, POT, -63);
        rows.get_mut(&earnings(5)).unwrap()[31] = 70;
    });
}

#[test]
fn a_schedule_and_its_halving_are_followed() {
    for (halving, payout) in [(0, 40), (2, 40), (1, 20)] {
        let chain = paid([40, halving, 50, 100, 10]);
        assert_eq!((chain.state.height(), chain.state.last_payout()), (12, payout));
        is_found(&chain, |rows| {
            add(rows, &account(5), 1);
            add(rows, POT, -1);
        });
    }
}

#[test]
fn a_levy_that_is_left_out_is_found() {
    let mut chain = Chain::with_member(WHOLE, 10_000);
    chain.run(vec![chain.claim(4000)]);
    assert_eq!(balance(&chain, 5), 1_000_000 - 100 + 4000 - 40 - 100);
    let with_all = |rows: &mut crate::forged::Rows, of_pot: bool| {
        add(rows, &account(5), 40);
        add(rows, POT, if of_pot { -40 } else { 0 });
        add(rows, &[11], -40);
        rows.get_mut(&earnings(5)).unwrap()[8..16].copy_from_slice(&4000u64.to_be_bytes());
    };
    is_found(&chain, |rows| with_all(rows, true));
    // And likewise a levy that was taken and not counted.
    is_found(&chain, |rows| add(rows, &[11], -40));
}

#[test]
fn a_period_ends_at_its_height() {
    let mut chain = Chain::with_member(WHOLE, 10_000);
    chain.run(vec![chain.claim(4000)]);
    chain.pass(HEIGHTS.settlement - 2);
    // A height early: as if the next block had come.
    let settled = {
        let mut later = Chain::with_member(WHOLE, 10_000);
        later.run(vec![later.claim(4000)]);
        later.pass(HEIGHTS.settlement - 1);
        later.state.rows().collect::<Vec<_>>()
    };
    assert_eq!(settled.iter().filter(|row| row.0[0] == 11).count(), 0);
    is_found(&chain, |rows| {
        rows.clear();
        rows.extend(settled.clone());
    });
    // A height late: as if nothing had happened at the last one.
    let before: Vec<_> = chain.state.rows().collect();
    chain.pass(1);
    assert_eq!(chain.state.rows().collect::<Vec<_>>(), settled);
    is_found(&chain, |rows| {
        rows.clear();
        rows.extend(before.clone());
    });
}

#[test]
fn members_change_by_votes_for_a_pool() {
    let mut chain = Chain::with_member(WHOLE, 10_000);
    let rule = |chain: &Chain, by, change| {
        chain.rule(vec![chain.order(by, Action::Vote { change, consent: None })])
    };
    assert_eq!(rule(&chain, 0, Chain::member(4, true)), None);
    assert_eq!(rule(&chain, 0, Chain::member(5, false)), None);
    assert_eq!(rule(&chain, 0, Chain::member(5, true)), Some(BrokenRule::Member));
    assert_eq!(rule(&chain, 0, Chain::member(4, false)), Some(BrokenRule::Member));
    assert_eq!(rule(&chain, 4, Chain::member(4, true)), Some(BrokenRule::NoValidator));
    let weak = PublicKey::new(std::array::from_fn(|at| u8::from(at == 0)));
    let of_weak = VotedChange::AddMember { owner: weak, node: weak };
    assert_eq!(rule(&chain, 0, of_weak), Some(BrokenRule::UnusableKey));
    assert_eq!(rule(&Chain::small(), 0, Chain::member(4, true)), Some(BrokenRule::NoPool));
    // A vote that has nothing to do with a change of members stands after it.
    chain.act(3, Action::Vote { change: Chain::member(4, true), consent: None });
    let vote = Action::Vote { change: Chain::member(5, false), consent: None };
    chain.run([0, 1, 2].map(|by| chain.order(by, vote)).to_vec());
    let vote = Action::Vote { change: Chain::member(4, true), consent: None };
    chain.run([0, 1].map(|by| chain.order(by, vote)).to_vec());
    assert_eq!(chain.state.members().map(|it| it.0).collect::<Vec<_>>(), [owner(4).public()]);
}

#[test]
fn keys_of_a_pool_have_their_ranges() {
    let file = |pool| {
        let heights = crate::chain::Heights { pool: Some(pool), ..HEIGHTS };
        genesis_file("valley", 4, &[1000; 4], heights)
    };
    let most = 1 << 62;
    for (at, key, min, max) in [
        (0, "per_period", 1, most),
        (1, "halving_periods", 0, 100_000_000),
        (2, "fees_percent", 0, 100),
        (3, "owner_percent", 1, 100),
        (4, "levy_permille", 0, 100),
    ] {
        for value in [min, max] {
            let mut pool = WHOLE;
            pool[at] = value;
            assert!(Audit::new(&file(pool)).is_ok() && !key.is_empty());
            assert_eq!(Chain::new(&file(pool)).audit.summary().height, 0);
        }
        for value in [max + 1].into_iter().chain((min == 1).then_some(0)) {
            let mut pool = WHOLE;
            pool[at] = value;
            let refused = Audit::new(&file(pool)).unwrap_err();
            assert_eq!(refused, AuditError::Range { key, value, min, max });
            assert!(octet_coins::Genesis::from_toml(&file(pool)).is_err());
        }
    }
    let short = genesis_file("valley", 4, &[1000; 4], HEIGHTS);
    let [with_defaults, written] = ["per_period = 7", "per_period = 7\nhalving_periods = 0\nfees_percent = 50\nowner_percent = 10\nlevy_permille = 10"]
        .map(|pool| format!("{short}[pool]\n{pool}\n"));
    let genesis = Chain::new(&with_defaults).genesis;
    assert_eq!(genesis, Chain::new(&written).genesis);
    assert_ne!(genesis, Chain::new(&short).genesis);
    assert!(Audit::new(&format!("{short}[pool]\nfees_percent = 50\n")).is_err());
}

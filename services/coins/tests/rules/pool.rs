//! The pool: members, what counts, and what a period pays.

use octet_coins::{
    Action, BlockHash, Genesis, InvalidTransaction, LedgerParameters, LedgerState, MAX_COINS,
    MAX_MEMBERS, OwnerEarnings, PoolParameters, SignedTransaction, Transaction, VotedChange,
};
use octet_receipts::{Receipt, SignedReceipt, cost};

use crate::ledger::{
    A_BYTE, FEE, Ledger, PERIOD, VOTE, genesis_with, node, owner, parameters, sub_key, transfer,
    weak,
};

/// All that the fees allow goes to whoever carried, without a cap.
pub const WHOLE: PoolParameters = PoolParameters {
    per_period: 1_000_000,
    halving_periods: 0,
    fees_percent: 50,
    owner_percent: 100,
    levy_permille: 10,
};

pub fn member(of: u8) -> VotedChange {
    VotedChange::AddMember { owner: owner(of).public(), node: node(of) }
}

fn no_member(of: u8) -> VotedChange {
    VotedChange::RemoveMember { owner: owner(of).public(), node: node(of) }
}

pub fn vote(change: VotedChange) -> Action {
    Action::Vote { change, consent: None }
}

impl Ledger {
    /// A block with the votes of three of four owners.
    pub fn pass_vote(&mut self, change: VotedChange) {
        let votes = [0, 1, 2].map(|by| self.signed(by, vote(change)));
        self.follow(&self.next(votes.to_vec())).unwrap();
    }

    /// Up to the height after which a new period begins.
    pub fn end_period(&mut self) {
        let heights = self.state.parameters().settlement_heights;
        self.pass(heights - self.state.height() % heights);
    }

    /// The boxes of 4 and 5 can pay each other, that of 5 is a member, and a period begins.
    fn with_member(pool: PoolParameters) -> Self {
        let mut ledger = Self::with_pool(pool);
        for by in [4, 5] {
            ledger.bind(by, 1);
        }
        ledger.pass_vote(member(5));
        for (payer, payee) in [(4, 5), (5, 4)] {
            let (from, to) = (sub_key(payer, 1).public(), sub_key(payee, 1).public());
            let lock = Action::Lock { payer: from, payee: to, amount: 400_000 };
            ledger.act(payer, lock).unwrap();
        }
        ledger.end_period();
        ledger
    }

    /// A claim of a receipt of so many bytes for as many millionths.
    pub fn claim_between(
        &self,
        (payer, payee): (u8, u8),
        epoch: u8,
        scope: u8,
        bytes: u64,
    ) -> SignedTransaction {
        let (from, to) = (sub_key(payer, 1), sub_key(payee, epoch));
        let receipt = Receipt {
            payer: from.public(),
            payee: to.public(),
            scope: [scope; 32],
            epoch: 1,
            bytes,
            price: A_BYTE,
            amount: cost(bytes, A_BYTE),
        };
        let receipt = SignedReceipt::sign(receipt, &self.hash().0, &from).unwrap();
        let transaction =
            Transaction { signer: to.public(), nonce: 0, action: Action::Claim { receipt } };
        SignedTransaction::sign(transaction, &self.hash(), &to)
    }

    pub fn earnings(&self, of: u8) -> OwnerEarnings {
        self.state.earnings(&owner(of).public())
    }

    /// Of the rows that a pool deletes.
    fn rows_of_period(&self) -> usize {
        self.state.rows().filter(|(key, _)| key[0] == 11 || key[0] == 12).count()
    }
}

#[test]
fn a_period_pays_a_part_of_its_fees() {
    let mut ledger = Ledger::with_member(WHOLE);
    let (balance, pot) = (ledger.balance(5), ledger.state.pot());
    assert_eq!(pot, 7 * FEE);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 4000)).unwrap();
    // The levy is 40.
    assert_eq!(ledger.balance(5), balance + 4000 - 40 - FEE);
    assert_eq!(ledger.state.pot(), pot + 40 + FEE);
    assert_eq!(ledger.earnings(5).work, 4000);
    let period = ledger.state.period().unwrap();
    assert_eq!((period.fees, period.work), (40 + FEE, 4000));
    assert_eq!((period.number, period.last_height - period.first_height), (3, PERIOD - 1));
    ledger.pass(PERIOD - 2);
    assert_eq!(ledger.state.period().unwrap().last_height, ledger.state.height() + 1);
    // In the last height the fee of a transfer still counts.
    ledger.act(4, transfer(0, 1)).unwrap();
    let paid = (40 + 2 * FEE) / 2;
    assert_eq!(ledger.state.height() % PERIOD, 0);
    assert_eq!(ledger.balance(5), balance + 4000 - 40 - FEE + paid);
    assert_eq!(ledger.state.pot(), pot + 40 + 2 * FEE - paid);
    let last = OwnerEarnings { work: 0, claims: 0, last_claims: 3960, last_pool: paid };
    assert_eq!(ledger.earnings(5), last);
    assert_eq!(ledger.state.last_payout(), paid);
    let next = ledger.state.period().unwrap();
    assert_eq!((next.number, next.fees, next.work), (4, 0, 0));
    assert_eq!(ledger.rows_of_period(), 1);
    // Fees without work stay in the pot.
    ledger.act(4, transfer(0, 1)).unwrap();
    assert_eq!(ledger.rows_of_period(), 2);
    ledger.end_period();
    assert_eq!(ledger.state.pot(), pot + 40 + 3 * FEE - paid);
    assert_eq!((ledger.rows_of_period(), ledger.state.last_payout()), (0, 0));
}

#[test]
fn nothing_counts_because_of_a_pool() {
    let mut ledger = Ledger::with_member(WHOLE);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 4000)).unwrap();
    assert!(ledger.rows_of_period() > 0 && !ledger.state.is_counting());
}

#[test]
fn a_ledger_without_a_pool_has_none_of_it() {
    let mut ledger = Ledger::with_lock(10_000);
    let (balance, pot) = (ledger.balance(5), ledger.state.pot());
    ledger.claim(ledger.receipt(4000)).unwrap();
    ledger.end_period();
    assert_eq!(ledger.balance(5), balance + 4000 - FEE);
    assert_eq!(ledger.state.pot(), pot + FEE);
    assert_eq!((ledger.rows_of_period(), ledger.state.period()), (0, None));
    let no_pool = Err(InvalidTransaction::NoPool);
    assert_eq!(ledger.act(0, vote(member(5))), no_pool);
    assert_eq!(ledger.act(0, vote(no_member(5))), no_pool);
    assert_eq!(Ledger::with_pool(WHOLE).act(0, vote(member(5))), Ok(()));
}

#[test]
fn the_schedule_bounds_a_payout_and_halves() {
    let pool = PoolParameters { per_period: 50, halving_periods: 3, ..WHOLE };
    let mut ledger = Ledger::with_member(pool);
    // Two periods are over; the fees would allow 70.
    for (number, paid) in [(3, 50), (4, 25), (5, 25), (6, 25), (7, 12)] {
        let period = ledger.state.period().unwrap();
        assert_eq!((period.number, period.schedule), (number, paid));
        ledger.run(ledger.claim_between((4, 5), 1, 7, number * 4000)).unwrap();
        ledger.end_period();
        assert_eq!(ledger.earnings(5).last_pool, paid);
    }
    assert_eq!((pool.schedule(18), pool.schedule(19)), (1, 0));
    assert_eq!(pool.schedule(u64::MAX), 0);
    assert_eq!(WHOLE.schedule(u64::MAX), 1_000_000);
}

#[test]
fn an_owner_gets_at_most_its_percentage() {
    for (owner_percent, paid) in [(10, 7), (9, 6), (100, 70)] {
        let mut ledger = Ledger::with_member(PoolParameters { owner_percent, ..WHOLE });
        let pot = ledger.state.pot();
        ledger.run(ledger.claim_between((4, 5), 1, 7, 4000)).unwrap();
        ledger.end_period();
        assert_eq!(ledger.earnings(5).last_pool, paid);
        assert_eq!(ledger.state.pot(), pot + 140 - paid);
    }
}

#[test]
fn all_claims_are_the_whole_and_members_earn() {
    let mut ledger = Ledger::with_member(WHOLE);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 1000)).unwrap();
    ledger.run(ledger.claim_between((5, 4), 1, 7, 3000)).unwrap();
    let (to_4, to_5) = (ledger.earnings(4), ledger.earnings(5));
    assert_eq!((to_4.work, to_4.claims), (0, 2970));
    assert_eq!((to_5.work, to_5.claims), (1000, 990));
    ledger.end_period();
    // Half of two fees and 40 is 120.
    assert_eq!((ledger.earnings(4).last_pool, ledger.earnings(5).last_pool), (0, 30));
    assert_eq!((ledger.earnings(4).last_claims, ledger.earnings(5).last_claims), (2970, 990));
    // The same with both as members.
    ledger.pass_vote(member(4));
    ledger.end_period();
    ledger.run(ledger.claim_between((4, 5), 1, 7, 2000)).unwrap();
    ledger.run(ledger.claim_between((5, 4), 1, 7, 6000)).unwrap();
    ledger.end_period();
    assert_eq!((ledger.earnings(4).last_pool, ledger.earnings(5).last_pool), (90, 30));
}

/// One owner's work at two boxes is paid like that at one; but each box has to be admitted.
#[test]
fn boxes_of_one_owner_are_paid_together() {
    let mut paid = vec![];
    for boxes in [1, 2] {
        let mut ledger = Ledger::with_member(PoolParameters { owner_percent: 10, ..WHOLE });
        let key = sub_key(5, 2);
        let (by, at) = (owner(5).public(), node(9));
        let consent = octet_coins::Possession::of_sub_key(&ledger.hash(), &by, &at, 1, &key);
        let (key, max_per_day) = (key.public(), u64::MAX);
        ledger.act(5, Action::BindKey { node: at, key, epoch: 1, max_per_day, consent }).unwrap();
        let payer = sub_key(4, 1).public();
        ledger.act(4, Action::Lock { payer, payee: key, amount: 100_000 }).unwrap();
        ledger.run(ledger.claim_between((4, 5), 2, 7, 10)).unwrap();
        assert_eq!((ledger.earnings(5).work, ledger.earnings(5).claims), (0, 10));
        ledger.pass_vote(VotedChange::AddMember { owner: owner(5).public(), node: node(9) });
        ledger.end_period();
        for number in 0..2 {
            let epoch = if boxes == 2 { 1 + number } else { 1 };
            ledger.run(ledger.claim_between((4, 5), epoch, number, 2000)).unwrap();
        }
        assert_eq!(ledger.earnings(5).work, 4000);
        ledger.end_period();
        paid.push(ledger.earnings(5).last_pool);
    }
    assert_eq!(paid, [12, 12]);
}

#[test]
fn a_removed_member_earns_nothing_from_then_on() {
    let mut ledger = Ledger::with_member(WHOLE);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 1000)).unwrap();
    ledger.pass_vote(no_member(5));
    assert_eq!(ledger.state.members().count(), 0);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 4000)).unwrap();
    assert_eq!((ledger.earnings(5).work, ledger.earnings(5).claims), (1000, 3960));
    assert_eq!(ledger.state.period().unwrap().work, 4000);
    // What it has carried before is paid. It comes back by votes.
    ledger.end_period();
    assert_eq!(ledger.earnings(5).last_pool, (40 + 5 * FEE) / 2 / 4);
    ledger.pass_vote(member(5));
    ledger.run(ledger.claim_between((4, 5), 1, 7, 5000)).unwrap();
    assert_eq!(ledger.earnings(5).work, 1000);
}

#[test]
fn a_closed_key_earns_nothing_and_the_next_one_of_the_node_does() {
    let mut ledger = Ledger::with_member(WHOLE);
    // The claim in the block before the closing, and one in the same block after it.
    let first = ledger.claim_between((4, 5), 1, 7, 1000);
    let revoke = ledger.signed(5, Action::RevokeKey { key: sub_key(5, 1).public() });
    let second = ledger.claim_between((4, 5), 1, 7, 3000);
    ledger.follow(&ledger.next(vec![first, revoke, second])).unwrap();
    assert_eq!((ledger.earnings(5).work, ledger.state.period().unwrap().work), (1000, 3000));
    ledger.bind(5, 2);
    let (payer, payee) = (sub_key(4, 1).public(), sub_key(5, 2).public());
    ledger.act(4, Action::Lock { payer, payee, amount: 5000 }).unwrap();
    ledger.run(ledger.claim_between((4, 5), 2, 7, 500)).unwrap();
    assert_eq!(ledger.earnings(5).work, 1500);
    // A higher epoch closes the one before likewise.
    ledger.bind(5, 3);
    ledger.run(ledger.claim_between((4, 5), 2, 7, 900)).unwrap();
    assert_eq!((ledger.earnings(5).work, ledger.earnings(5).claims), (0, 396));
}

#[test]
fn members_change_by_more_than_two_thirds() {
    let mut ledger = Ledger::with_pool(WHOLE);
    assert_eq!(ledger.act(4, vote(member(5))), Err(InvalidTransaction::NotValidator));
    let of_weak = VotedChange::AddMember { owner: weak(), node: node(5) };
    assert_eq!(ledger.act(0, vote(of_weak)), Err(InvalidTransaction::WeakKey));
    assert_eq!(ledger.act(0, vote(no_member(5))), Err(InvalidTransaction::NotMember));
    let balance = ledger.balance(0);
    ledger.act(0, vote(member(5))).unwrap();
    assert_eq!(ledger.balance(0), balance - FEE);
    assert!(ledger.state.is_counting());
    ledger.act(1, vote(member(5))).unwrap();
    assert_eq!(ledger.state.members().count(), 0);
    ledger.act(2, vote(member(5))).unwrap();
    assert_eq!(ledger.state.members().collect::<Vec<_>>(), [(owner(5).public(), node(5))]);
    assert!(!ledger.state.is_counting());
    assert_eq!(ledger.act(0, vote(member(5))), Err(InvalidTransaction::IsMember));
    // Another node of the owner is another member.
    let second = VotedChange::AddMember { owner: owner(5).public(), node: node(6) };
    assert_eq!(ledger.act(0, vote(second)), Ok(()));
    ledger.pass_vote(no_member(5));
    assert_eq!(ledger.state.members().count(), 0);
    // A consent has no place in such a vote.
    let consent = Some(octet_coins::Possession([0; 64]));
    let signed = ledger.signed(0, Action::Vote { change: member(5), consent });
    assert_eq!(signed.verify(&ledger.hash()), Err(InvalidTransaction::NoConsent));
    // Votes lapse.
    let mut ledger = Ledger::with_pool(WHOLE);
    ledger.act(0, vote(member(5))).unwrap();
    ledger.pass(VOTE - 1);
    assert!(ledger.state.is_counting());
    ledger.pass(1);
    assert!(!ledger.state.is_counting());
    for by in [1, 2] {
        ledger.act(by, vote(member(5))).unwrap();
    }
    assert_eq!(ledger.state.members().count(), 0);
    ledger.act(3, vote(member(5))).unwrap();
    assert_eq!(ledger.state.members().count(), 1);
}

#[test]
fn a_change_of_members_ends_only_the_votes_for_it() {
    let mut ledger = Ledger::with_pool(WHOLE);
    ledger.act(3, vote(member(4))).unwrap();
    ledger.pass_vote(member(5));
    // The vote for 4 stands: two more are enough.
    for by in [0, 1] {
        assert_eq!(ledger.state.members().count(), 1);
        ledger.act(by, vote(member(4))).unwrap();
    }
    assert_eq!(ledger.state.members().count(), 2);
    // A change of the validators ends all.
    ledger.act(3, vote(no_member(4))).unwrap();
    let key = crate::ledger::validator(5, 1);
    let (of_5, epoch) = (owner(5).public(), 1);
    let consent = octet_coins::Possession::of_validator(&ledger.hash(), &of_5, epoch, &key);
    let change = VotedChange::Add { owner: of_5, key: key.public(), epoch };
    for by in 0..3 {
        ledger.act(by, Action::Vote { change, consent: Some(consent) }).unwrap();
    }
    assert_eq!(ledger.state.validators().len(), 5);
    assert!(!ledger.state.is_counting());
    for by in 0..3 {
        ledger.act(by, vote(no_member(4))).unwrap();
    }
    // Three of five are not enough.
    assert_eq!(ledger.state.members().count(), 2);
    ledger.act(5, vote(no_member(4))).unwrap();
    assert_eq!(ledger.state.members().count(), 1);
}

#[test]
fn there_are_at_most_1024_members() {
    let mut ledger = Ledger::with_pool(WHOLE);
    ledger.act(0, vote(member(4))).unwrap();
    let with_rows = |count: usize| {
        let mut rows: std::collections::BTreeMap<_, _> = ledger.state.rows().collect();
        for number in 0..count {
            let mut node = [9; 32];
            node[..8].copy_from_slice(&number.to_be_bytes());
            rows.insert([&[10], &owner(5).public().as_bytes()[..], &node].concat(), vec![]);
        }
        let (height, tip) = (ledger.state.height(), ledger.state.tip());
        let state = LedgerState::from_rows(&ledger.genesis, height, tip, rows).unwrap();
        Ledger { genesis: ledger.genesis.clone(), state }
    };
    let mut almost = with_rows(MAX_MEMBERS - 1);
    almost.pass_vote(member(5));
    assert_eq!(almost.state.members().count(), MAX_MEMBERS);
    let full = Err(InvalidTransaction::TooManyMembers);
    assert_eq!(almost.act(1, vote(member(4))), full);
    assert_eq!(almost.act(1, vote(no_member(5))), Ok(()));
}

/// Such sums need nearly all coins that there can be, several times in a period. Nobody's part becomes more than the
/// whole, and no claim is refused.
#[test]
fn work_beyond_what_a_number_holds_does_not_count() {
    let pool = PoolParameters { levy_permille: 0, ..WHOLE };
    let parameters = LedgerParameters { settlement_heights: 40, pool: Some(pool), ..parameters() };
    let base = genesis_with(4);
    let mut balances = base.balances().clone();
    let coins = MAX_COINS / 2 - 10_000_000;
    for by in [4, 5] {
        balances.insert(owner(by).public(), coins);
    }
    let validators = base.validators().to_vec();
    let genesis = Genesis::new("rich", validators, balances, parameters).unwrap();
    let mut ledger = Ledger::of(genesis);
    for by in [4, 5] {
        ledger.bind(by, 1);
    }
    ledger.pass_vote(member(5));
    let (mut whole, mut of_5) = (0u128, 0);
    let amount = coins - 1_000_000;
    for number in 0..10 {
        let (from, to) = if number % 2 == 0 { (4, 5) } else { (5, 4) };
        let (payer, payee) = (sub_key(from, 1).public(), sub_key(to, 1).public());
        ledger.act(from, Action::Lock { payer, payee, amount }).unwrap();
        ledger.run(ledger.claim_between((from, to), 1, number, amount)).unwrap();
        if whole + u128::from(amount) <= u128::from(u64::MAX) {
            whole += u128::from(amount);
            of_5 += if to == 5 { amount } else { 0 };
        }
    }
    let period = ledger.state.period().unwrap();
    assert_eq!((u128::from(period.work), ledger.earnings(5).work), (whole, of_5));
    assert_eq!(whole, 8 * u128::from(amount));
    let payout = period.payout(&pool);
    ledger.end_period();
    assert_eq!(ledger.earnings(5).last_pool, payout / 2);
}

#[test]
fn a_state_with_a_pool_is_read_again() {
    let mut ledger = Ledger::with_member(WHOLE);
    ledger.run(ledger.claim_between((4, 5), 1, 7, 4000)).unwrap();
    ledger.act(0, vote(no_member(5))).unwrap();
    let (genesis, height, tip) =
        (ledger.genesis.clone(), ledger.state.height(), ledger.state.tip());
    let read = |rows: Vec<_>| LedgerState::from_rows(&genesis, height, tip, rows);
    let rows: Vec<_> = ledger.state.rows().collect();
    let again = read(rows.clone()).unwrap();
    assert_eq!(again, ledger.state);
    let mut other = Ledger { genesis: ledger.genesis.clone(), state: again };
    ledger.end_period();
    other.end_period();
    assert_eq!(other.state, ledger.state);
    assert_eq!(ledger.state.last_payout(), (40 + 2 * FEE) / 2);
    // Rows that are zero are none; with numbers that no ledger has, nothing breaks.
    for (key, length) in [(vec![11], 16), ([&[12], &[3; 32][..]].concat(), 32)] {
        for (last, is_row) in [(0, false), (1, true)] {
            let mut rows: std::collections::BTreeMap<_, _> =
                Ledger::with_pool(WHOLE).state.rows().collect();
            let mut value = vec![0; length];
            *value.last_mut().unwrap() = last;
            rows.insert(key.clone(), value);
            assert_eq!(read(rows.into_iter().collect()).is_some(), is_row);
        }
    }
    let mut rows: std::collections::BTreeMap<_, _> = rows.into_iter().collect();
    rows.insert([&[12], &[3; 32][..]].concat(), vec![255; 32]);
    let wrong = LedgerState::from_rows(&ledger.genesis, 14, BlockHash([0; 32]), rows).unwrap();
    let wrong = Ledger { genesis: ledger.genesis.clone(), state: wrong };
    if let Ok(next) = wrong.state.check(&wrong.next(vec![])) {
        assert_eq!(next.total(), wrong.genesis.sum());
    }
}

//! A round: what was carried is counted, receipts are taken and signed, all of it is written, and only then are
//! messages sent and limits raised.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use octet_appliance::AccountsSection;
use octet_node::control::CallError;
use octet_node::say;
use octet_receipts::{Agreement, NeighbourCounters, SignedReceipt};

use crate::SharedAccounts;
use crate::forward::{Forward, TrafficRow};
use crate::ledger::{LedgerOfReceipts, LedgerUnit};
use crate::settings::{NeighbourPrice, Settings};

/// The smallest window, in bytes.
const MIN_WINDOW: u64 = 1 << 20;

/// How much a link carries while a receipt is under way: the window is so many seconds of its capacity.
const WINDOW_SECONDS: u64 = 4;

/// Why a round has failed; the next one does all that it left.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("`forward` does not answer: {0}")]
    Forward(#[from] CallError),
    #[error("the book of accounts cannot be written, so nothing is signed: {0}")]
    Disk(#[from] io::Error),
}

/// The maximum number of texts about neighbours that are logged.
const MAX_TEXTS: usize = 64;

/// What was logged: each text once, and not more than [`MAX_TEXTS`], so that neighbours cannot fill the log.
#[derive(Default)]
struct OnceLog(BTreeSet<String>);

impl OnceLog {
    fn once(&mut self, text: String) {
        if self.0.len() < MAX_TEXTS && !self.0.contains(&text) {
            say!("{text}");
            self.0.insert(text);
        }
    }
}

/// The ledger is asked once in so many rounds: a new lock counts after as many intervals.
const LEDGER_ROUNDS: u64 = 5;

/// The units that are called.
pub struct CalledUnits {
    pub forward: Forward,
    pub ledger: LedgerUnit,
}

/// Does rounds forever.
pub fn run(shared: &SharedAccounts, mut units: CalledUnits, interval: Duration) {
    let mut log = OnceLog::default();
    for number in 0u64.. {
        let settings = shared.settings();
        if number % LEDGER_ROUNDS == 0 {
            ask_ledger(shared, &settings, &mut units.ledger, &mut log);
        }
        let done = round(shared, &settings, &mut units.forward, &mut log);
        if done.is_ok() {
            // What is claimed is on the disk.
            claim(shared, &settings, &mut units.ledger, &mut log);
        }
        shared.set_problem(done.err().map(|error| error.to_string()).unwrap_or_default());
        shared.wait(interval);
    }
}

/// Finds out what is locked. While the ledger does not answer, what it said last counts.
fn ask_ledger(
    shared: &SharedAccounts,
    settings: &Settings,
    unit: &mut LedgerUnit,
    log: &mut OnceLog,
) {
    let Some(ledger) = &settings.ledger else {
        return shared.book().set_locks(BTreeMap::new());
    };
    let queries = shared.book().lock_queries();
    if queries.is_empty() {
        return;
    }
    match unit.locks(ledger, queries) {
        Ok(locks) => {
            let mut book = shared.book();
            book.set_locks(locks);
            let total = book.rows().iter().fold(0u64, |sum, row| sum.saturating_add(row.coins));
            drop(book);
            shared.earnings().note(total, shared.start.elapsed());
        }
        Err(error) => log.once(error.to_string()),
    }
}

/// Hands over the claims that are due.
fn claim(shared: &SharedAccounts, settings: &Settings, unit: &mut LedgerUnit, log: &mut OnceLog) {
    let Some(ledger) = &settings.ledger else { return };
    let claims = shared.book().claims(&ledger.rules(), shared.start.elapsed());
    for receipt in claims {
        if let Err(text) = hand_over(shared, ledger, unit, receipt) {
            log.once(text);
        }
    }
}

fn hand_over(
    shared: &SharedAccounts,
    ledger: &LedgerOfReceipts,
    unit: &mut LedgerUnit,
    receipt: SignedReceipt,
) -> Result<(), String> {
    let payee = receipt.receipt().payee;
    let key = shared.keys().get(&payee).cloned();
    let key = key.ok_or_else(|| {
        format!("the receipts for {payee}, a former key of this unit, cannot be claimed")
    })?;
    let claimed = unit.claim(ledger, receipt, &key);
    claimed.map_err(|error| format!("a claim is refused, and is repeated: {error}"))
}

fn round(
    shared: &SharedAccounts,
    settings: &Settings,
    forward: &mut Forward,
    log: &mut OnceLog,
) -> Result<(), RoundError> {
    let traffic = forward.traffic()?;
    let received = forward.receive()?;
    let now = shared.start.elapsed();
    let (messages, limits) = {
        let mut book = shared.book();
        let is_on = |_: &&TrafficRow| settings.accounts.is_some();
        book.retain(&traffic.iter().filter(is_on).map(|row| row.node).collect());
        for row in &traffic {
            let window = book.offered_window(&row.node).unwrap_or_default();
            if let Some(agreement) = agreement(settings, row, window) {
                // The others have theirs nevertheless.
                if let Err(error) = book.agree(row.node, agreement) {
                    let name = settings.name(&row.node);
                    log.once(format!("{name} has no account: {error}; {}", error.help()));
                }
            }
            let TrafficRow { bought, served, .. } = *row;
            book.observe(&row.node, NeighbourCounters { epoch: row.epoch.0, bought, served });
        }
        for (node, message) in received {
            if let Err(error) = book.handle(&node, &message, now) {
                log.once(format!("a message of {} is refused: {error}", settings.name(&node)));
            }
        }
        book.tick(now);
        book.write()?;
        let limit = |row: &TrafficRow| {
            book.remaining(&row.node).map(|bytes| row.served.saturating_add(bytes))
        };
        let limits: Vec<_> = traffic.iter().map(limit).collect();
        (book.take_messages(), limits)
    };
    for (row, limit) in traffic.iter().zip(limits) {
        if row.limit != limit {
            forward.limit(&row.node, limit)?;
        }
    }
    for (node, message) in messages {
        forward.send(&node, &message)?;
    }
    Ok(())
}

/// What counts for a neighbour; without `[accounts]` nothing does. The window follows the measured
/// capacity of the link in powers of two, and shrinks with `max_window` only: each change is another epoch of
/// receipts.
fn agreement(settings: &Settings, row: &TrafficRow, window: u64) -> Option<Agreement> {
    let NeighbourPrice { price, max_price, ledger, .. } = settings.neighbours.get(&row.node)?;
    let genesis = settings.ledger.as_ref().filter(|_| *ledger).map(|ledger| ledger.hash);
    let AccountsSection { max_debt, max_loss, max_window } = settings.accounts?;
    let bytes_per_second = u64::from(row.kilobits.unwrap_or_default()) * 125;
    let measured = (bytes_per_second * WINDOW_SECONDS).next_power_of_two();
    let window = window.max(measured).max(MIN_WINDOW).min(max_window);
    let (price, max_price) = (*price, *max_price);
    let (max_loss, genesis) = (max_loss.into(), genesis.unwrap_or_default());
    Some(Agreement { price, window, max_price, max_debt, max_loss, genesis })
}

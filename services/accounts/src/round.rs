//! A round: what was carried is counted, receipts are taken and signed, all of it is written, and only then are
//! messages sent and limits raised. Objects are counted and limited by a thread of their own, so that neither unit waits for
//! the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use octet_appliance::AccountsSection;
use octet_node::control::{CallError, PublicKey};
use octet_node::say;
use octet_receipts::{
    AccountBook, AccountId, Agreement, NeighbourCounters, ServiceKind, SignedReceipt,
};

use crate::SharedAccounts;
use crate::ledger::{LedgerOfReceipts, LedgerUnit};
use crate::meter::{TrafficMeter, TrafficRow};
use crate::settings::{NeighbourPrices, PriceRange, Settings};

/// The smallest window, in bytes.
const MIN_WINDOW: u64 = 1 << 20;

/// How much a link carries while a receipt is under way: the window is so many seconds of its capacity.
const WINDOW_SECONDS: u64 = 4;

/// Why a round has failed; the next one does all that it left.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error("`{unit}` does not answer: {error}")]
    Unit { unit: &'static str, error: CallError },
    #[error("the book of accounts cannot be written, so nothing is signed: {0}")]
    Disk(#[from] io::Error),
}

impl RoundError {
    fn unit(meter: &TrafficMeter, error: CallError) -> Self {
        Self::Unit { unit: meter.unit(), error }
    }
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

/// Does rounds forever.
pub fn run(
    shared: &SharedAccounts,
    mut forward: TrafficMeter,
    mut ledger: LedgerUnit,
    interval: Duration,
) {
    let mut log = OnceLog::default();
    for number in 0u64.. {
        let (settings, turn) = shared.settings_and_turn();
        if number % LEDGER_ROUNDS == 0 {
            ask_ledger(shared, &settings, &mut ledger, &mut log);
        }
        let done = round(shared, &settings, &mut forward, &mut log);
        if !matches!(done, Err(RoundError::Disk(_))) {
            // What is claimed is on the disk.
            claim(shared, &settings, &mut ledger, &mut log);
        }
        shared.set_problem(ServiceKind::Carriage, done.err());
        shared.wait(turn, interval);
    }
}

/// Counts and limits objects forever.
pub fn run_objects(shared: &SharedAccounts, mut cache: TrafficMeter, interval: Duration) {
    let mut log = OnceLog::default();
    loop {
        let (settings, turn) = shared.settings_and_turn();
        let done = objects_round(shared, &settings, &mut cache, &mut log);
        // A node may have no cache. Where objects were counted, a limit of before may have to be taken back.
        let has_objects = || shared.book().has_kind(ServiceKind::Objects);
        let is_needed = settings.is_kind_paid(ServiceKind::Objects) || has_objects();
        let problem = done.err().filter(|_| is_needed);
        shared.set_problem(ServiceKind::Objects, problem);
        shared.wait(turn, interval);
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

/// The messages since the last round, and who sent them.
type Messages = Vec<(PublicKey, Vec<u8>)>;

fn round(
    shared: &SharedAccounts,
    settings: &Settings,
    forward: &mut TrafficMeter,
    log: &mut OnceLog,
) -> Result<(), RoundError> {
    let asked = ask_forward(forward);
    let now = shared.start.elapsed();
    let mut book = shared.book();
    if let Ok((traffic, received)) = &asked {
        let windows = traffic.iter().map(|row| (row.node, measured_window(row)));
        shared.set_windows(windows.collect());
        count(shared, &mut book, settings, (ServiceKind::Carriage, traffic), log);
        for (node, message) in received {
            if let Err(error) = book.handle(node, message, now) {
                log.once(format!("a message of {} is refused: {error}", settings.name(node)));
            }
        }
    }
    // Also without `forward`: objects have receipts, too, and claims go on.
    book.tick(now);
    book.write()?;
    let (traffic, _) = asked.map_err(|error| RoundError::unit(forward, error))?;
    let limits = limits(&mut book, ServiceKind::Carriage, &traffic);
    let messages = book.take_messages();
    drop(book);
    let done = set_limits(forward, limits)
        .and_then(|()| messages.iter().try_for_each(|(node, message)| forward.send(node, message)));
    done.map_err(|error| RoundError::unit(forward, error))
}

fn ask_forward(forward: &mut TrafficMeter) -> Result<(Vec<TrafficRow>, Messages), CallError> {
    Ok((forward.traffic()?, forward.receive()?))
}

fn objects_round(
    shared: &SharedAccounts,
    settings: &Settings,
    cache: &mut TrafficMeter,
    log: &mut OnceLog,
) -> Result<(), RoundError> {
    let traffic = cache.traffic().map_err(|error| RoundError::unit(cache, error))?;
    let limits = {
        let mut book = shared.book();
        count(shared, &mut book, settings, (ServiceKind::Objects, &traffic), log);
        // The end of the counters of a former run of `cache` is not lost if this unit is killed.
        book.write()?;
        limits(&mut book, ServiceKind::Objects, &traffic)
    };
    set_limits(cache, limits).map_err(|error| RoundError::unit(cache, error))
}

/// Takes what was counted of a kind, with what counts for each neighbour now.
fn count(
    shared: &SharedAccounts,
    book: &mut AccountBook,
    settings: &Settings,
    (kind, traffic): (ServiceKind, &[TrafficRow]),
    log: &mut OnceLog,
) {
    let is_on = |_: &&TrafficRow| settings.accounts.is_some();
    book.retain(kind, &traffic.iter().filter(is_on).map(|row| row.node).collect());
    for row in traffic {
        let id = AccountId { node: row.node, kind };
        if kind == ServiceKind::Carriage || is_needed(settings, row, book.has(&id)) {
            let window = book.offered_window(&id).unwrap_or_default();
            let window = window.max(shared.window(&row.node));
            if let Some(agreement) = agreement(settings, &id, window) {
                // The others have theirs nevertheless.
                if let Err(error) = book.agree(id, agreement) {
                    let (name, kind) = (settings.name(&row.node), kind.as_str());
                    let help = error.help();
                    log.once(format!("{name} has no account of {kind}: {error}; {help}"));
                }
            }
        }
        let TrafficRow { bought, served, limit, .. } = *row;
        let epoch = row.epoch.0;
        book.observe(&id, NeighbourCounters { epoch, bought, served, limit });
    }
}

/// Whether there is something to be said of objects.
fn is_needed(settings: &Settings, row: &TrafficRow, is_there: bool) -> bool {
    let prices = settings.neighbours.get(&row.node).map(|line| line.objects);
    is_there || prices.unwrap_or_default() != PriceRange::default() || row.bought + row.served > 0
}

/// The limits of `served` that are not set yet.
fn limits(
    book: &mut AccountBook,
    kind: ServiceKind,
    traffic: &[TrafficRow],
) -> Vec<(PublicKey, Option<u64>)> {
    let limit = |row: &TrafficRow| {
        let bytes = book.grant(&AccountId { node: row.node, kind });
        let limit = bytes.map(|bytes| row.served.saturating_add(bytes));
        (row.limit != limit).then_some((row.node, limit))
    };
    traffic.iter().filter_map(limit).collect()
}

fn set_limits(
    meter: &mut TrafficMeter,
    limits: Vec<(PublicKey, Option<u64>)>,
) -> Result<(), CallError> {
    limits.into_iter().try_for_each(|(node, limit)| meter.limit(&node, limit))
}

/// So many seconds of the measured capacity of a link, in powers of two. Another window is another epoch of receipts.
fn measured_window(row: &TrafficRow) -> u64 {
    let bytes_per_second = u64::from(row.kilobits.unwrap_or_default()) * 125;
    (bytes_per_second * WINDOW_SECONDS).next_power_of_two()
}

/// What counts for a neighbour; without `[accounts]` nothing does. The window grows with what was measured, and shrinks with
/// `max_window` only.
fn agreement(settings: &Settings, id: &AccountId, window: u64) -> Option<Agreement> {
    let line: &NeighbourPrices = settings.neighbours.get(&id.node)?;
    let PriceRange { price, max_price } = line.of(id.kind);
    let genesis = settings.ledger.as_ref().filter(|_| line.ledger).map(|ledger| ledger.hash);
    let AccountsSection { max_debt, max_loss, max_window } = settings.accounts?;
    let window = window.max(MIN_WINDOW).min(max_window);
    let (max_loss, genesis) = (max_loss.into(), genesis.unwrap_or_default());
    Some(Agreement { price, window, max_price, max_debt, max_loss, genesis })
}

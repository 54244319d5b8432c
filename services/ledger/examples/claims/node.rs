//! A process that is a validator. It takes transactions on its standard input, and prints a line for each height.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use octet_coins::{Genesis, LedgerState, SignedTransaction};
use octet_ledger::consensus::ConsensusSettings;
use octet_ledger::inbox::{HeightTimes, LedgerInbox};
use octet_ledger::net::LedgerPeer;
use octet_ledger::{LedgerConfig, run as run_node};
use octet_node::key::PrivateKey;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Failed, TIMEOUT};

/// The argument that makes a process run a node.
pub const ROLE: &str = "node";

/// A height that a node has decided. Times are of the machine's monotonic clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Decided {
    pub height: u64,
    /// Whether the node proposed the block, if it was decided in the first round.
    pub is_proposer: bool,
    pub began_ns: u64,
    pub decided_ns: u64,
    /// How many transactions the ledger has.
    pub transactions: u64,
}

pub fn key(number: usize) -> Result<PrivateKey, Failed> {
    let mut seed = [1; 32];
    seed[0] = number as u8;
    Ok(PrivateKey::from_seed(seed).ok_or("a key")?)
}

/// Runs node NUMBER in FOLDER, which has `genesis.toml`, with the nodes at these addresses.
pub fn run(words: &[&str]) -> Result<Value, Failed> {
    let [folder, number, addresses @ ..] = words else { return Err("NUMBER FOLDER AT…".into()) };
    let (folder, number) = (Path::new(folder), number.parse::<usize>()?);
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|at| at.parse()).collect::<Result<_, _>>()?;
    let genesis = Genesis::from_toml(&std::fs::read_to_string(folder.join("genesis.toml"))?)?;
    let inbox = Arc::new(LedgerInbox::default());
    let (takes, prints) = (inbox.clone(), inbox.clone());
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let bytes = HEXLOWER.decode(line.as_bytes()).ok();
            let transaction = bytes.and_then(|bytes| SignedTransaction::from_bytes(&bytes));
            if !transaction.is_some_and(|transaction| takes.submit(transaction)) {
                eprintln!("a transaction was not taken");
            }
        }
        // Its parent has ended.
        std::process::exit(0);
    });
    let own = key(number)?;
    let public = own.public();
    let mut last = Arc::new(LedgerState::new(&genesis));
    thread::spawn(move || {
        loop {
            let Some(state) = prints.newest_after(last.height(), TIMEOUT) else { continue };
            if let Some(times) = prints.times().filter(|it| it.height == state.height()) {
                let is_next = last.height() + 1 == state.height();
                let is_proposer = is_next && last.proposer(0) == public;
                println!("{}", json!(decided(&state, times, is_proposer)));
            }
            last = state;
        }
    });
    let peers = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| Ok(LedgerPeer { key: key(at)?.public(), address: Some(*address) }));
    let config = LedgerConfig {
        settings: ConsensusSettings::new(genesis),
        key: Arc::new(own),
        folder: folder.join(number.to_string()),
        listen: vec![addresses[number]],
        peers: peers.collect::<Result<_, Failed>>()?,
        inbox,
    };
    run_node(config)?;
    Ok(Value::Null)
}

fn decided(state: &LedgerState, times: HeightTimes, is_proposer: bool) -> Decided {
    Decided {
        height: state.height(),
        is_proposer,
        began_ns: monotonic(times.began).as_nanos() as u64,
        decided_ns: monotonic(times.decided).as_nanos() as u64,
        transactions: state.pot() / state.parameters().fee,
    }
}

/// The time of the machine's monotonic clock, which all processes share.
fn monotonic(instant: Instant) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32).saturating_sub(instant.elapsed())
}

//! Four nodes of a ledger, and what is measured of them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_coins::SignedTransaction;

use super::node::Decided;
use super::people::People;
use super::process::{Process, Usage};
use super::{Failed, TIMEOUT};

pub const NODES: usize = 4;

/// Claims are handed over so often in a second.
const PORTIONS: u32 = 20;

/// After this time without a block, no claim waits.
const SILENCE: Duration = Duration::from_secs(4);

pub struct Ledger {
    nodes: Vec<Process>,
    lines: Receiver<(usize, Decided)>,
    /// What each node has decided, by height.
    decided: BTreeMap<u64, BTreeMap<usize, Decided>>,
    /// How many transactions were submitted.
    submitted: u64,
}

/// What became of the claims.
pub struct Load {
    pub offered: u64,
    pub claims: u64,
    pub took: Duration,
    /// From the proposal of each block until it was on the disk of the last node, in nanoseconds.
    pub decisions: Vec<u64>,
}

impl Ledger {
    pub fn start(folder: &Path, genesis: &str) -> Result<Self, Failed> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("genesis.toml"), genesis)?;
        // Ports that were free a moment ago.
        let mut sockets = vec![];
        for _ in 0..NODES {
            sockets.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        }
        let addresses: Vec<SocketAddr> =
            sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
        drop(sockets);
        let (sender, lines) = channel();
        let start = |number| Process::start(folder, number, &addresses, sender.clone());
        let nodes = (0..NODES).map(start).collect::<Result<_, _>>()?;
        Ok(Self { nodes, lines, decided: BTreeMap::new(), submitted: 0 })
    }

    /// Gives a transaction to a node.
    pub fn submit(&mut self, to: usize, transaction: &SignedTransaction) -> Result<(), Failed> {
        let count = self.nodes.len();
        self.submitted += 1;
        self.nodes[to % count].submit(transaction)
    }

    /// Waits until all nodes have all transactions.
    pub fn settle(&mut self) -> Result<(), Failed> {
        while self.transactions() < self.submitted {
            self.read(TIMEOUT)?;
        }
        Ok(())
    }

    /// How many transactions the last of the nodes has.
    fn transactions(&self) -> u64 {
        let whole = self.decided.values().rev().find(|of| of.len() >= self.nodes.len());
        let first = whole.and_then(|of| of.values().next());
        first.map_or(0, |decided| decided.transactions)
    }

    /// Reads one line, for which it waits so long.
    fn read(&mut self, patience: Duration) -> Result<(), Failed> {
        let (node, decided) = self.lines.recv_timeout(patience)?;
        self.decided.entry(decided.height).or_default().insert(node, decided);
        Ok(())
    }

    fn read_all(&mut self) {
        while self.read(Duration::ZERO).is_ok() {}
    }

    /// The newest height of any node so far.
    pub fn height(&self) -> u64 {
        self.decided.last_key_value().map_or(0, |(height, _)| *height)
    }

    pub fn newest_height(&mut self) -> Result<u64, Failed> {
        self.read_all();
        Ok(self.height())
    }

    /// Submits so many claims in each second.
    pub fn load(
        &mut self,
        people: &mut People,
        claims: usize,
        time: Duration,
    ) -> Result<Load, Failed> {
        let (height, before) = (self.height(), self.submitted);
        let began = Instant::now();
        let portions = PORTIONS * time.as_secs() as u32;
        for portion in 1..=portions {
            for _ in 0..claims / PORTIONS as usize {
                // All of one payee to the same node: a claim supersedes an earlier one.
                let (of, claim) = people.claim()?;
                self.submit(of, &claim)?;
            }
            // The rate is what is asked for, not what the ledger takes.
            sleep((time * portion / portions).saturating_sub(began.elapsed()));
            self.read_all();
        }
        // What no block has then was superseded, or lost on its way.
        while self.read(SILENCE).is_ok() {}
        let of_load = self.decided.range(height + 1..);
        let proposed = of_load.filter_map(|(_, nodes)| {
            let proposer = nodes.values().find(|it| it.is_proposer)?;
            let last = nodes.values().map(|it| it.decided_ns).max()?;
            Some(last - proposer.began_ns)
        });
        let decisions = proposed.collect();
        let (offered, claims) = (self.submitted - before, self.transactions() - before);
        self.submitted = self.transactions();
        Ok(Load { offered, claims, took: self.between(height), decisions })
    }

    /// The time from the decision of `height` to the newest one, on the first node.
    fn between(&self, height: u64) -> Duration {
        let at = |height| self.decided.get(&height).and_then(|of| of.get(&0));
        let (first, last) = (at(height), at(self.height()));
        let times = first.zip(last).map(|(first, last)| last.decided_ns - first.decided_ns);
        Duration::from_nanos(times.unwrap_or(u64::MAX))
    }

    /// Kills the node that proposed last, whose turn comes again soon. Returns the longest time between two decisions of
    /// the others, beyond the spacing.
    pub fn without_one(&mut self, people: &mut People, time: Duration) -> Result<Duration, Failed> {
        let mut proposals = self.decided.values().rev().flat_map(BTreeMap::iter);
        let (victim, _) = proposals.find(|(_, it)| it.is_proposer).ok_or("nobody proposed")?;
        let mut victim = self.nodes.remove(*victim);
        let from = self.height();
        let began = Instant::now();
        let mut killed = false;
        for second in 1..=time.as_secs() as u32 {
            let transaction = people.transfer();
            for at in 0..self.nodes.len() {
                self.nodes[at].submit(&transaction)?;
            }
            self.submitted += 1;
            // In the middle of a height.
            if !std::mem::replace(&mut killed, true) {
                victim.kill()?;
            }
            sleep((Duration::from_secs(1) * second).saturating_sub(began.elapsed()));
            self.read_all();
        }
        self.settle()?;
        let first = |of: &BTreeMap<usize, Decided>| of.values().map(|it| it.decided_ns).min();
        let times: Vec<u64> =
            self.decided.range(from + 1..).filter_map(|(_, of)| first(of)).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = Duration::from_nanos(gaps.max().ok_or("too few blocks")?);
        Ok(longest.saturating_sub(Duration::from_secs(1)))
    }

    pub fn usage(&self) -> Result<Vec<Usage>, Failed> {
        self.nodes.iter().map(Process::usage).collect()
    }

    pub fn memory(&self) -> Result<Vec<(u64, u64, u64)>, Failed> {
        self.nodes.iter().map(Process::memory).collect()
    }
}

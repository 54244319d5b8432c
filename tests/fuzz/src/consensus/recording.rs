//! What a validator received in a run of four honest ones. The same each time, so that inputs can name frames by number.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use octet_coins::{
    Action, BlockHash, Genesis, LedgerParameters, LedgerState, SignedTransaction, Transaction,
    Validator,
};
use octet_ledger::consensus::{
    ConsensusError, ConsensusFrame, ConsensusNode, ConsensusSettings, OutgoingFrame, Recipient,
};
use octet_node::key::PrivateKey;
use octet_node::limits::Rate;

use super::OWN;
use super::disk::SharedDisk;

const VALIDATORS: u8 = 4;

/// How many heights there were.
const HEIGHTS: u64 = 4;

/// In this one, no proposal of the first rounds arrived.
const SLOW: u64 = 3;

pub(super) struct Recording {
    pub(super) genesis: Genesis,
    pub(super) begun: Arc<LedgerState>,
    /// What the validator received, and from whom.
    pub(super) frames: Vec<(u8, Vec<u8>)>,
    pub(super) transactions: Vec<SignedTransaction>,
    /// The newest block by height.
    pub(super) tips: Vec<BlockHash>,
    /// The blocks with their certificates.
    pub(super) decided: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Of validators by their numbers, and of their owners above.
pub(super) fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed([number + 1; 32]).expect("any seed is a key")
}

pub(super) fn open(
    recording: &Recording,
    number: u8,
    store: &SharedDisk,
    log: &SharedDisk,
    now: Duration,
) -> Result<ConsensusNode, ConsensusError> {
    let mut settings = ConsensusSettings::new(recording.genesis.clone());
    // What is too much for a peer would hide what a frame does.
    settings.frames = Rate { burst: 1 << 20, ..settings.frames };
    ConsensusNode::open(settings, Arc::new(key(number)), store.clone(), Box::new(log.clone()), now)
}

pub(super) fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(record)
}

fn genesis() -> Genesis {
    let owner = |number: u8| key(VALIDATORS + number).public();
    let validator = |number| Validator { owner: owner(number), key: key(number).public() };
    let parameters = LedgerParameters {
        spacing: Duration::ZERO,
        ..LedgerParameters::with_spacing(Duration::from_secs(1))
    };
    let balances = (0..VALIDATORS).map(|number| (owner(number), 1_000_000)).collect();
    Genesis::new("fuzz", (0..VALIDATORS).map(validator).collect(), balances, parameters)
        .expect("a genesis")
}

fn record() -> Recording {
    let genesis = genesis();
    let transaction = |number: u64| {
        let (from, to) = (key(VALIDATORS), key(VALIDATORS + 1).public());
        let action = Action::Transfer { to, amount: 1 };
        let it = Transaction { signer: from.public(), nonce: number, action };
        SignedTransaction::sign(it, &genesis.hash(), &from)
    };
    let mut recording = Recording {
        begun: Arc::new(LedgerState::new(&genesis)),
        frames: vec![],
        transactions: (1..=HEIGHTS).map(transaction).collect(),
        tips: vec![genesis.hash()],
        decided: vec![],
        genesis,
    };
    let mut run = Run::new(&recording);
    for height in 1..=HEIGHTS {
        let transaction = recording.transactions[height as usize - 1];
        for node in &mut run.nodes {
            let _ = node.submit(transaction, run.now).expect("a node");
        }
        run.decide(height, &mut recording.frames);
        recording.tips.push(run.nodes[usize::from(OWN)].state().tip());
        let stored = run.nodes[usize::from(OWN)].store().block(height);
        recording.decided.extend(stored.expect("a store"));
    }
    recording
}

struct Run {
    nodes: Vec<ConsensusNode>,
    now: Duration,
    /// From whom, to whom, and what.
    frames: VecDeque<(u8, u8, Arc<[u8]>)>,
}

impl Run {
    fn new(recording: &Recording) -> Self {
        let node = |number| {
            let disks = [(); 2].map(|()| SharedDisk::default());
            open(recording, number, &disks[0], &disks[1], Duration::ZERO).expect("a node")
        };
        let nodes = (0..VALIDATORS).map(node).collect();
        Self { nodes, now: Duration::ZERO, frames: VecDeque::new() }
    }

    /// Goes on until all have decided this height and have no more to say.
    fn decide(&mut self, height: u64, received: &mut Vec<(u8, Vec<u8>)>) {
        let slow_until = self.now + Duration::from_secs(5);
        loop {
            for (from, node) in (0..).zip(&mut self.nodes) {
                let frames = node.take_frames();
                self.frames.extend(frames.into_iter().flat_map(|frame| carried(from, frame)));
            }
            let Some((from, to, bytes)) = self.frames.pop_front() else {
                if self.nodes.iter().all(|node| node.state().height() >= height) {
                    return;
                }
                let deadlines = self.nodes.iter().map(ConsensusNode::deadline);
                self.now = deadlines.min().unwrap_or_default().max(self.now);
                for node in &mut self.nodes {
                    if node.deadline() <= self.now {
                        node.tick(self.now).expect("a node");
                    }
                }
                continue;
            };
            let frame = ConsensusFrame::from_bytes(&bytes);
            let is_proposal = matches!(frame, Some(ConsensusFrame::Proposal(..)));
            if height == SLOW && self.now < slow_until && is_proposal {
                continue;
            }
            if to == OWN && frame.is_some_and(|frame| !is_own(&frame)) {
                received.push((from, bytes.to_vec()));
            }
            let node = &mut self.nodes[usize::from(to)];
            node.receive(key(from).public(), &bytes, self.now).expect("a node");
        }
    }
}

/// Whether others pass on what the validator said in the run. It says something else when it gets other frames, and that
/// it said both would be a lie.
fn is_own(frame: &ConsensusFrame) -> bool {
    let own = key(OWN).public().into();
    match frame {
        ConsensusFrame::Vote(vote) => vote.message.from == own,
        ConsensusFrame::Proposal(proposal, _) => proposal.message.from == own,
        _ => false,
    }
}

/// To whom a frame goes.
fn carried(from: u8, (to, frame): OutgoingFrame) -> impl Iterator<Item = (u8, u8, Arc<[u8]>)> {
    let is_meant = move |number: &u8| match to {
        Recipient::Everyone => *number != from,
        Recipient::One(peer) => key(*number).public() == peer,
    };
    (0..VALIDATORS).filter(is_meant).map(move |to| (from, to, frame.clone()))
}

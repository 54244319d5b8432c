//! Frames, log entries and certificates of a ledger's consensus, and a validator that receives them.

mod disk;
mod recording;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use octet_coins::{Block, SignedTransaction};
use octet_ledger::consensus::{
    BlockCertificate, ConsensusFrame, ConsensusNode, MAX_ANSWER, VoteSigner, Voters,
};
use octet_ledger::log::HeightLog;
use octet_node::bytes::Fields;

use crate::memory::{decode, decode_within, kept};
use disk::SharedDisk;
use recording::{Recording, key, open, recording};

/// The validator that receives, and the one that lies.
const OWN: u8 = 0;
const LIAR: u8 = 1;

/// Borsh makes room for a vector of bytes before it reads it, up to 1 MiB.
const BORSH: u64 = (1 << 20) + (8 << 10);

/// The most frames that follow from one.
const MAX_FRAMES: usize = 32;

/// Bytes are refused, or are the canonical encoding of a frame or a certificate; a certificate that is valid is of the
/// block that was decided. A node starts with any log, or says why it does not.
///
/// As events they are given to a validator, beside frames of a recorded run and those of a validator that lies. It decides
/// the blocks of that run and no others, does not contradict itself although it is killed, and what is repeated adds
/// nothing.
pub fn consensus(bytes: &[u8]) {
    if let Some(frame) = decode_within(BORSH, bytes, ConsensusFrame::from_bytes) {
        assert_eq!(frame.to_bytes(), bytes);
    }
    let recording = recording();
    if let Some(certificate) = decode(bytes, BlockCertificate::from_bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
        let genesis = recording.genesis.hash();
        if certificate.is_valid(&genesis, &Voters::new(recording.begun.clone())) {
            let decided = recording.tips.get(certificate.height as usize);
            assert_eq!(decided, Some(&certificate.block));
        }
    }
    start_with_log(recording, bytes);
    events(recording, bytes);
}

fn start_with_log(recording: &Recording, record: &[u8]) {
    let (store, log) = (SharedDisk::default(), SharedDisk::default());
    let (mut written, _) = HeightLog::open(Box::new(log.clone())).expect("an empty log");
    written.append(1, record).expect("a disk in memory");
    let opened = open(recording, OWN, &store, &log, Duration::ZERO);
    let Ok(mut node) = opened else { return };
    for seconds in [1, 4, 9] {
        if node.tick(Duration::from_secs(seconds)).is_err() {
            return;
        }
        assert!(node.take_frames().len() <= MAX_FRAMES);
    }
}

fn events(recording: &Recording, bytes: &[u8]) {
    let Some(mut receiver) = Receiver::new(recording) else { return };
    let mut fields = Fields(bytes);
    while receiver.event(&mut fields).is_some() {}
    // All again, several times: in the end nothing is new.
    let frames = std::mem::take(&mut receiver.received);
    for _ in 0..4 {
        frames.iter().for_each(|(from, frame)| receiver.receive(*from, frame));
    }
    let log = receiver.log.size();
    let grown = kept(|| frames.iter().for_each(|(from, it)| receiver.receive(*from, it)));
    assert_eq!(receiver.log.size(), log);
    receiver.received.clear();
    assert!(grown < 64 << 10, "{grown} bytes more");
}

/// A validator with its disks.
struct Receiver<'a> {
    recording: &'a Recording,
    node: ConsensusNode,
    store: SharedDisk,
    log: SharedDisk,
    now: Duration,
    /// The next recorded frame.
    next: usize,
    received: Vec<(u8, Vec<u8>)>,
    /// What it has said: each vote and each proposal without its value, and the value.
    said: BTreeMap<String, String>,
}

impl<'a> Receiver<'a> {
    fn new(recording: &'a Recording) -> Option<Self> {
        let (store, log) = (SharedDisk::default(), SharedDisk::default());
        let node = open(recording, OWN, &store, &log, Duration::ZERO).ok()?;
        let (now, received, said) = (Duration::ZERO, vec![], BTreeMap::new());
        Some(Self { recording, node, store, log, now, next: 0, received, said })
    }

    /// One event. `None`: the input has no more.
    fn event(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let recording = self.recording;
        let frame = |number: usize| &recording.frames[number % recording.frames.len()];
        match fields.u8()? % 9 {
            0 => {
                // The next ones of the run.
                for _ in 0..fields.u8()? {
                    let (from, frame) = recording.frames.get(self.next)?.clone();
                    self.next += 1;
                    self.take(from, frame);
                }
            }
            1 => self.next += usize::from(fields.u8()?),
            2 => {
                let (from, frame) = frame(fields.u16()?.into()).clone();
                self.take(from, frame);
            }
            3 => {
                // One that was changed, or cut.
                let (from, mut frame) = frame(fields.u16()?.into()).clone();
                let (at, change) = (usize::from(fields.u16()?) % frame.len(), fields.u8()?);
                match change {
                    0 => frame.truncate(at),
                    change => frame[at] ^= change,
                }
                self.take(from, frame);
            }
            4 => {
                self.now += Duration::from_millis(50) * u32::from(fields.u8()?);
                self.node.tick(self.now).expect("no disk fails");
                self.check();
            }
            5 => {
                let number = usize::from(fields.u8()?) % recording.transactions.len();
                let transaction: SignedTransaction = recording.transactions[number];
                let _ = self.node.submit(transaction, self.now).expect("no disk fails");
                self.check();
            }
            6 => self.kill(),
            7 => {
                let from = fields.u8()? % 4;
                let size = fields.u16()?;
                let frame = fields.take(size.into())?;
                self.take(from, sign(recording, frame));
            }
            _ => {
                // Decided blocks.
                let (first, count) = (fields.u8()?.into(), fields.u8()? % 8);
                let blocks = recording.decided.iter().skip(first).take(count.into());
                let frame = ConsensusFrame::Decided(blocks.cloned().collect());
                self.take(fields.u8()? % 4, frame.to_bytes());
            }
        }
        Some(())
    }

    fn take(&mut self, from: u8, frame: Vec<u8>) {
        self.receive(from, &frame);
        self.received.push((from, frame));
    }

    fn receive(&mut self, from: u8, frame: &[u8]) {
        let received = self.node.receive(key(from).public(), frame, self.now);
        received.expect("no disk fails");
        self.check();
    }

    /// SIGKILL, and a new process.
    fn kill(&mut self) {
        let bytes = [&self.store, &self.log].map(SharedDisk::bytes);
        [self.store, self.log] = bytes.map(SharedDisk::with);
        let opened = open(self.recording, OWN, &self.store, &self.log, self.now);
        self.node = opened.expect("its own disks");
        self.check();
    }

    fn check(&mut self) {
        let state = self.node.state();
        let decided = self.recording.tips.get(state.height() as usize);
        assert_eq!(decided, Some(&state.tip()), "at height {}", state.height());
        let frames = self.node.take_frames();
        assert!(frames.len() <= MAX_FRAMES, "{} frames", frames.len());
        let sent: usize = frames.iter().map(|(_, frame)| frame.len()).sum();
        assert!(sent <= 2 * MAX_ANSWER, "{sent} bytes");
        let own = key(OWN).public().into();
        for (_, frame) in frames {
            let (about, value) = match ConsensusFrame::from_bytes(&frame).expect("a frame") {
                ConsensusFrame::Vote(vote) if vote.message.from == own => {
                    let it = vote.message;
                    (format!("{:?} {} {}", it.kind, it.height, it.round), format!("{:?}", it.value))
                }
                ConsensusFrame::Proposal(proposal, _) if proposal.message.from == own => {
                    let it = proposal.message;
                    (format!("proposal {} {}", it.height, it.round), format!("{:?}", it.value))
                }
                _ => continue,
            };
            let before = self.said.entry(about.clone()).or_insert_with(|| value.clone());
            assert_eq!(*before, value, "{about}");
        }
    }
}

/// Has the validator that lies sign what is in its name.
fn sign(recording: &Recording, frame: &[u8]) -> Vec<u8> {
    let signer = VoteSigner::new(Arc::new(key(LIAR)), recording.genesis.hash());
    let from = signer.public();
    match ConsensusFrame::from_bytes(frame) {
        Some(ConsensusFrame::Vote(mut vote)) => {
            vote.message.from = from;
            ConsensusFrame::Vote(signer.sign_vote(vote.message)).to_bytes()
        }
        Some(ConsensusFrame::Proposal(mut proposal, block)) => {
            proposal.message.from = from;
            if let Some(block) = Block::from_bytes(&block) {
                proposal.message.value = block.hash().into();
            }
            ConsensusFrame::Proposal(signer.sign_proposal(proposal.message), block).to_bytes()
        }
        _ => frame.to_vec(),
    }
}

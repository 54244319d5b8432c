//! A node as a process: the consensus on a thread of its own, because it waits for the disk, and the network on the
//! calling one.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Instant;

use octet_node::key::PrivateKey;
use octet_node::quic::EndpointError;
use redb::backends::FileBackend;
use tokio::sync::oneshot;

use crate::consensus::{ConsensusError, ConsensusNode, ConsensusSettings, Recipient};
use crate::inbox::{BlockRange, HeightTimes, LedgerInbox, LedgerInput};
use crate::net::{LedgerNet, LedgerPeer};
use crate::store::{BlockStore, StoreError, store_file, take_snapshot};

/// The most bytes of blocks and certificates in one answer. One block always fits.
const MAX_ANSWER: usize = 384 << 10;

/// The stack size of the consensus thread, in bytes.
const STACK: usize = 1 << 20;

/// The store of a snapshot that is taken at the next start, in the data folder.
pub const SNAPSHOT: &str = "snapshot";

/// The configuration of a node.
pub struct LedgerConfig {
    pub settings: ConsensusSettings,
    /// The key of the endpoint, and of the validator.
    pub key: Arc<PrivateKey>,
    /// The data folder: `blocks` and `log`.
    pub folder: PathBuf,
    /// Where this node listens.
    pub listen: Vec<SocketAddr>,
    /// The other validators, and followers.
    pub peers: Vec<LedgerPeer>,
    pub inbox: Arc<LedgerInbox>,
}

/// Why a node of a ledger ended.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    #[error("the log or the data folder cannot be opened: {0}")]
    Io(#[from] io::Error),
    #[error("no socket: {0}")]
    Endpoint(#[from] EndpointError),
    #[error("the consensus thread has panicked")]
    Panicked,
}

impl LedgerError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Consensus(error) => error.help(),
            Self::Io(_) => {
                "look whether the disk is full or fails, and whether another process has the folder"
            }
            Self::Endpoint(_) => "look whether another process has the port",
            Self::Panicked => "restart the unit, and report the error",
        }
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Consensus(error.into())
    }
}

/// Runs a node until it is [stopped](LedgerInbox::stop).
///
/// # Errors
/// Something failed. The process must end then: a validator goes on only from what is on its disk.
pub fn run(config: LedgerConfig) -> Result<(), LedgerError> {
    fs::create_dir_all(&config.folder)?;
    let blocks = config.folder.join("blocks");
    take_snapshot(&config.folder.join(SNAPSHOT), &blocks)?;
    let store = store_file(&blocks)?;
    let path = config.folder.join("log");
    let log = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let log = Box::new(FileBackend::new(log).map_err(StoreError::from)?);
    File::open(&config.folder)?.sync_all()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let endpoint = LedgerNet::open(config.key.seed(), &config.listen).await?;
        let net = LedgerNet::new(config.key.public(), &config.peers, config.inbox.clone());
        let (ends, ended) = oneshot::channel();
        let (inbox, sends) = (config.inbox, net.clone());
        let (settings, key) = (config.settings, config.key);
        Builder::new().name("consensus".into()).stack_size(STACK).spawn(move || {
            let clock = Instant::now();
            let opened = ConsensusNode::open(settings, key, store, log, clock.elapsed());
            let ended = opened.and_then(|node| decide(node, &inbox, &sends, clock));
            let _ = ends.send(ended);
        })?;
        tokio::select! {
            ended = ended => {
                // The port is free again when this returns.
                endpoint.close().await;
                ended.map_err(|_| LedgerError::Panicked)?.map_err(LedgerError::from)
            }
            () = net.run(endpoint.clone()) => {
                Err(io::Error::other("the endpoint is closed").into())
            }
        }
    })
}

/// Drives a node until it is stopped.
fn decide(
    mut node: ConsensusNode,
    inbox: &LedgerInbox,
    net: &LedgerNet,
    clock: Instant,
) -> Result<(), ConsensusError> {
    let mut times = None;
    loop {
        for (to, frame) in node.take_frames() {
            match to {
                Recipient::Everyone => net.send_all(&frame),
                Recipient::One(key) => net.send(&key, frame),
            }
        }
        inbox.set_newest(node.state(), times);
        let patience = node.deadline().saturating_sub(clock.elapsed());
        let input = inbox.next(patience);
        let began = node.began().filter(|_| node.is_deciding()).unwrap_or_else(|| clock.elapsed());
        let height = node.state().height();
        let result = match input {
            Some(LedgerInput::Frame(from, frame)) => node.receive(from, &frame, clock.elapsed()),
            // Who submits a transaction that is not valid sees that no block has it.
            Some(LedgerInput::Transaction(it)) => node.submit(*it, clock.elapsed()).map(drop),
            Some(LedgerInput::Blocks(from, answer)) => {
                let range = read_blocks(node.store(), node.state().height(), from)?;
                // Whoever asked may have gone.
                let _ = answer.try_send(range);
                Ok(())
            }
            Some(LedgerInput::Stop) => return Ok(()),
            None => Ok(()),
        };
        let now = clock.elapsed();
        result.and_then(|()| if now >= node.deadline() { node.tick(now) } else { Ok(()) })?;
        if node.state().height() > height {
            let (height, began, decided) = (node.state().height(), clock + began, Instant::now());
            times = Some(HeightTimes { height, began, decided });
        }
    }
}

/// Blocks from the height `from` on, as many as fit into one answer.
fn read_blocks(store: &BlockStore, newest: u64, from: u64) -> Result<BlockRange, ConsensusError> {
    let (mut range, mut size) = (BlockRange { newest, blocks: vec![] }, 0);
    for height in from.max(1)..=newest {
        let Some(stored) = store.block(height)? else { break };
        size += stored.0.len() + stored.1.len();
        if size > MAX_ANSWER && !range.blocks.is_empty() {
            break;
        }
        range.blocks.push((height, stored));
    }
    Ok(range)
}

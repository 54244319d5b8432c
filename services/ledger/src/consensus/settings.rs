//! What a node is started with.

use std::time::Duration;

use arc_malachitebft_core_types::LinearTimeouts;
use octet_coins::Genesis;
use octet_node::limits::Rate;

/// How long a node waits for what others have to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusTimeouts {
    /// For a proposal.
    pub propose: Duration,
    /// For the votes that are missing when two thirds have voted without agreement. In each later round of a height
    /// both are longer by half of it, up to a minute.
    pub vote: Duration,
    /// The interval of telling others the newest height.
    pub status: Duration,
}

impl Default for ConsensusTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { propose: seconds(3), vote: seconds(1), status: seconds(1) }
    }
}

impl ConsensusTimeouts {
    pub(super) fn to_malachite(self) -> LinearTimeouts {
        let delta = self.vote / 2;
        LinearTimeouts {
            propose: self.propose,
            propose_delta: delta,
            prevote: self.vote,
            prevote_delta: delta,
            precommit: self.vote,
            precommit_delta: delta,
            rebroadcast: self.propose + self.vote,
            max_timeout: Duration::from_secs(60).max(self.propose),
        }
    }
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct ConsensusSettings {
    pub genesis: Genesis,
    pub timeouts: ConsensusTimeouts,
    /// Frames of each peer.
    pub frames: Rate,
    /// Requests for blocks of each peer.
    pub fetches: Rate,
    /// How many of the newest blocks are kept; `None`: all.
    pub keep_blocks: Option<u64>,
}

impl ConsensusSettings {
    pub fn new(genesis: Genesis) -> Self {
        let frames = Rate { burst: 2_000, ..Rate::per_second(500) };
        let fetches = Rate { burst: 40, ..Rate::per_second(20) };
        let timeouts = ConsensusTimeouts::default();
        Self { genesis, timeouts, frames, fetches, keep_blocks: None }
    }
}

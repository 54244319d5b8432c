use crate::log::LogError;
use crate::store::StoreError;

/// Why a node of a ledger must end.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the log of height {0} cannot be decoded")]
    LogEntry(u64),
    #[error("two thirds of the validators decided block {0}, which is not valid here")]
    Diverged(u64),
    #[error(
        "a vote for block {0} is signed with this node's own key, and not by it: another unit has the same key, or the data \
         folder is an old copy"
    )]
    KeyElsewhere(u64),
    #[error("the consensus library fails: {0}")]
    Library(String),
    #[error("the node has failed before, and goes on only after a restart")]
    Ended,
}

impl ConsensusError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Log(error) => error.help(),
            Self::Store(error) => error.help(),
            Self::LogEntry(_) => "start the version of the program that wrote the log",
            Self::Diverged(_) => "update: this version has other rules than most validators",
            Self::KeyElsewhere(_) => {
                "stop one of the two, and never copy or restore a data folder; have one make a new key with `octetctl identity revoke \
                 ledger`, and validators vote for it with `octetctl wallet vote-add` (docs/ledger.md)"
            }
            Self::Library(_) => "restart the unit, and report the error",
            Self::Ended => "restart the unit",
        }
    }
}

//! Running nft, the kernel's firewall's own tool. It is a program of Debian's with a C library of its
//! own, so it is run seldom: once to load the rules, and when somebody asks for them.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Where the image has it.
const NFT: &str = "/usr/sbin/nft";

/// How long it may take: long, because the board may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of what it says when it fails, this much is told.
const MOST_SAID: usize = 2000;

/// nft did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It cannot be run.
    #[error("cannot run {NFT}: {0}; `debian` of appliance.toml has to name it")]
    NotRun(io::Error),
    /// It did not come to an end.
    #[error("{NFT} has not ended within {} s", PATIENCE.as_secs())]
    Late,
    /// It refused.
    #[error("{NFT} refused: {0}")]
    Refused(String),
}

/// Runs `commands` as one transaction, and returns what nft says: all of it is done, or nothing.
///
/// # Errors
/// nft or the kernel refuses, or it takes too long. It is killed then; the kernel has taken all of
/// it, or nothing.
pub async fn run(commands: &str) -> Result<String, NftError> {
    let mut nft = Command::new(NFT);
    // As an argument: there is no file to make, and no /dev/stdin.
    nft.arg(commands).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, nft.output()).await.map_err(|_| NftError::Late)?;
    let output = output.map_err(NftError::NotRun)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused(said.chars().take(MOST_SAID).collect()))
}

//! Runs nft, the command of the kernel's firewall. It is a Debian program with a C library of its
//! own, so it is run seldom: to load the rules, and to list them.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::generation::Author;

/// Path of nft in the image.
const NFT: &str = "/usr/sbin/nft";

/// File for texts that nft loads; netd has a private /tmp.
const FILE: &str = "/tmp/rules.nft";

/// How long nft may take. It is long because the board may be busy, and its kernel forwards packets
/// before it runs programs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum length of nft's error output that is reported, in bytes.
const MAX_SAID: usize = 2000;

/// The nft processes that netd has run last.
static OWN: Mutex<Own> = Mutex::const_new(Own(VecDeque::new()));

/// Number of remembered processes: more than can run before the kernel's notification about one of
/// them is read.
const MAX_OWN: usize = 64;

#[derive(Debug)]
struct Own(VecDeque<u32>);

impl Own {
    fn note(&mut self, pid: Option<u32>) {
        self.0.extend(pid);
        while self.0.len() > MAX_OWN {
            self.0.pop_front();
        }
    }
}

/// Whether netd has started the process `author`.
pub async fn is_own(author: &Author) -> bool {
    author.name == "nft" && OWN.lock().await.0.contains(&author.pid)
}

/// nft failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run {NFT}: {0}; `debian` of appliance.toml has to name it")]
    NotRun(io::Error),
    /// The output is not JSON.
    #[error("{NFT} lists no JSON: {0}")]
    NoJson(serde_json::Error),
    /// The file for nft's input cannot be written.
    #[error("cannot write {FILE}: {0}")]
    NoFile(io::Error),
    /// nft has timed out.
    #[error("{NFT} has not ended within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("{NFT} refused: {0}")]
    Refused(String),
}

/// Runs `commands` as one transaction and returns nft's output.
///
/// # Errors
/// nft or the kernel refuses, or nft times out and is killed. In each case the kernel has applied
/// all commands or none.
pub async fn run(commands: &str) -> Result<String, NftError> {
    message(&[commands]).await
}

/// The JSON output of the list command `command` (libnftables-json(5)).
pub async fn json(command: &str) -> Result<Value, NftError> {
    serde_json::from_str(&message(&["-j", command]).await?).map_err(NftError::NoJson)
}

/// As `run`, for a text of any length: an argument of a program has 128 KiB at most (execve(2)).
/// The text is passed in a file, because the unit has no /dev/stdin.
pub async fn load(text: &str) -> Result<(), NftError> {
    std::fs::write(FILE, text).map_err(NftError::NoFile)?;
    message(&["-f", FILE]).await.map(drop)
}

async fn message(arguments: &[&str]) -> Result<String, NftError> {
    let mut nft = Command::new(NFT);
    nft.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    nft.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = nft.spawn().map_err(NftError::NotRun)?;
    OWN.lock().await.note(child.id());
    let output = timeout(TIMEOUT, child.wait_with_output()).await.map_err(|_| NftError::Late)?;
    let output = output.map_err(NftError::NotRun)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused(said.chars().take(MAX_SAID).collect()))
}

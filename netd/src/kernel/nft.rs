//! Running nft, the kernel's firewall's own tool. It is a program of Debian's with a C library of its
//! own, so it is run seldom: once to load the rules, and when somebody asks for them.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::generation::Author;

/// Where the image has it.
const NFT: &str = "/usr/sbin/nft";

/// Where a text for it is; in a /tmp of netd's own.
const FILE: &str = "/tmp/rules.nft";

/// How long it may take: long, because the board may be busy, and its kernel forwards before it lets a
/// program run.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Of what it says when it fails, this much is told.
const MAX_SAID: usize = 2000;

/// Those that netd has run last.
static OWN: Mutex<Own> = Mutex::const_new(Own(VecDeque::new()));

/// As many are known: more than run in the time until the kernel's word about one is read.
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

/// Whether `author` was run by netd.
pub async fn is_own(author: &Author) -> bool {
    author.name == "nft" && OWN.lock().await.0.contains(&author.pid)
}

/// nft did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run {NFT}: {0}; `debian` of appliance.toml has to name it")]
    NotRun(io::Error),
    /// It lists something else than JSON.
    #[error("{NFT} lists no JSON: {0}")]
    NoJson(serde_json::Error),
    /// There is no room for what it is to read.
    #[error("cannot write {FILE}: {0}")]
    NoFile(io::Error),
    /// It did not come to an end.
    #[error("{NFT} has not ended within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("{NFT} refused: {0}")]
    Refused(String),
}

/// Runs `commands` as one transaction, and returns what nft says: all of it is done, or nothing.
///
/// # Errors
/// nft or the kernel refuses, or it takes too long. It is killed then; the kernel has taken all of
/// it, or nothing.
pub async fn run(commands: &str) -> Result<String, NftError> {
    said(&[commands]).await
}

/// What `command` lists, as JSON (libnftables-json(5)).
pub async fn json(command: &str) -> Result<Value, NftError> {
    serde_json::from_str(&said(&["-j", command]).await?).map_err(NftError::NoJson)
}

/// The same for a text of any length: a program's argument has 128 KiB at most (execve(2)). It goes
/// by a file, because there is no /dev/stdin.
pub async fn load(text: &str) -> Result<(), NftError> {
    std::fs::write(FILE, text).map_err(NftError::NoFile)?;
    said(&["-f", FILE]).await.map(drop)
}

async fn said(arguments: &[&str]) -> Result<String, NftError> {
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

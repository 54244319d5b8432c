//! A mailbox, and users with folders of their own. Each command is a separate process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use octet_messenger::boards::{MapBoards, RelayedCommands};
use octet_messenger::mailbox::{Mailbox, MailboxLimits};
use octet_messenger::quic::{self, Served, ServerLimits};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A folder in memory, so that a busy disk does not slow the test.
pub fn new_folder() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

/// A mailbox that serves until it is dropped.
pub struct Site {
    mailbox: Arc<Mutex<Mailbox>>,
    key: PublicKey,
    pub at: SocketAddr,
    runtime: Option<Runtime>,
}

impl Site {
    /// Serves the mailbox in `file` at the address `at`, with the key of `seed`.
    pub fn start(file: &Path, seed: [u8; 32], at: SocketAddr) -> Self {
        let key = PrivateKey::from_seed(seed).unwrap().public();
        let mailbox = Mailbox::open(file, key, MailboxLimits::default()).unwrap();
        let mailbox = Arc::new(Mutex::new(mailbox));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .enable_time()
            .build()
            .unwrap();
        let endpoint = runtime.block_on(quic::open(&seed, &[at])).unwrap();
        let at = endpoint.bound_sockets()[0];
        // No board relays commands.
        let relayed = Arc::new(RelayedCommands::new(MapBoards::default(), Path::new("")));
        let served = Served { mailbox: Arc::clone(&mailbox), relayed };
        runtime.spawn(quic::serve(endpoint, served, ServerLimits::default()));
        Self { mailbox, key, at, runtime: Some(runtime) }
    }

    pub fn name(&self) -> String {
        format!("{}@{}", self.key, self.at)
    }

    /// The number of messages that nobody has fetched.
    pub fn messages(&self) -> u32 {
        let residents = self.mailbox.lock().unwrap().residents().unwrap();
        residents.iter().map(|resident| resident.letters).sum()
    }

    pub fn admit(&self, name: &str) {
        let name = PublicKey::try_from(name.to_owned()).unwrap();
        self.mailbox.lock().unwrap().admit(&name).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Clients are not notified.
        self.runtime.take().unwrap().shutdown_timeout(std::time::Duration::from_secs(5));
    }
}

/// A user with files of their own.
pub struct Person {
    pub folder: PathBuf,
    pub passphrase: PathBuf,
}

impl Person {
    pub fn new(at: &Path, name: &str) -> Self {
        let passphrase = at.join(format!("{name}.passphrase"));
        std::fs::write(&passphrase, format!("the passphrase of {name}\n")).unwrap();
        Self { folder: at.join(name), passphrase }
    }

    /// Runs `init`; the mailbox accepts the user only after its owner has admitted them. Returns
    /// the public key.
    pub fn join(&self, site: &Site) -> String {
        let output = self.run(&["init", "--mailbox", &site.name()]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains("octetctl messenger admit"), "{complaint}");
        let said = String::from_utf8(output.stdout).unwrap();
        let name = said.lines().next().unwrap().strip_prefix("you are ").unwrap().to_owned();
        site.admit(&name);
        assert_eq!(self.say(&["receive"]), "");
        name
    }

    /// The command with this user's files.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octet-msg"));
        command.arg("--folder").arg(&self.folder);
        command.arg("--passphrase-file").arg(&self.passphrase).args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The output of a command that must succeed without warnings.
    pub fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8(output.stdout).unwrap();
        let complained = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && complained.is_empty(), "{words:?}: {complained}");
        said
    }

    pub fn complain(&self, words: &[&str]) -> String {
        String::from_utf8(self.run(words).stderr).unwrap()
    }

    /// The error of a command that must fail.
    pub fn refuse(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success() && output.stdout.is_empty(), "{words:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The part of each line after the time.
pub fn lines(said: &str) -> Vec<&str> {
    said.lines().map(|line| line.split_once(' ').unwrap().1).collect()
}

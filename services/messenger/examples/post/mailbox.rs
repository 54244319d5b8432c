//! A mailbox in a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use octet_messages::mailbox_address::MailboxAddress;
use octet_messenger::{MessengerConfig, run as run_messenger};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::{Callers, Peer};
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use serde_json::{Value, json};

use super::{Failed, TIMEOUT};

/// The argument that makes a process run a mailbox.
pub const ROLE: &str = "mailbox";

/// The names of the service's control socket and of identity's socket, in the folder.
const SOCKET: &str = "messenger.sock";
const IDENTITY: &str = "identity.sock";

/// The name of the data folder, in the folder.
const STATE: &str = "state";

/// Runs the mailbox in `folder`.
pub fn run(folder: &Path) -> Result<Value, Failed> {
    // Ends this process when its parent dies, for whatever reason.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parts = MessengerConfig {
        folder: Some(folder.join(STATE)),
        sockets: folder.to_owned(),
        control: UnixListener::bind(folder.join(SOCKET))?,
        callers: Callers::parse(&format!("{}=status,admit", geteuid().as_raw()))
            .unwrap_or_default(),
        addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        board_port: 0,
    };
    run_messenger(parts, || Ok(()))?;
    Ok(Value::Null)
}

/// A process that runs a mailbox.
pub struct Mailbox {
    child: Child,
    folder: PathBuf,
    pub place: MailboxAddress,
}

impl Mailbox {
    /// Starts a mailbox in `folder`, and waits until it is reachable.
    pub fn start(folder: &Path) -> Result<Self, Failed> {
        fs::create_dir_all(folder.join(STATE))?;
        identity(&folder.join(IDENTITY))?;
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(ROLE).arg(folder).stdout(Stdio::null()).spawn()?;
        let (place, folder) = (
            MailboxAddress { mailbox: PublicKey::new([0; 32]), addresses: vec![] },
            folder.to_owned(),
        );
        let mut mailbox = Self { child, folder, place };
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let status = mailbox.ask("status", &json!({})).unwrap_or_default();
            if !status["mailbox"].is_null() {
                mailbox.place.mailbox = serde_json::from_value(status["mailbox"].clone())?;
                mailbox.place.addresses = serde_json::from_value(status["at"].clone())?;
                return Ok(mailbox);
            }
            if Instant::now() > deadline {
                return Err(format!("the mailbox is not reached: {status:#}").into());
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Makes a mailbox for `name`.
    pub fn admit(&self, name: PublicKey) -> Result<(), Failed> {
        self.ask("admit", &json!({ "name": name }))?;
        Ok(())
    }

    fn ask(&self, verb: &str, args: &Value) -> Result<Value, Failed> {
        let mut client = Client::connect(&self.folder.join(SOCKET))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        Ok(client.call(verb, args.as_object().cloned().unwrap_or_default())?)
    }

    /// The resident memory of the process, in bytes (`VmRSS` of proc_pid_status(5)).
    pub fn resident(&self) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.ok_or("the kernel does not say it")?.trim().parse::<u64>()? << 10)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Simulates identity at `socket`: it certifies any requested key.
fn identity(socket: &Path) -> Result<(), Failed> {
    let (listener, node) = (UnixListener::bind(socket)?, PrivateKey::generate()?);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let Ok(Some(request)) = peer.next_request() else { continue };
            let key = request.args["key"].as_str().and_then(|key| key.parse().ok());
            let (Some(key), Ok(unit)) = (key, "messenger".parse()) else { continue };
            let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 1 };
            let Ok(certificate) = Certificate::sign(statement, &node) else { continue };
            if peer.item(request.id, json!(certificate)).is_ok() {
                // The connection stays open until the service ends.
                let _ = peer.next_request();
            }
        }
    });
    Ok(())
}

//! The unit: runs a node of the ledger in `[ledger]` while the settings name one, and serves the verbs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{ExitCode, exit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use octet_coins::{BlockHash, Genesis, Possession};
use octet_node::control::{PublicKey, SOCKETS};
use octet_node::key::PrivateKey;
use octet_node::serve::threads;
use octet_node::settings::Which;
use octet_node::sub_key::{self, KeyUpdate};
use octet_node::{Callers, notify_ready, say};

use crate::consensus::ConsensusSettings;
use crate::inbox::LedgerInbox;
use crate::run::{LedgerConfig, run};
use crate::settings::LedgerSettings;
use crate::verbs;

/// The UDP port, as in `unit.toml`.
const PORT: u16 = 4435;

/// The stack size of the thread that runs the node, in bytes.
const STACK: usize = 1 << 20;

/// The configuration of the unit.
pub struct LedgerUnitConfig {
    /// The settings in force.
    pub settings: Option<LedgerSettings>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The data folder of this unit.
    pub folder: PathBuf,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    /// Where the node listens.
    pub listen: Vec<SocketAddr>,
}

/// What the threads of this unit share.
pub struct SharedLedger {
    state: Mutex<UnitState>,
    /// Signals other settings, and another key.
    changed: Condvar,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The data folder of this unit.
    folder: PathBuf,
}

#[derive(Default)]
struct UnitState {
    settings: Option<LedgerSettings>,
    key: Option<Arc<PrivateKey>>,
    /// The node that runs.
    inbox: Option<Arc<LedgerInbox>>,
}

impl SharedLedger {
    fn state(&self) -> MutexGuard<'_, UnitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn settings(&self) -> Option<LedgerSettings> {
        self.state().settings.clone()
    }

    /// The key of this node on ledgers; `None` until it is certified.
    pub fn key(&self) -> Option<PublicKey> {
        self.state().key.as_ref().map(|key| key.public())
    }

    /// The key's consent to be the validator of `owner` on the ledger with this genesis; `None` without a key.
    pub fn consent(
        &self,
        genesis: &BlockHash,
        owner: &PublicKey,
        epoch: u64,
    ) -> Option<Possession> {
        let state = self.state();
        let key = state.key.as_ref()?;
        Some(Possession::of_validator(genesis, owner, epoch, key))
    }

    /// The node that runs.
    pub fn inbox(&self) -> Option<Arc<LedgerInbox>> {
        self.state().inbox.clone()
    }

    /// Takes other settings: the node ends, and one with these begins.
    pub fn set_settings(&self, settings: Option<LedgerSettings>) {
        let mut state = self.state();
        if state.settings != settings {
            state.settings = settings;
            self.restart(state);
        }
    }

    /// The data folder of the ledger with this genesis: each ledger has one of its own.
    pub fn folder_of(&self, genesis: &Genesis) -> PathBuf {
        self.folder.join(genesis.hash().to_string())
    }

    /// Ends the node, and begins it anew from its disk.
    pub fn begin_anew(&self) {
        self.restart(self.state());
    }

    fn set_key(&self, key: Arc<PrivateKey>) {
        let mut state = self.state();
        if state.key.as_ref().map(|key| key.public()) != Some(key.public()) {
            state.key = Some(key);
            self.restart(state);
        }
    }

    fn restart(&self, mut state: MutexGuard<'_, UnitState>) {
        if let Some(inbox) = state.inbox.take() {
            inbox.stop();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until there are settings and a key. Returns the configuration of the node that runs from now on.
    fn next(&self, listen: &[SocketAddr]) -> LedgerConfig {
        let is_waiting = |state: &mut UnitState| state.settings.is_none() || state.key.is_none();
        loop {
            let waited = self.changed.wait_while(self.state(), is_waiting);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let UnitState { settings: Some(settings), key: Some(key), .. } = &*state else {
                continue;
            };
            let config = LedgerConfig {
                settings: ConsensusSettings {
                    keep_blocks: settings.keep_blocks,
                    ..ConsensusSettings::new(settings.genesis.clone())
                },
                key: Arc::clone(key),
                folder: self.folder_of(&settings.genesis),
                listen: listen.to_vec(),
                peers: settings.peers.clone(),
                inbox: Arc::default(),
            };
            state.inbox = Some(Arc::clone(&config.inbox));
            return config;
        }
    }
}

/// Runs the unit, with what PID 1 passes to it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given| {
        let sockets = PathBuf::from(SOCKETS);
        let settings = LedgerSettings::read(&sockets, Which::InForce).map_err(io::Error::other)?;
        let folder = given.state.take();
        let folder = folder.ok_or_else(|| io::Error::other("PID 1 has given no data folder"))?;
        let any = [(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()];
        let config = LedgerUnitConfig {
            settings,
            sockets,
            folder,
            control: given.socket("control")?,
            callers: given.callers,
            listen: any.into(),
        };
        serve(config, notify_ready)
    })
}

/// Serves forever. `ready` is called once the socket accepts calls.
///
/// # Errors
/// The kernel refuses a thread or the socket.
pub fn serve(config: LedgerUnitConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let LedgerUnitConfig { settings, sockets, folder, control, callers, listen } = config;
    let shared = Arc::new(SharedLedger {
        state: Mutex::new(UnitState { settings, ..UnitState::default() }),
        changed: Condvar::new(),
        sockets: sockets.clone(),
        folder: folder.clone(),
    });
    let keyed = Arc::clone(&shared);
    sub_key::keep(Some(folder), sockets.join("identity.sock"), move |update| match update {
        KeyUpdate::Certified(certified) => keyed.set_key(certified.key),
        KeyUpdate::NotCertified(why) => say!("this service's key is not certified: {why}"),
    })?;
    let running = Arc::clone(&shared);
    let node = move || {
        loop {
            if let Err(error) = run(running.next(&listen)) {
                say!("the node has failed: {error} ({})", error.help());
                // What is on its disk is right; what is in memory may not be.
                exit(1);
            }
        }
    };
    Builder::new().name("node".into()).stack_size(STACK).spawn(node)?;
    ready()?;
    let Err(error) = threads::serve(&control, &callers, verbs::LIMITS, verbs::verbs(), shared);
    Err(error)
}

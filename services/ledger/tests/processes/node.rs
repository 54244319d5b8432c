//! A process that is a node of a ledger: this program again, with an environment variable.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use data_encoding::HEXLOWER;
use octet_coins::{
    Action, Genesis, LedgerParameters, LedgerState, SignedTransaction, Transaction, Validator,
};
use octet_ledger::consensus::{ConsensusSettings, ConsensusTimeouts};
use octet_ledger::inbox::LedgerInbox;
use octet_ledger::net::LedgerPeer;
use octet_ledger::{LedgerConfig, run};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use tempfile::TempDir;

/// After this time a test hangs.
pub const HANG: Duration = Duration::from_secs(180);

const CHILD: &str = "OCTET_LEDGER_NODE";

fn key(of: u8, at: u8) -> PrivateKey {
    let mut seed = [of; 32];
    seed[0] = at;
    PrivateKey::from_seed(seed).unwrap()
}

/// The key of an owner with coins.
pub fn owner(at: u8) -> PrivateKey {
    key(9, at)
}

/// The key of a peer that is in the test itself, and follows.
pub fn observer() -> PrivateKey {
    key(3, 0)
}

pub fn validator(at: usize) -> PublicKey {
    key(1, at as u8).public()
}

/// So many owners have coins.
pub const OWNERS: u8 = 3;

/// What each has at first.
pub const BALANCE: u64 = 1 << 40;

/// For so many heights, claims with a closed key are taken.
pub const CLAIM_HEIGHTS: u64 = 100;

pub fn genesis() -> Genesis {
    let validator = |at| Validator { owner: key(2, at).public(), key: key(1, at).public() };
    let balances = (0..OWNERS).map(|at| (owner(at).public(), BALANCE)).collect();
    let parameters = LedgerParameters {
        spacing: Duration::ZERO,
        claim_heights: CLAIM_HEIGHTS,
        ..LedgerParameters::with_spacing(Duration::from_secs(1))
    };
    Genesis::new("processes", (0..4).map(validator).collect(), balances, parameters).unwrap()
}

/// A transaction of an owner.
pub fn order(at: u8, nonce: u64, action: Action) -> SignedTransaction {
    sign(&owner(at), nonce, action)
}

pub fn sign(key: &PrivateKey, nonce: u64, action: Action) -> SignedTransaction {
    let transaction = Transaction { signer: key.public(), nonce, action };
    SignedTransaction::sign(transaction, &genesis().hash(), key)
}

/// What the newest block of a process says.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeState {
    pub height: u64,
    /// The nonce and the balance of each owner.
    pub accounts: [(u64, u64); OWNERS as usize],
}

impl NodeState {
    fn of(state: &LedgerState) -> Self {
        let accounts = std::array::from_fn(|at| {
            let account = state.account(&owner(at as u8).public()).unwrap_or_default();
            (account.nonce, account.balance)
        });
        Self { height: state.height(), accounts }
    }

    fn print(&self) {
        let numbers = self.accounts.iter().flat_map(|(nonce, balance)| [*nonce, *balance]);
        let words: Vec<_> = numbers.map(|number| number.to_string()).collect();
        println!("state {} {}", self.height, words.join(" "));
    }

    fn parse(line: &str) -> Option<Self> {
        let numbers = line.strip_prefix("state ")?.split(' ').map(|word| word.parse().ok());
        let [height, accounts @ ..] = &numbers.collect::<Option<Vec<u64>>>()?[..] else {
            return None;
        };
        let (pairs, []) = accounts.as_chunks::<2>() else { return None };
        let accounts: Vec<_> = pairs.iter().map(|[nonce, balance]| (*nonce, *balance)).collect();
        Some(Self { height: *height, accounts: accounts.try_into().ok()? })
    }
}

/// The child: it takes transactions on its standard input, and prints the state after each block.
#[test]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let mut parts = arguments.splitn(7, ',');
    let mut next = || parts.next().unwrap().to_owned();
    let at: u8 = next().parse().unwrap();
    let listen = next().parse().unwrap();
    // A dash: the other one connects.
    let addresses = [(); 4].map(|()| next().parse::<SocketAddr>().ok());
    let folder = PathBuf::from(next());
    let inbox = Arc::new(LedgerInbox::default());
    let requests = inbox.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let bytes = HEXLOWER.decode(line.unwrap().as_bytes()).unwrap();
            assert!(requests.submit(SignedTransaction::from_bytes(&bytes).unwrap()));
        }
        std::process::exit(0);
    });
    let watched = inbox.clone();
    std::thread::spawn(move || {
        let mut height = 0;
        loop {
            let Some(state) = watched.newest_after(height, HANG) else { continue };
            height = state.height();
            NodeState::of(&state).print();
        }
    });
    let mut settings = ConsensusSettings::new(genesis());
    settings.timeouts = ConsensusTimeouts {
        propose: Duration::from_millis(1000),
        vote: Duration::from_millis(300),
        status: Duration::from_millis(200),
    };
    let peers = addresses.into_iter().enumerate();
    let peers = peers.map(|(at, address)| LedgerPeer { key: validator(at), address });
    let observer = LedgerPeer { key: observer().public(), address: None };
    let config = LedgerConfig {
        settings,
        key: Arc::new(key(1, at)),
        folder,
        listen: vec![listen],
        peers: peers.chain([observer]).collect(),
        inbox,
    };
    let error = run(config).unwrap_err();
    panic!("{error}: {}", error.help());
}

/// A free port on loopback.
pub const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub const V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

struct Process {
    child: Child,
    input: ChildStdin,
    state: NodeState,
}

/// Four processes.
pub struct Nodes {
    folder: TempDir,
    /// Where each listens.
    pub listen: [SocketAddr; 4],
    /// To which addresses each connects; `None` if the other one connects.
    pub peers: [[Option<SocketAddr>; 4]; 4],
    processes: [Option<Process>; 4],
    /// How often each was started: lines of earlier processes are of no use.
    starts: [u32; 4],
    lines: Receiver<(usize, u32, String)>,
    sender: Sender<(usize, u32, String)>,
}

impl Nodes {
    /// Chooses ports, and starts nothing.
    pub fn at(addresses: [SocketAddr; 4]) -> Self {
        // Ports that were free a moment ago.
        let sockets = addresses.map(|address| UdpSocket::bind(address).unwrap());
        let listen = sockets.map(|socket| socket.local_addr().unwrap());
        let (sender, lines) = channel();
        let (folder, processes) = (TempDir::new().unwrap(), [const { None }; 4]);
        let (peers, starts) = ([listen.map(Some); 4], [0; 4]);
        Self { folder, listen, peers, processes, starts, lines, sender }
    }

    pub fn start() -> Self {
        let mut nodes = Self::at([V4; 4]);
        (0..4).for_each(|at| nodes.spawn(at));
        nodes
    }

    pub fn folder(&self, at: usize) -> PathBuf {
        self.folder.path().join(at.to_string())
    }

    pub fn spawn(&mut self, at: usize) {
        let address = |it: Option<SocketAddr>| it.map_or("-".to_owned(), |it| it.to_string());
        let (listen, peers) = (self.listen[at], self.peers[at].map(address).join(","));
        let arguments = format!("{at},{listen},{peers},{}", self.folder(at).display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node::child", "--nocapture"])
            .env(CHILD, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.starts[at] += 1;
        let (sender, start) = (self.sender.clone(), self.starts[at]);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send((at, start, line));
            }
        });
        self.processes[at] = Some(Process { child, input, state: NodeState::default() });
    }

    /// SIGKILL.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.processes[at].take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Gives a transaction to all that run.
    pub fn submit(&mut self, transaction: &SignedTransaction) {
        for process in self.processes.iter_mut().flatten() {
            writeln!(process.input, "{}", HEXLOWER.encode(&transaction.to_bytes())).unwrap();
        }
    }

    /// The first owner pays a unit to somebody without an account.
    pub fn pay(&mut self, nonce: u64) {
        let action = Action::Transfer { to: key(9, OWNERS).public(), amount: 1 };
        self.submit(&order(0, nonce, action));
    }

    /// Waits until the states of all that run are so.
    pub fn wait_until(&mut self, is_so: impl Fn(&NodeState) -> bool) {
        while !self.states().all(&is_so) {
            let line = self.lines.recv_timeout(HANG).unwrap();
            self.read(line);
        }
    }

    /// Waits until all that run have so many transactions of the first owner.
    pub fn wait_for(&mut self, transactions: u64) {
        self.wait_until(|state| state.accounts[0].0 >= transactions);
    }

    /// The states of all that run, with all that they have printed so far.
    pub fn newest(&mut self) -> Vec<NodeState> {
        while let Ok(line) = self.lines.try_recv() {
            self.read(line);
        }
        self.states().copied().collect()
    }

    fn states(&self) -> impl Iterator<Item = &NodeState> {
        self.processes.iter().flatten().map(|process| &process.state)
    }

    fn read(&mut self, (at, start, line): (usize, u32, String)) {
        let is_newest = start == self.starts[at];
        if let (Some(state), Some(process), true) =
            (NodeState::parse(&line), &mut self.processes[at], is_newest)
        {
            process.state = state;
        }
    }

    pub fn height(&self) -> u64 {
        self.states().map(|state| state.height).max().unwrap()
    }

    pub fn process(&self, at: usize) -> u32 {
        self.processes[at].as_ref().unwrap().child.id()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..4).for_each(|at| self.kill(at));
    }
}

/// A number of `/proc`.
pub fn number_of(process: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

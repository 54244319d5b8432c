//! A process that is a node of a ledger: this program again, with an environment variable.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use octet_coins::{Action, Genesis, LedgerParameters, SignedTransaction, Transaction, Validator};
use octet_ledger::consensus::{ConsensusSettings, ConsensusTimeouts};
use octet_ledger::inbox::LedgerInbox;
use octet_ledger::net::LedgerPeer;
use octet_ledger::{LedgerConfig, run};
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

fn owner() -> PrivateKey {
    key(9, 0)
}

pub fn genesis() -> Genesis {
    let validator = |at| Validator { owner: key(2, at).public(), key: key(1, at).public() };
    let balances = [(owner().public(), 1 << 50)].into();
    let seconds = LedgerParameters::with_spacing(Duration::from_secs(1));
    let parameters = LedgerParameters { spacing: Duration::ZERO, ..seconds };
    Genesis::new("processes", (0..4).map(validator).collect(), balances, parameters).unwrap()
}

fn payment(nonce: u64) -> SignedTransaction {
    let action = Action::Transfer { to: key(9, 1).public(), amount: 1 };
    let transaction = Transaction { signer: owner().public(), nonce, action };
    SignedTransaction::sign(transaction, &genesis().hash(), &owner())
}

/// The child: it takes numbers of transactions on its standard input, and prints how many are decided.
#[test]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let mut parts = arguments.splitn(6, ',');
    let mut next = || parts.next().unwrap().to_owned();
    let at: u8 = next().parse().unwrap();
    let ports: Vec<u16> = (0..4).map(|_| next().parse().unwrap()).collect();
    let folder = PathBuf::from(next());
    let address = |at: u8| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[usize::from(at)]));
    let inbox = Arc::new(LedgerInbox::default());
    let requests = inbox.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            assert!(requests.submit(payment(line.unwrap().parse().unwrap())));
        }
        std::process::exit(0);
    });
    let watched = inbox.clone();
    std::thread::spawn(move || {
        let (mut paid, mut height) = (0u64, 0);
        loop {
            let Some(state) = watched.newest_after(height, HANG) else { continue };
            height = state.height();
            paid = state.account(&owner().public()).map_or(paid, |account| account.nonce);
            println!("paid {paid} {height}");
        }
    });
    let mut settings = ConsensusSettings::new(genesis());
    settings.timeouts = ConsensusTimeouts {
        propose: Duration::from_millis(1000),
        vote: Duration::from_millis(300),
        status: Duration::from_millis(200),
    };
    let peers =
        (0..4).map(|at| LedgerPeer { key: key(1, at).public(), address: Some(address(at)) });
    let config = LedgerConfig {
        settings,
        key: Arc::new(key(1, at)),
        folder,
        listen: vec![address(at)],
        peers: peers.collect(),
        inbox,
    };
    let error = run(config).unwrap_err();
    panic!("{error}: {}", error.help());
}

struct Process {
    child: Child,
    input: ChildStdin,
    /// How many transactions it has, and the height.
    state: (usize, u64),
}

/// Four processes.
pub struct Nodes {
    folder: TempDir,
    ports: [u16; 4],
    processes: [Option<Process>; 4],
    /// How often each was started: lines of earlier processes are of no use.
    starts: [u32; 4],
    lines: Receiver<(usize, u32, String)>,
    sender: Sender<(usize, u32, String)>,
}

impl Nodes {
    pub fn start() -> Self {
        // Ports that were free a moment ago.
        let sockets = [(); 4].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
        let (sender, lines) = channel();
        let processes = [const { None }; 4];
        let folder = TempDir::new().unwrap();
        let mut nodes = Self { folder, ports, processes, starts: [0; 4], lines, sender };
        (0..4).for_each(|at| nodes.spawn(at));
        nodes
    }

    pub fn folder(&self, at: usize) -> PathBuf {
        self.folder.path().join(at.to_string())
    }

    pub fn spawn(&mut self, at: usize) {
        let [a, b, c, d] = self.ports;
        let folder = self.folder(at);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node::child", "--nocapture"])
            .env(CHILD, format!("{at},{a},{b},{c},{d},{}", folder.display()))
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
        self.processes[at] = Some(Process { child, input, state: (0, 0) });
    }

    /// SIGKILL.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut process) = self.processes[at].take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Gives a transaction to all that run.
    pub fn pay(&mut self, number: u64) {
        for process in self.processes.iter_mut().flatten() {
            writeln!(process.input, "{number}").unwrap();
        }
    }

    /// Waits until all that run have so many transactions.
    pub fn wait_for(&mut self, transactions: usize) {
        let running = |nodes: &Self| nodes.processes.iter().flatten().map(|it| it.state.0).min();
        while running(self) < Some(transactions) {
            let (at, start, line) = self.lines.recv_timeout(HANG).unwrap();
            let mut words = line.split_whitespace();
            let is_newest = start == self.starts[at];
            if let (Some("paid"), Some(process), true) =
                (words.next(), &mut self.processes[at], is_newest)
            {
                let mut number = || words.next().unwrap().parse::<u64>().unwrap();
                process.state = (number() as usize, number());
            }
        }
    }

    pub fn height(&self) -> u64 {
        self.processes.iter().flatten().map(|it| it.state.1).max().unwrap()
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

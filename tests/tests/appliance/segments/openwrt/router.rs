//! A router that does not run Octet as a guest: its own userland on Octet's kernel, with its wires
//! and its console in the test.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use octet_machine::Machine;
use octet_machine::panel::{Host, Mac, Patch, Port};
use octet_tests::{RETRY_DELAY, SOON, double_root, router_initrd, shipped};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The environment variable with the path of an OpenWrt root file system (`cargo image test
/// --openwrt`); without it the double is used.
const ROOT: &str = "OCTET_OPENWRT_ROOT";

/// The names of its cards. The switch has the MAC address of the first one.
const CARDS: [&str; 9] = ["lan1", "lan2", "lan3", "lan4", "lan5", "lan6", "lan7", "lan8", "wan"];

/// Its memory, in MiB.
const MEMORY: u32 = 256;

/// An end of the cable of a card, by its index: at the router, or at the other host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Jack {
    Router(usize),
    Other(usize),
}

pub struct Router {
    /// Whether it is the double.
    pub is_double: bool,
    machine: Machine,
    panel: Patch<Jack>,
    console: RefCell<BufReader<UnixStream>>,
    _folder: TempDir,
}

impl Router {
    /// Starts it, and waits until its console answers.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = std::env::var_os(ROOT).map(PathBuf::from).unwrap_or_else(|| {
            let root = folder.path().join("root.tar.gz");
            double_root(&shipped(), &root);
            root
        });
        let initrd = folder.path().join("initrd");
        let first = router_initrd(&shipped(), &root, &initrd);
        let builder = shipped().machine_with(&initrd).memory(MEMORY);
        let builder = builder.kernel_argument(&format!("rdinit={first}"));
        let builder = builder.kernel_argument(&format!("octet.cards={}", CARDS.join(",")));
        let cards = 0..CARDS.len() as u8;
        let machine = cards.fold(builder, |it, card| it.nic(mac(card))).start().unwrap();
        let console = UnixStream::connect(machine.control_path()).unwrap();
        console.set_read_timeout(Some(SOON)).unwrap();
        let console = RefCell::new(BufReader::new(console));
        let panel = Patch::default();
        for card in 0..CARDS.len() {
            panel.insert(Jack::Router(card), machine.port(card).unwrap());
            panel.plug(Jack::Router(card), Jack::Other(card));
        }
        let router = Self { is_double: false, machine, panel, console, _folder: folder };
        let is_double = router.paste("[ ! -x /sbin/pass ] || echo double").contains("double");
        Self { is_double, ..router }
    }

    /// Runs the pasted text in its shell, which must succeed. Returns the output.
    pub fn paste(&self, text: &str) -> String {
        let mut console = self.console.borrow_mut();
        console.get_mut().write_all(format!("{}\n", json!(text)).as_bytes()).unwrap();
        let mut line = String::new();
        if let Err(error) = console.read_line(&mut line) {
            panic!("late: the router's console: {error}\n{}", self.machine.tail(40));
        }
        let answer: Value = serde_json::from_str(&line).unwrap();
        let said = answer["said"].as_str().unwrap().to_owned();
        assert_eq!(answer["status"], 0, "{text}\n{said}\n{}", self.machine.tail(40));
        said
    }

    /// Pastes `text` repeatedly until `is_it` is true for the output.
    pub fn paste_until(&self, text: &str, is_it: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + SOON;
        loop {
            let said = self.paste(text);
            if is_it(&said) {
                return said;
            }
            assert!(Instant::now() < until, "late: {text}: {said}");
            std::thread::sleep(RETRY_DELAY);
        }
    }

    /// Connects the test to this card, in place of the previous host.
    pub fn port(&self, card: &str) -> Port {
        let (own, port) = Port::pair().unwrap();
        self.plug(card, port);
        own
    }

    /// Connects a host to this card, in place of the previous one.
    pub fn plug(&self, card: &str, port: Port) {
        self.panel.insert(Jack::Other(index(card)), port);
    }

    /// The MAC addresses of its switch and of the uplink's card.
    pub fn macs(&self) -> (Mac, Mac) {
        (mac(0), mac(index("wan") as u8))
    }

    /// A host at this card, and the address at which programs of this computer reach the router's
    /// web server.
    pub fn owner(&self, card: &str, own: Ipv4Addr, router: Ipv4Addr) -> (Host, SocketAddr) {
        let number = 220 + index(card) as u8;
        let host = Host::start(self.port(card), Mac::number(number), &[(own.into(), 24)]);
        let web = host.forward_tcp((router, 443).into()).unwrap();
        (host, web)
    }

    /// The sections of this file that the owner has written.
    pub fn owners(&self, config: &str) -> BTreeSet<String> {
        let text = self.paste(&format!("uci export {config}"));
        let sections = text.split("\nconfig ").skip(1).map(|it| it.trim().to_owned());
        sections.filter(|it| !it.lines().next().is_some_and(|it| it.contains(" 'octet_"))).collect()
    }

    /// The number of sections of this file that `octetctl` has written.
    pub fn ours(&self, config: &str) -> usize {
        let text = self.paste(&format!("uci export {config}"));
        let names = text.lines().filter(|it| it.starts_with("config "));
        names.filter(|it| it.contains(" 'octet_")).count()
    }

    pub fn tail(&self) -> String {
        self.machine.tail(40).to_string()
    }
}

fn index(card: &str) -> usize {
    CARDS.iter().position(|it| *it == card).unwrap()
}

fn mac(card: u8) -> Mac {
    Mac::number(100 + card)
}

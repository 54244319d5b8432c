//! A payer and a payee, and doubles of what they call.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use octet_accounts::settings::{NeighbourPrices, PriceRange, Settings};
use octet_accounts::{AccountsConfig, LedgerOfReceipts, run};
use octet_appliance::{AccountsSection, MaxLoss};
use octet_as_pid_1::{TIMEOUT, wait_until};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::{Callers, Peer};
use octet_receipts::ServiceKind;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The smallest window, in bytes.
pub const WINDOW: u64 = 1 << 20;

pub const PRICE: u64 = 1 << 30;

/// The price of objects.
pub const OBJECT_PRICE: u64 = 2 << 30;

/// Whether a double answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answers {
    #[default]
    Always,
    /// It closes each connection.
    Never,
    /// It reads one more call, and is silent from then on.
    Hangs,
}

/// What a double counts for its one neighbour.
#[derive(Debug, Default)]
pub struct Counted {
    pub bought: u64,
    pub served: u64,
    pub limit: Option<u64>,
    /// How often the traffic was asked for.
    pub asked: u64,
    pub answers: Answers,
}

/// What the doubles of `forward` and `cache` know of their neighbour.
#[derive(Debug, Default)]
pub struct Link {
    pub carriage: Counted,
    pub objects: Counted,
    /// What `forward` has measured of the link, in kbit/s.
    pub kilobits: u64,
    /// Messages for `accounts`, at `forward`.
    pub waiting: Vec<Value>,
}

impl Link {
    pub fn of(&mut self, kind: ServiceKind) -> &mut Counted {
        match kind {
            ServiceKind::Carriage => &mut self.carriage,
            ServiceKind::Objects => &mut self.objects,
        }
    }
}

pub type SharedLink = Arc<Mutex<Link>>;

/// Serves as `forward` or `cache`: messages to the neighbour wait at `other`.
fn meter(
    kind: ServiceKind,
    folder: &Path,
    nodes: (PublicKey, PublicKey),
    own: &SharedLink,
    other: &SharedLink,
) {
    let name = if kind == ServiceKind::Carriage { "forward" } else { "cache" };
    let listener = UnixListener::bind(folder.join(format!("{name}.sock"))).unwrap();
    let (own, other) = (Arc::clone(own), Arc::clone(other));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            while let Ok(Some(request)) = peer.next_request() {
                // Whether it answers, and with which numbers, is decided at one moment.
                let mut link = own.lock().unwrap();
                let kilobits = link.kilobits;
                let counted = link.of(kind);
                counted.asked += u64::from(request.verb == "traffic");
                let Counted { bought, served, limit, answers, .. } = *counted;
                drop(link);
                match answers {
                    Answers::Always => {}
                    Answers::Never => break,
                    Answers::Hangs => loop {
                        thread::park();
                    },
                }
                let answer = match (request.verb.as_str(), kind) {
                    ("traffic", _) => {
                        let mut row = json!({
                            "bought": bought, "served": served, "limit": limit, "node": nodes.1,
                            "epoch": "00112233445566778899aabbccddeeff",
                        });
                        if kind == ServiceKind::Carriage {
                            row["neighbour"] = json!("other");
                            row["link"] = json!("fl101");
                            row["kilobits"] = json!(kilobits);
                        }
                        json!([row])
                    }
                    ("account-receive", ServiceKind::Carriage) => {
                        json!(std::mem::take(&mut own.lock().unwrap().waiting))
                    }
                    ("account-send", ServiceKind::Carriage) => {
                        let message = &request.args["message"];
                        assert_eq!(request.args["node"], json!(nodes.1));
                        let row = json!({ "node": nodes.0, "message": message });
                        other.lock().unwrap().waiting.push(row);
                        Value::Null
                    }
                    ("account-limit", _) => {
                        own.lock().unwrap().of(kind).limit =
                            request.args.get("served").and_then(Value::as_u64);
                        Value::Null
                    }
                    (verb, _) => panic!("{verb}"),
                };
                peer.end(request.id, Ok(answer)).unwrap();
            }
        }
    });
}

/// Serves as `identity`, which certifies the key of `unit`.
pub fn identity(folder: &Path, node: Arc<PrivateKey>, unit: &'static str) {
    let listener = UnixListener::bind(folder.join("identity.sock")).unwrap();
    thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut peer = Peer::new(stream);
        let request = peer.next_request().unwrap().unwrap();
        let key = request.args["key"].as_str().unwrap().parse().unwrap();
        let unit = unit.parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 1 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        peer.item(request.id, json!(certificate)).unwrap();
        // It certifies the key as long as it is connected.
        let _ = peer.next_request();
    });
}

pub struct Accounts {
    pub folder: TempDir,
    pub link: SharedLink,
}

impl Accounts {
    pub fn connect(&self) -> Client<UnixStream> {
        let client = Client::connect(&self.folder.path().join("accounts.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    pub fn call(&self, verb: &str, args: Value) -> Result<Value, String> {
        let args: Map<_, _> = args.as_object().unwrap().clone();
        self.connect().call(verb, args).map_err(|error| error.to_string())
    }

    /// A value of the account of carriage.
    pub fn shown(&self, key: &str) -> Value {
        self.shown_of(ServiceKind::Carriage, key)
    }

    /// A value of the account of a kind; null without one.
    pub fn shown_of(&self, kind: ServiceKind, key: &str) -> Value {
        let rows = self.call("show", json!({})).unwrap();
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["kind"] == kind.as_str()).map_or(Value::Null, |row| row[key].clone())
    }

    /// The unit does so many more rounds. The one that is under way may have begun with what it knew before.
    pub fn wait_for_rounds(&self, rounds: u64) {
        let asked = || self.link.lock().unwrap().carriage.asked;
        let end = asked() + rounds + 1;
        wait_until("it does rounds", || asked() >= end);
    }

    pub fn limit(&self) -> Option<u64> {
        self.limit_of(ServiceKind::Carriage)
    }

    pub fn limit_of(&self, kind: ServiceKind) -> Option<u64> {
        self.link.lock().unwrap().of(kind).limit
    }

    /// The neighbour has carried this much more for this node.
    pub fn buy(&self, from: &Self, bytes: u64) {
        self.buy_of(ServiceKind::Carriage, from, bytes);
    }

    pub fn buy_of(&self, kind: ServiceKind, from: &Self, bytes: u64) {
        self.link.lock().unwrap().of(kind).bought += bytes;
        from.link.lock().unwrap().of(kind).served += bytes;
    }

    /// The neighbour serves what its limit allows of this, and says how much it was.
    pub fn buy_within(&self, kind: ServiceKind, from: &Self, bytes: u64) -> u64 {
        let mut link = from.link.lock().unwrap();
        let counted = link.of(kind);
        let limit = counted.limit.unwrap_or_default();
        let bytes = bytes.min(limit.saturating_sub(counted.served));
        counted.served += bytes;
        drop(link);
        self.link.lock().unwrap().of(kind).bought += bytes;
        bytes
    }

    pub fn answers(&self, kind: ServiceKind, answers: Answers) {
        self.link.lock().unwrap().of(kind).answers = answers;
    }
}

pub fn accounts_section(max_debt: u64) -> Option<AccountsSection> {
    Some(AccountsSection { max_debt, max_loss: MaxLoss::default(), max_window: WINDOW })
}

/// A payer and a payee. `prepare` gets the payer's folder before it starts.
pub fn pair(
    accounts: Option<AccountsSection>,
    prepare: impl FnOnce(&Path),
) -> (Accounts, Accounts) {
    pair_on(accounts, None, None, |[payer, _]| prepare(payer))
}

/// The same with a price of objects, or on a ledger. `prepare` gets both folders.
pub fn pair_on(
    accounts: Option<AccountsSection>,
    object_price: Option<u64>,
    ledger: Option<&LedgerOfReceipts>,
    prepare: impl FnOnce([&Path; 2]),
) -> (Accounts, Accounts) {
    let keys = [(); 2].map(|()| Arc::new(PrivateKey::generate().unwrap()));
    let links = [(); 2].map(|()| SharedLink::default());
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    prepare([folders[0].path(), folders[1].path()]);
    for (own, folder) in folders.iter().enumerate() {
        let other = 1 - own;
        let (sockets, nodes) = (folder.path(), (keys[own].public(), keys[other].public()));
        for kind in ServiceKind::ALL {
            meter(kind, sockets, nodes, &links[own], &links[other]);
        }
        identity(sockets, Arc::clone(&keys[own]), "accounts");
        let prices = |price: Option<u64>| match own {
            0 => PriceRange { price: None, max_price: price },
            _ => PriceRange { price, max_price: None },
        };
        let line = NeighbourPrices {
            name: "other".to_owned(),
            carriage: prices(Some(PRICE)),
            objects: prices(object_price),
            ledger: ledger.is_some(),
        };
        let control = UnixListener::bind(sockets.join("accounts.sock")).unwrap();
        let user = rustix::process::getuid().as_raw();
        let config = AccountsConfig {
            settings: Settings {
                accounts,
                neighbours: [(nodes.1, line)].into(),
                ledger: ledger.cloned(),
            },
            sockets: sockets.into(),
            folder: sockets.into(),
            control,
            callers: Callers::default().with_pid_1(user),
            interval: Duration::from_millis(1),
        };
        thread::spawn(move || run(config, || Ok(())).unwrap());
    }
    let [payer, payee] = folders;
    let [of_payer, of_payee] = links;
    (Accounts { folder: payer, link: of_payer }, Accounts { folder: payee, link: of_payee })
}

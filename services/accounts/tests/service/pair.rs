//! A payer and a payee, and doubles of what they call.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use octet_accounts::settings::{NeighbourPrice, Settings};
use octet_accounts::{AccountsConfig, LedgerOfReceipts, run};
use octet_appliance::{AccountsSection, MaxLoss};
use octet_node::as_pid_1::TIMEOUT;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::{Callers, Peer};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The smallest window, in bytes.
pub const WINDOW: u64 = 1 << 20;

pub const PRICE: u64 = 1 << 30;

/// What a double of `forward` knows: its one neighbour, and messages that wait for its `accounts`.
#[derive(Debug, Default)]
pub struct Link {
    pub bought: u64,
    pub served: u64,
    pub limit: Option<u64>,
    pub waiting: Vec<Value>,
    /// How often the traffic was asked for.
    pub asked: u64,
}

pub type SharedLink = Arc<Mutex<Link>>;

/// Serves as `forward`: messages to the neighbour wait at `other`.
fn forward(folder: &Path, nodes: (PublicKey, PublicKey), own: &SharedLink, other: &SharedLink) {
    let listener = UnixListener::bind(folder.join("forward.sock")).unwrap();
    let (own, other) = (Arc::clone(own), Arc::clone(other));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            while let Ok(Some(request)) = peer.next_request() {
                let answer = match request.verb.as_str() {
                    "traffic" => {
                        let mut link = own.lock().unwrap();
                        link.asked += 1;
                        json!([{
                            "neighbour": "other", "link": "fl101", "bought": link.bought, "served": link.served,
                            "limit": link.limit, "kilobits": 1000, "node": nodes.1,
                            "epoch": "00112233445566778899aabbccddeeff",
                        }])
                    }
                    "account-receive" => json!(std::mem::take(&mut own.lock().unwrap().waiting)),
                    "account-send" => {
                        let message = &request.args["message"];
                        assert_eq!(request.args["node"], json!(nodes.1));
                        let row = json!({ "node": nodes.0, "message": message });
                        other.lock().unwrap().waiting.push(row);
                        Value::Null
                    }
                    "account-limit" => {
                        own.lock().unwrap().limit =
                            request.args.get("served").and_then(Value::as_u64);
                        Value::Null
                    }
                    verb => panic!("{verb}"),
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

    /// A value of the only account.
    pub fn shown(&self, key: &str) -> Value {
        self.call("show", json!({})).unwrap()[0][key].clone()
    }

    pub fn limit(&self) -> Option<u64> {
        self.link.lock().unwrap().limit
    }

    /// The neighbour has carried this much more for this node.
    pub fn buy(&self, from: &Self, bytes: u64) {
        self.link.lock().unwrap().bought += bytes;
        from.link.lock().unwrap().served += bytes;
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
    pair_on(accounts, None, |[payer, _]| prepare(payer))
}

/// The same, on a ledger. `prepare` gets both folders.
pub fn pair_on(
    accounts: Option<AccountsSection>,
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
        forward(sockets, nodes, &links[own], &links[other]);
        identity(sockets, Arc::clone(&keys[own]), "accounts");
        let (price, max_price) = if own == 0 { (None, Some(PRICE)) } else { (Some(PRICE), None) };
        let line =
            NeighbourPrice { name: "other".to_owned(), price, max_price, ledger: ledger.is_some() };
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
        thread::spawn(move || run(config, || Ok(())));
    }
    let [payer, payee] = folders;
    let [of_payer, of_payee] = links;
    (Accounts { folder: payer, link: of_payer }, Accounts { folder: payee, link: of_payee })
}

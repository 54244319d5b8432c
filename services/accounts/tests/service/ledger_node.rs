//! Four units of `ledger`, which are a ledger.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use data_encoding::BASE64;
use octet_as_pid_1::{TIMEOUT, wait_until};
use octet_coins::{Action, Genesis, LedgerParameters, SignedTransaction, Transaction, Validator};
use octet_ledger::net::LedgerPeer;
use octet_ledger::{LedgerSettings, LedgerUnitConfig, serve};
use octet_node::Callers;
use octet_node::control::{Client, PublicKey};
use octet_node::durable::ExistingFile;
use octet_node::key::{self, PrivateKey};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::pair::identity;

/// The key of an owner.
pub fn owner(seed: u8) -> PrivateKey {
    PrivateKey::from_seed([seed; 32]).unwrap()
}

/// The owners 0 to 3 have a validator each.
pub struct Ledger {
    pub genesis: Genesis,
    nodes: [(TempDir, SocketAddr, PublicKey); 4],
    /// Where each unit answers, once it has started.
    controls: OnceLock<Vec<PathBuf>>,
}

impl Ledger {
    /// Nothing runs yet.
    pub fn new(balances: BTreeMap<PublicKey, u64>, parameters: LedgerParameters) -> Self {
        let nodes = [(); 4].map(|()| {
            // A port that was free a moment ago.
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let folder = TempDir::new().unwrap();
            let made = key::create(&folder.path().join("key"), ExistingFile::Keep, |_| Ok(()));
            (folder, socket.local_addr().unwrap(), made.unwrap().public())
        });
        let validator = |(seed, node): (u8, &(_, _, PublicKey))| Validator {
            owner: owner(seed).public(),
            key: node.2,
        };
        let validators = (0..).zip(&nodes).map(validator).collect();
        let genesis = Genesis::new("valley", validators, balances, parameters).unwrap();
        Self { genesis, nodes, controls: OnceLock::new() }
    }

    /// Starts all units. The sockets of the first ones are in these folders.
    pub fn start(&self, sockets: [&Path; 2]) {
        let folders: Vec<_> = self.nodes.iter().map(|(folder, ..)| folder.path()).collect();
        let controls: Vec<_> = sockets
            .into_iter()
            .chain(folders[2..].iter().copied())
            .map(|folder| folder.join("ledger.sock"))
            .collect();
        let peers: Vec<_> = self
            .nodes
            .iter()
            .map(|(_, at, key)| LedgerPeer { key: *key, address: Some(*at) })
            .collect();
        for ((folder, address, _), control) in self.nodes.iter().zip(&controls) {
            let folder = folder.path().to_owned();
            identity(&folder, Arc::new(PrivateKey::generate().unwrap()), "ledger");
            let user = rustix::process::getuid().as_raw();
            let config = LedgerUnitConfig {
                settings: Some(LedgerSettings {
                    genesis: self.genesis.clone(),
                    peers: peers.clone(),
                    keep_blocks: None,
                }),
                control: UnixListener::bind(control).unwrap(),
                sockets: folder.clone(),
                folder,
                callers: Callers::default().with_pid_1(user),
                listen: vec![*address],
            };
            thread::spawn(move || serve(config, || Ok(())));
        }
        self.controls.set(controls).unwrap();
        wait_until("the ledger is there", || self.call("show", json!({})).is_ok());
    }

    /// Asks the last node.
    fn call(&self, verb: &str, args: Value) -> Result<Value, String> {
        call(&self.controls.get().unwrap()[3], verb, args)
    }

    fn account(&self, seed: u8) -> Value {
        self.call("account", json!({ "owner": owner(seed).public() })).unwrap()
    }

    pub fn balance(&self, seed: u8) -> u64 {
        self.account(seed)["balance"].as_u64().unwrap()
    }

    /// An owner signs, and all nodes have a block with it.
    pub fn order(&self, seed: u8, action: Action) {
        let signer = owner(seed);
        let nonce = self.account(seed)["nonce"].as_u64().unwrap() + 1;
        let transaction = Transaction { signer: signer.public(), nonce, action };
        let signed = SignedTransaction::sign(transaction, &self.genesis.hash(), &signer);
        let args = json!({ "transaction": BASE64.encode(&signed.to_bytes()) });
        self.call("submit", args).unwrap();
        let has_it = |node: &PathBuf| {
            let account = call(node, "account", json!({ "owner": owner(seed).public() })).unwrap();
            account["nonce"] == nonce
        };
        wait_until("all have it", || self.controls.get().unwrap().iter().all(has_it));
    }
}

fn call(socket: &Path, verb: &str, args: Value) -> Result<Value, String> {
    let args: Map<_, _> = args.as_object().unwrap().clone();
    let mut client = Client::connect(socket).map_err(|error| error.to_string())?;
    client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
    client.call(verb, args).map_err(|error| error.to_string())
}

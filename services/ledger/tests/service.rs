//! Four units as a whole, with doubles of `config` and `identity`: threads at their sockets.

#![cfg(test)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use data_encoding::{BASE64, HEXLOWER};
use octet_as_pid_1::{TIMEOUT, wait_until};
use octet_auditor::Audit;
use octet_coins::{
    Action, Block, Genesis, Possession, SignedTransaction, Transaction, VotedChange,
};
use octet_ledger::{LedgerUnitConfig, serve};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::file::{LocalFile, Source};
use octet_node::control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::{Callers, Peer, settings};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Serves as `config`, with what `section` has.
fn config(folder: &Path, section: Arc<Mutex<Value>>) {
    let listener = UnixListener::bind(folder.join("config.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            while let Ok(Some(request)) = peer.next_request() {
                let answer = json!({ "ledger": *section.lock().unwrap() });
                peer.end(request.id, Ok(answer)).unwrap();
            }
        }
    });
}

/// Serves as `identity`, which certifies the key of `ledger`.
fn identity(folder: &Path, node: PrivateKey) {
    let listener = UnixListener::bind(folder.join("identity.sock")).unwrap();
    thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        let request = peer.next_request().unwrap().unwrap();
        let key = request.args["key"].as_str().unwrap().parse().unwrap();
        let unit = "ledger".parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 1 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        peer.item(request.id, json!(certificate)).unwrap();
        // It certifies the key as long as it is connected.
        let _ = peer.next_request();
    });
}

struct Unit {
    folder: TempDir,
    section: Arc<Mutex<Value>>,
    address: SocketAddr,
}

impl Unit {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let sockets = folder.path().to_owned();
        let section = Arc::new(Mutex::new(Value::Null));
        config(&sockets, Arc::clone(&section));
        identity(&sockets, PrivateKey::generate().unwrap());
        // A port that was free a moment ago.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let user = rustix::process::getuid().as_raw();
        let config = LedgerUnitConfig {
            settings: None,
            folder: sockets.clone(),
            control: UnixListener::bind(sockets.join("ledger.sock")).unwrap(),
            sockets,
            callers: Callers::default().with_pid_1(user),
            listen: vec![address],
        };
        thread::spawn(move || serve(config, || Ok(())));
        Self { folder, section, address }
    }

    fn call(&self, verb: &str, args: Value) -> Result<Value, String> {
        let args: Map<_, _> = args.as_object().unwrap().clone();
        let mut client = Client::connect(&self.folder.path().join("ledger.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client.call(verb, args).map_err(|error| error.to_string())
    }

    fn items(&self, verb: &str) -> Vec<Value> {
        let mut client = Client::connect(&self.folder.path().join("ledger.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut items = vec![];
        client
            .call_each(verb, Map::new(), |item| {
                items.push(item.clone());
                true
            })
            .unwrap();
        items
    }

    fn restore(&self, snapshot: &str, state: &str) -> Result<Value, String> {
        let mut client = Client::connect(&self.folder.path().join("ledger.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut file = LocalFile::Memory(snapshot.as_bytes().to_vec());
        let args = json!({ "snapshot": file.describe(), "state": state });
        let args: Map<_, _> = args.as_object().unwrap().clone();
        let done = client.call_with("restore", args, Some(&mut file), |_| true);
        done.map_err(|error| error.to_string())
    }

    /// Gives it other settings, as `config` does.
    fn apply(&self, section: &Value) -> Result<Value, String> {
        self.section.lock().unwrap().clone_from(section);
        let [check, apply] = settings::verbs();
        self.call(&check.name, json!({}))?;
        self.call(&apply.name, json!({}))
    }

    fn shown(&self, key: &str) -> Value {
        self.call("show", json!({})).map_or(Value::Null, |shown| shown[key].clone())
    }

    fn account(&self, owner: &PublicKey) -> Value {
        self.call("account", json!({ "owner": owner })).unwrap()
    }
}

fn owner(seed: u8) -> PrivateKey {
    PrivateKey::from_seed([seed; 32]).unwrap()
}

#[test]
fn four_units_are_a_ledger() {
    let units = [(); 4].map(|()| Unit::start());
    wait_until("all have a key", || units.iter().all(|unit| unit.shown("key") != Value::Null));
    let keys = [0, 1, 2, 3].map(|at: usize| units[at].shown("key"));
    assert!(units[0].shown("ledger").is_null());
    assert!(units[0].call("validators", json!({})).is_err());

    let mut text = "name = \"valley\"\nspacing_seconds = 1\n[pool]\nper_period = 500\n".to_owned();
    for (at, key) in keys.iter().enumerate() {
        let owner = owner(at as u8).public();
        text += &format!("[[validator]]\nowner = \"{owner}\"\nkey = {key}\n");
    }
    let first = owner(0).public();
    for (seed, balance) in [(0, 5_000_000), (1, 1000), (2, 1000), (3, 1000)] {
        let owner = owner(seed).public();
        text += &format!("[[account]]\nowner = \"{owner}\"\nbalance = {balance}\n");
    }
    let genesis = Genesis::from_toml(&text).unwrap();
    let peers: Vec<_> = units
        .iter()
        .zip(&keys)
        .map(|(unit, key)| json!({ "key": key, "at": unit.address }))
        .collect();
    let section = json!({ "genesis": text, "peer": peers });

    // A mistake in the genesis is refused, and nothing runs.
    let mistake = json!({ "genesis": text.replace("[[account]]", "[[count]]"), "peer": [] });
    let refused = units[0].apply(&mistake).unwrap_err();
    assert!(refused.contains("genesis"), "{refused}");
    assert!(units[0].shown("ledger").is_null());

    for unit in &units {
        unit.apply(&section).unwrap();
    }
    wait_until("all have the ledger", || units.iter().all(|it| it.shown("height") == 0));
    assert_eq!(units[3].shown("role"), "validator");
    assert_eq!(units[3].shown("genesis"), genesis.hash().to_string());
    assert_eq!(units[3].call("validators", json!({})).unwrap().as_array().unwrap().len(), 4);

    // Coins move on all of them.
    let to = owner(9).public();
    let sign = |amount, genesis: &Genesis| {
        let action = Action::Transfer { to, amount };
        let transaction = Transaction { signer: first, nonce: 1, action };
        let signed = SignedTransaction::sign(transaction, &genesis.hash(), &owner(0));
        json!({ "transaction": BASE64.encode(&signed.to_bytes()) })
    };
    let other = Genesis::from_toml(&text.replace("valley", "hill")).unwrap();
    for (bad, why) in [
        (sign(5_000_000, &genesis), "that much"),
        (sign(1_000_000, &other), "sign"),
        (json!({ "transaction": "AAAA" }), "not a transaction"),
    ] {
        let refused = units[1].call("submit", bad).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    units[1].call("submit", sign(1_000_000, &genesis)).unwrap();
    wait_until("all have the block", || {
        units.iter().all(|unit| unit.account(&to)["balance"] == 1_000_000)
    });
    let fee = genesis.parameters().fee;
    for unit in &units {
        let account = unit.account(&first);
        assert_eq!((&account["balance"], &account["nonce"]), (&json!(4_000_000 - fee), &json!(1)));
        assert_eq!((unit.shown("pot"), unit.shown("coins")), (json!(fee), json!(5_003_000)));
    }
    let [block, height] = ["block", "height"].map(|key| units[0].shown(key));
    assert!(units.iter().all(|unit| unit.shown("block") == block));
    let blocks = |from: u64| units[3].call("blocks", json!({ "from": from })).unwrap();
    assert_eq!((&blocks(1)["newest"], &blocks(1)["blocks"][0]["height"]), (&height, &json!(1)));
    let decided = blocks(1)["blocks"][0]["block"].as_str().unwrap().to_owned();
    let decided = Block::from_bytes(&BASE64.decode(decided.as_bytes()).unwrap()).unwrap();
    assert_eq!((decided.parent, decided.transactions.len()), (genesis.hash(), 1));
    assert_eq!(blocks(99)["blocks"], json!([]));

    // Without the section the node ends; with it again it goes on from its disk.
    units[2].apply(&Value::Null).unwrap();
    assert!(units[2].shown("ledger").is_null());
    units[2].apply(&section).unwrap();
    wait_until("it has its blocks again", || units[2].shown("height") == height);
    assert_eq!(units[2].shown("block"), block);

    // A fifth follows, and three of the four owners vote for it.
    let fifth = Unit::start();
    wait_until("the fifth has a key", || fifth.shown("key") != Value::Null);
    let fifth_key = fifth.shown("key");
    let mut peers = peers;
    peers.push(json!({ "key": fifth_key, "at": fifth.address }));
    let section = json!({ "genesis": text, "peer": peers });
    for unit in units.iter().chain([&fifth]) {
        unit.apply(&section).unwrap();
    }
    // The others have begun anew, too.
    wait_until("it follows", || {
        units.iter().chain([&fifth]).all(|unit| unit.shown("height") == height)
    });
    assert_eq!(fifth.shown("role"), "follower");
    let of_fifth = owner(4).public();
    let consent = fifth.call("consent", json!({ "owner": of_fifth })).unwrap();
    let consent = BASE64.decode(consent["consent"].as_str().unwrap().as_bytes()).unwrap();
    let key = serde_json::from_value(fifth_key).unwrap();
    let change = VotedChange::Add { owner: of_fifth, key, epoch: 1 };
    let action = Action::Vote { change, consent: Some(Possession(consent.try_into().unwrap())) };
    let cast = |seed: u8, nonce: u64, action: Action| {
        let transaction = Transaction { signer: owner(seed).public(), nonce, action };
        let signed = SignedTransaction::sign(transaction, &genesis.hash(), &owner(seed));
        let transaction = BASE64.encode(&signed.to_bytes());
        wait_until("it is taken", || {
            units[1].call("submit", json!({ "transaction": transaction })).is_ok()
                || units[1].account(&owner(seed).public())["nonce"] == nonce
        });
        wait_until("it counts", || units[1].account(&owner(seed).public())["nonce"] == nonce);
    };
    for (seed, nonce) in [(0, 2), (1, 1), (2, 1)] {
        assert_eq!(fifth.shown("role"), "follower", "{seed}");
        cast(seed, nonce, action);
    }
    wait_until("all have five", || {
        units.iter().chain([&fifth]).all(|unit| unit.shown("validators") == 5)
    });
    assert_eq!(fifth.shown("role"), "validator");
    // Four of the five owners admit a member to the pool.
    let pool = || units[1].call("pool", json!({})).unwrap();
    assert_eq!((&pool()["per_period"], &pool()["members"]), (&json!(500), &json!([])));
    assert_eq!(units[1].account(&first)["last_pool"], 0);
    let change = VotedChange::AddMember { owner: of_fifth, node: owner(20).public() };
    for (seed, nonce) in [(0, 3), (1, 2), (2, 2), (3, 1)] {
        cast(seed, nonce, Action::Vote { change, consent: None });
    }
    wait_until("there is a member", || pool()["members"][0]["owner"] == json!(of_fifth));
    assert_eq!(pool()["members"][0]["nodes"], json!([owner(20).public()]));
    // Four of five decide without the last: so the fifth votes.
    units[3].apply(&Value::Null).unwrap();
    let action = Action::Transfer { to, amount: 7 };
    let transaction = Transaction { signer: first, nonce: 4, action };
    let signed = SignedTransaction::sign(transaction, &genesis.hash(), &owner(0));
    let transaction = json!({ "transaction": BASE64.encode(&signed.to_bytes()) });
    wait_until("it is taken", || fifth.call("submit", transaction.clone()).is_ok());
    wait_until("the fifth decides", || {
        [&units[0], &fifth].iter().all(|unit| unit.account(&to)["balance"] == 1_000_007)
    });

    // The auditor, which shares no code with the unit, comes to the same state by the blocks alone.
    let mut audit = Audit::new(&text).unwrap();
    let range = fifth.call("blocks", json!({})).unwrap();
    let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
    for row in range["blocks"].as_array().unwrap() {
        audit.block(&bytes(&row["block"]), &bytes(&row["votes"])).unwrap();
    }
    assert_eq!(range["newest"], audit.summary().height);
    assert_eq!(fifth.shown("state"), HEXLOWER.encode(audit.state()));

    // The fourth cannot get the block that it lacks, and goes on from a copy of the state.
    let alone = json!({ "genesis": text, "peer": [] });
    units[3].apply(&alone).unwrap();
    wait_until("it has begun anew", || units[3].shown("height") != Value::Null);
    let behind = units[3].shown("height");
    assert_ne!(behind, fifth.shown("height"));
    let state = fifth.shown("state").as_str().unwrap().to_owned();
    let copy = fifth.items("snapshot");
    let whole: String = copy.iter().map(|item| format!("{item:#}\n")).collect();
    let other = state.replace(['0', '1', '2', '3'], "4");
    let votes = copy[0]["votes"].as_str().unwrap();
    let cut = whole.replacen(votes, "AAAA", 1);
    // Height, round, hash and number of signatures, each with its key.
    let mut two = BASE64.decode(votes.as_bytes()).unwrap()[..46 + 2 * 96].to_vec();
    two[45] = 2;
    let unsigned = whole.replacen(votes, &BASE64.encode(&two), 1);
    let of_other = whole.replace(&genesis.hash().to_string(), &"0".repeat(64));
    for (bad, state, why) in [
        (&whole, &other, "hash"),
        (&whole[..whole.len() / 2].to_owned(), &state, "not all of it"),
        (&String::new(), &state, "no snapshot"),
        (&cut, &state, "no snapshot"),
        (&unsigned, &state, "two thirds"),
        (&of_other, &state, "another ledger"),
    ] {
        let refused = units[3].restore(bad, state).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
        assert_eq!(units[3].shown("height"), behind);
    }
    units[3].restore(&whole, &state).unwrap();
    wait_until("it has the state", || units[3].shown("state") == state);
    assert_eq!(units[3].shown("block"), fifth.shown("block"));
    let again = units[3].restore(&whole, &state).unwrap_err();
    assert!(again.contains("already"), "{again}");
    // It has no old blocks, and follows the others.
    let blocks = units[3].call("blocks", json!({})).unwrap();
    assert_eq!(blocks["blocks"], json!([]));
    units[3].apply(&section).unwrap();
    let action = Action::Transfer { to, amount: 5 };
    let transaction = Transaction { signer: first, nonce: 5, action };
    let signed = SignedTransaction::sign(transaction, &genesis.hash(), &owner(0));
    let transaction = json!({ "transaction": BASE64.encode(&signed.to_bytes()) });
    wait_until("it is taken", || fifth.call("submit", transaction.clone()).is_ok());
    wait_until("the fourth has it, too", || {
        units[3].shown("height") != Value::Null && units[3].account(&to)["balance"] == 1_000_012
    });
}

//! Two units as a whole, each with doubles of `forward` and `identity`: threads at their sockets. The doubles of
//! `forward` carry messages to each other.

#![cfg(test)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use octet_accounts::settings::{NeighbourPrice, Settings};
use octet_accounts::{AccountsConfig, run};
use octet_appliance::{AccountsSection, MaxLoss};
use octet_node::as_pid_1::{TIMEOUT, wait_until};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{Client, PublicKey, Verb};
use octet_node::durable::ExistingFile;
use octet_node::key::{self, PrivateKey};
use octet_node::{Callers, Peer};
use octet_receipts::AccountBook;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The smallest window, in bytes.
const WINDOW: u64 = 1 << 20;

const PRICE: u64 = 1 << 30;

/// What a double of `forward` knows: its one neighbour, and messages that wait for its `accounts`.
#[derive(Debug, Default)]
struct Link {
    bought: u64,
    served: u64,
    limit: Option<u64>,
    waiting: Vec<Value>,
    /// How often the traffic was asked for.
    asked: u64,
}

type SharedLink = Arc<Mutex<Link>>;

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

/// Serves as `identity`, which certifies the key of `accounts`.
fn identity(folder: &Path, node: Arc<PrivateKey>) {
    let listener = UnixListener::bind(folder.join("identity.sock")).unwrap();
    thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut peer = Peer::new(stream);
        let request = peer.next_request().unwrap().unwrap();
        let key = request.args["key"].as_str().unwrap().parse().unwrap();
        let unit = "accounts".parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 1 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        peer.item(request.id, json!(certificate)).unwrap();
        // It certifies the key as long as it is connected.
        let _ = peer.next_request();
    });
}

struct Accounts {
    folder: TempDir,
    link: SharedLink,
}

impl Accounts {
    fn connect(&self) -> Client<UnixStream> {
        let client = Client::connect(&self.folder.path().join("accounts.sock")).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    fn call(&self, verb: &str, args: Value) -> Result<Value, String> {
        let args: Map<_, _> = args.as_object().unwrap().clone();
        self.connect().call(verb, args).map_err(|error| error.to_string())
    }

    /// A value of the only account.
    fn shown(&self, key: &str) -> Value {
        self.call("show", json!({})).unwrap()[0][key].clone()
    }

    fn limit(&self) -> Option<u64> {
        self.link.lock().unwrap().limit
    }

    /// The neighbour has carried this much more for this node.
    fn buy(&self, from: &Self, bytes: u64) {
        self.link.lock().unwrap().bought += bytes;
        from.link.lock().unwrap().served += bytes;
    }
}

fn accounts_section(max_debt: u64) -> Option<AccountsSection> {
    Some(AccountsSection { max_debt, max_loss: MaxLoss::default(), max_window: WINDOW })
}

/// A payer and a payee. `prepare` gets the payer's folder before it starts.
fn pair(accounts: Option<AccountsSection>, prepare: impl FnOnce(&Path)) -> (Accounts, Accounts) {
    let keys = [(); 2].map(|()| Arc::new(PrivateKey::generate().unwrap()));
    let links = [(); 2].map(|()| SharedLink::default());
    let folders = [(); 2].map(|()| TempDir::new().unwrap());
    prepare(folders[0].path());
    for (own, folder) in folders.iter().enumerate() {
        let other = 1 - own;
        let (sockets, nodes) = (folder.path(), (keys[own].public(), keys[other].public()));
        forward(sockets, nodes, &links[own], &links[other]);
        identity(sockets, Arc::clone(&keys[own]));
        let (price, max_price) = if own == 0 { (None, Some(PRICE)) } else { (Some(PRICE), None) };
        let line = NeighbourPrice { name: "other".to_owned(), price, max_price, ledger: false };
        let control = UnixListener::bind(sockets.join("accounts.sock")).unwrap();
        let user = rustix::process::getuid().as_raw();
        let config = AccountsConfig {
            settings: Settings { accounts, neighbours: [(nodes.1, line)].into(), ledger: None },
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

/// A price of one for each byte: what is signed is what is owed.
#[test]
fn what_was_carried_is_signed_and_settled() {
    let (payer, payee) = pair(accounts_section(1 << 30), |_| {});
    wait_until("it pays", || {
        payer.shown("paying") == "paying" && payee.shown("serving") == "serving"
    });
    payer.buy(&payee, 5 * WINDOW + 7);
    // The rest, which is less than is due at once, follows after a while.
    wait_until("all is signed", || payee.shown("signed_by_them") == 5 * WINDOW + 7);
    wait_until("both know", || payer.shown("they_counted") == 5 * WINDOW + 7);
    let owed = json!(5 * WINDOW + 7);
    assert_eq!((payee.shown("owed_to_us"), payee.shown("balance")), (owed.clone(), owed.clone()));
    assert_eq!((payer.shown("owed_by_us"), payer.shown("owed_to_us")), (owed.clone(), json!(0)));
    let most = 6 * WINDOW + 7 + (5 * WINDOW + 7) / 100;
    wait_until("the limit follows", || payee.limit() == Some(most));
    assert_eq!(payer.limit(), None, "nothing is asked for");

    // Both have the same receipt, which anybody can check.
    let receipts = |of: &Accounts| of.call("receipts", json!({})).unwrap();
    let row = receipts(&payee)[0].clone();
    assert_eq!(
        (&row["signed_by"], &row["amount"], &row["price"]),
        (&json!("them"), &owed, &json!(PRICE))
    );
    assert_eq!(receipts(&payer)[0]["receipt"], row["receipt"]);
    let bytes = BASE64.decode(row["receipt"].as_str().unwrap().as_bytes()).unwrap();
    octet_receipts::SignedReceipt::from_bytes(&bytes).unwrap().verify(&[0; 32]).unwrap();

    let settle =
        |amount: &str| payee.call("settle", json!({ "neighbour": "other", "amount": amount }));
    // 5 WINDOW + 8, and a text that is no amount.
    for (amount, part) in [("5.242888", "owes"), ("5,2", "is not an amount")] {
        let refused = settle(amount).unwrap_err();
        assert!(refused.contains(part), "{refused}");
    }
    // 5 WINDOW
    settle("5.24288").unwrap();
    wait_until("the payer has heard of it", || payer.shown("owed_by_us") == 7);
    assert_eq!(payee.shown("owed_to_us"), 7);

    // What is written off is not asked for any more.
    payee.link.lock().unwrap().served += 100;
    wait_until("it is counted", || payee.shown("unsigned") == 100);
    let answer = payee.call("write-off", json!({ "neighbour": "other" })).unwrap();
    assert_eq!((answer, payee.shown("unsigned")), (json!({ "forgiven": 100 }), json!(0)));
    let refused = payee.call("write-off", json!({ "neighbour": "nobody" })).unwrap_err();
    assert!(refused.contains("[[neighbour]]"), "{refused}");
}

/// A payer whose disk fails signs nothing, and the payee does not wait for more than the window.
#[test]
fn what_cannot_be_written_is_not_sent() {
    let block = |folder: &Path| fs::create_dir_all(folder.join("book.new/full")).unwrap();
    let (payer, payee) = pair(accounts_section(1 << 30), block);
    payer.buy(&payee, WINDOW / 2);
    wait_until("it has a limit", || payee.limit().is_some());
    let asked = || payer.link.lock().unwrap().asked;
    let before = asked();
    wait_until("more rounds are done", || asked() > before + 20);
    assert_eq!(payer.call("receipts", json!({})).unwrap(), json!([]));
    assert_eq!(payee.shown("serving"), "free allowance");
    fs::remove_dir_all(payer.folder.path().join("book.new")).unwrap();
    wait_until("it pays", || payee.shown("serving") == "serving");
}

/// With a key that neighbours know they would take it for the lost book.
#[test]
fn a_damaged_book_is_set_aside_with_its_key() {
    for (book, is_kept) in [(&b"damaged"[..], false), (&AccountBook::default().to_bytes(), true)] {
        let before = Cell::new(vec![]);
        let (payer, payee) = pair(accounts_section(1 << 30), |folder| {
            fs::write(folder.join("book"), book).unwrap();
            key::create(&folder.join("key"), ExistingFile::Keep, |_| Ok(())).unwrap();
            before.set(fs::read(folder.join("key")).unwrap());
        });
        wait_until("it pays", || payee.shown("serving") == "serving");
        let folder = payer.folder.path();
        assert_eq!(fs::read(folder.join("key")).unwrap() == before.take(), is_kept);
        assert_eq!(fs::read(folder.join("book.damaged")).is_err(), is_kept);
    }
}

/// Without `[accounts]` limits of before are taken back, and nobody is asked again.
#[test]
fn nothing_is_on_by_itself() {
    let (payer, payee) = pair(None, |_| {});
    let has_none = || payee.limit().is_none() && payee.link.lock().unwrap().asked > 0;
    wait_until("a round is done", has_none);
    payer.buy(&payee, 10 * WINDOW);
    assert_eq!(payee.call("show", json!({})).unwrap(), json!([]));
    assert!(payer.link.lock().unwrap().waiting.is_empty());
    assert!(!payee.folder.path().join("book").exists());
}

/// Who may only read can change no account.
#[test]
fn an_account_is_changed_by_its_owner_only() {
    let (_, payee) = pair(None, |_| {});
    let verbs: Vec<Verb> = payee.connect().describe().unwrap();
    let needs: BTreeMap<_, _> =
        verbs.iter().map(|verb| (&*verb.name, format!("{:?}", verb.capability))).collect();
    let all = [
        ("config-apply", "Configure"),
        ("config-check", "Configure"),
        ("consent", "Own"),
        ("describe", "Read"),
        ("locks", "Read"),
        ("receipts", "Read"),
        ("settle", "Own"),
        ("show", "Read"),
        ("write-off", "Own"),
    ];
    assert_eq!(needs, all.map(|(verb, need)| (verb, need.to_owned())).into());
}

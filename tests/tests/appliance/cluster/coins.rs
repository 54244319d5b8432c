//! Three boxes in a line, each with a validator of one ledger: what the first has locked for the second is served, and
//! paid. The fourth validator never answers.

use std::fs;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use octet_appliance::{Appliance, SETTINGS};
use octet_coins::{Action, Genesis, Possession, SignedTransaction, Transaction};
use octet_machine::Node;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_tests::{Image, Remake, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::accounts::{
    HILL, LAKE, POLICIES, PRICE, WINDOW, WOOD, address, ask, boot, traffic,
};
use crate::cluster::neighbours::{PORT, apply, descriptor, line};
use crate::cluster::path::with_programs;
use crate::cluster::site::{IMAGE, Site};

/// The UDP port of `ledger`.
const LEDGER_PORT: u16 = 4435;

const COINS: u64 = 100_000_000;

/// The validators reach each other over the uplinks.
const VALIDATORS: &str = r#"
[[policy]]
from = "uplink"
to = "router"
protocol = "udp"
ports = [4435]

[[policy]]
from = "router"
to = "uplink"
protocol = "udp"
ports = [4435]
"#;

fn text(number: usize, more: &str) -> String {
    let address = address(number);
    format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{address}/24\"]\n[cluster]\nboards = 4\n[lan]\n{POLICIES}{VALIDATORS}{more}"
    )
}

/// The released image, with `ledger`.
fn with_ledger(folder: &TempDir) -> Image {
    let text = fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    let (before, after) = text.split_once("\nservices = [").expect("a list of services");
    let file = folder.path().join("appliance.toml");
    fs::write(&file, format!("{before}\nservices = [\"ledger\", {after}")).unwrap();
    Image::build(&folder.path().join("out"), &["--appliance", file.to_str().unwrap()])
}

fn image(base: &Image, number: usize) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}{IMAGE}", text(number, "")));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    let remake = Remake::of(base).file(SETTINGS, 0o644, settings);
    with_programs(remake).image()
}

fn owner(number: usize) -> PrivateKey {
    PrivateKey::from_seed([u8::try_from(number).unwrap(); 32]).unwrap()
}

fn lock(site: &Site, name: &str, key: &str) -> Value {
    let rows = ask(site, "accounts", "locks", json!({}));
    let row = rows.as_array().unwrap().iter().find(|row| row["neighbour"] == name);
    row.map_or(Value::Null, |row| row[key].clone())
}

fn coins(site: &Site, number: usize, key: &str) -> u64 {
    let account = ask(site, "ledger", "account", json!({ "owner": owner(number).public() }));
    account[key].as_u64().unwrap()
}

/// The owner signs, and a block has it.
fn order(site: &Site, genesis: &Genesis, number: usize, action: Action) {
    let signer = owner(number);
    let nonce = coins(site, number, "nonce") + 1;
    let transaction = Transaction { signer: signer.public(), nonce, action };
    let signed = SignedTransaction::sign(transaction, &genesis.hash(), &signer);
    let args = json!({ "transaction": STANDARD.encode(signed.to_bytes()) });
    // Another node may have a newer block than this one.
    site.wait("it is taken", || {
        site.machine(Node::Router).call_unit("ledger", "submit", args.clone()).is_ok()
    });
    site.wait("a block has it", || coins(site, number, "nonce") == nonce);
}

fn bind(site: &Site, genesis: &Genesis, number: usize) -> PublicKey {
    let consent = ask(site, "accounts", "consent", json!({ "owner": owner(number).public() }));
    let key_of = |name: &str| consent[name].as_str().unwrap().parse().unwrap();
    let bytes = STANDARD.decode(consent["consent"].as_str().unwrap()).unwrap();
    let action = Action::BindKey {
        node: key_of("node"),
        key: key_of("key"),
        epoch: consent["epoch"].as_u64().unwrap(),
        max_per_day: COINS,
        consent: Possession(bytes.try_into().unwrap()),
    };
    order(site, genesis, number, action);
    key_of("key")
}

#[test]
#[ignore = "long: builds an image and boots three boxes; `services/accounts/tests/service` has all of it but the \
            kernel's counters"]
fn what_a_neighbour_carries_is_paid_in_coins() {
    let began = Instant::now();
    let folder = TempDir::new().unwrap();
    let base = with_ledger(&folder);
    println!("built after {:?}", began.elapsed());
    let (sites, _uplinks) = boot(|number| image(&base, number));
    let [hill, lake, wood] = &sites;
    let descriptors = [hill, lake, wood].map(descriptor);
    let key = |site: &Site| ask(site, "ledger", "show", json!({}))["key"].clone();
    for site in &sites {
        site.wait("the validator has a key", || key(site) != Value::Null);
    }
    println!("ready after {:?}", began.elapsed());

    let mut genesis = "name = \"valley\"\nspacing_seconds = 1\nsettlement_heights = 5\n".to_owned();
    let absent = PrivateKey::generate().unwrap().public();
    let keys = sites.iter().map(key).chain([json!(absent)]);
    for (number, key) in keys.enumerate() {
        let owner = owner(number).public();
        genesis += &format!("[[validator]]\nowner = \"{owner}\"\nkey = {key}\n");
    }
    for number in [HILL, LAKE] {
        let owner = owner(number).public();
        genesis += &format!("[[account]]\nowner = \"{owner}\"\nbalance = {COINS}\n");
    }
    let parsed = Genesis::from_toml(&genesis).unwrap();
    let mut ledger = format!("[ledger]\ngenesis = '''\n{genesis}'''\n");
    for (number, site) in sites.iter().enumerate() {
        let (key, address) = (key(site), address(number));
        ledger += &format!("[[ledger.peer]]\nkey = {key}\nat = \"{address}:{LEDGER_PORT}\"\n");
    }
    let accounts = format!("[accounts]\nmax_debt = 0\nmax_window = {WINDOW}\n");
    let at = |number: usize| format!("at = \"{}:{PORT}\"\n", address(number));
    let pays = format!("{}max_price = {PRICE}\nledger = true\n", at(LAKE));
    let takes = format!("price = {PRICE}\nledger = true\n");
    let to_lake = line("lake", &descriptors[LAKE], &pays);
    apply(hill, text(HILL, &format!("{accounts}{ledger}{to_lake}")));
    let to_hill = line("hill", &descriptors[HILL], &takes);
    let to_wood = line("wood", &descriptors[WOOD], &at(WOOD));
    apply(lake, text(LAKE, &format!("{accounts}{ledger}{to_hill}{to_wood}")));
    let from_lake = line("lake", &descriptors[LAKE], "");
    apply(wood, text(WOOD, &format!("{ledger}{from_lake}")));
    lake.wait("the ledger begins", || {
        let shown = lake.machine(Node::Router).call_unit("ledger", "show", json!({}));
        shown.is_ok_and(|shown| shown["role"] == "validator")
    });

    let is_stopped = || lake_serves(lake) == "nothing locked";
    lake.wait("the payer has agreed, and nothing is locked", is_stopped);
    println!("agreed after {:?}", began.elapsed());

    // Both owners bind their boxes' keys, and the first locks coins.
    let [payer, payee] = [(hill, HILL), (lake, LAKE)].map(|(site, it)| bind(site, &parsed, it));
    let before = coins(lake, LAKE, "balance");
    order(hill, &parsed, HILL, Action::Lock { payer, payee, amount: 8 * WINDOW });
    lake.wait("it serves", || lake_serves(lake) == "serving");
    println!("locked after {:?}: {}", began.elapsed(), ask(lake, "accounts", "locks", json!({})));

    // Without a lock no packet of a path would pass.
    let end = ask(wood, "forward", "status", json!({}))["address"].as_str().unwrap().to_owned();
    hill.wait("a path is up", || {
        let args = json!({ "to": end, "via": "lake", "alone": true });
        hill.machine(Node::Router).call_unit("forward", "path-add", args).is_ok()
    });
    let talk = |bytes: u64| {
        let args = json!({ "to": format!("[{end}]:7000"), "mark": "octet", "bytes": bytes });
        hill.machine(Node::Router).call_unit("talker", "tcp", args)
    };
    println!("a path after {:?}", began.elapsed());
    hill.wait("a connection comes through", || talk(WINDOW).is_ok());
    lake.wait("it is paid", || lock(lake, "hill", "paid_to_us").as_u64() > Some(WINDOW));
    lake.wait("its owner has the coins", || coins(lake, LAKE, "balance") > before + WINDOW);

    // What is locked is used up, and not a byte more is served.
    for _ in 0..20 {
        if lake_serves(lake) == "nothing locked" {
            break;
        }
        // It ends when nothing is served any more.
        let _ = talk(WINDOW);
    }
    lake.wait("the lock is used up", || lake_serves(lake) == "nothing locked");
    lake.wait("all is paid", || {
        let [paid, owed] = ["paid_to_us", "owed_to_us"].map(|key| lock(lake, "hill", key));
        let served = traffic(lake, "hill", "served");
        println!("{served} served, {paid} paid, {owed} owed");
        paid.as_u64() <= Some(8 * WINDOW) && owed.as_u64() < Some(WINDOW / 8)
    });
    let state = |site: &Site| ask(site, "ledger", "show", json!({}));
    println!("{:?}: {}", began.elapsed(), state(lake));
    assert_eq!(state(lake)["coins"], 2 * COINS);

    // More is locked, and the same path carries again.
    let served = traffic(lake, "hill", "served");
    order(hill, &parsed, HILL, Action::Lock { payer, payee, amount: 8 * WINDOW });
    hill.wait("it is served again", || {
        let _ = talk(WINDOW / 2);
        traffic(lake, "hill", "served") > served + WINDOW / 2
    });
    println!("all of it: {:?}", began.elapsed());
}

fn lake_serves(lake: &Site) -> String {
    let rows = ask(lake, "accounts", "show", json!({}));
    let row = rows.as_array().unwrap().iter().find(|row| row["neighbour"] == "hill");
    row.map_or_else(String::new, |row| row["serving"].as_str().unwrap().to_owned())
}

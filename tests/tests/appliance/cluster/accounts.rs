//! Three boxes in a line: the first pays the second for a path to the third, and the second pays the third. What is
//! billed is what the payer's kernel has counted; one who stops signing is stopped by the other's kernel.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::panel::{Mac, Port};
use octet_machine::{Cluster, Node, Socket};
use octet_tests::{Bytes, Image, Remake, shipped};
use serde_json::{Value, json};

use crate::cluster::neighbours::{PORT, apply, descriptor, line};
use crate::cluster::path::with_programs;
use crate::cluster::site::{IMAGE, Site};

/// The three boxes, by the last number of their addresses; all uplinks are in one network.
pub const HILL: usize = 0;
pub const LAKE: usize = 1;
pub const WOOD: usize = 2;

/// For 2^30 bytes, in millionths: each byte costs a little less than one.
pub const PRICE: u64 = 1_000_000_000;

/// The window, in bytes.
pub const WINDOW: u64 = 1 << 19;

/// One in so many long frames is lost.
const LOST: usize = 200;

/// The window is used up when no more than this is left of it, in bytes: the next packet does not fit.
const LEFT: u64 = 3000;

/// Shorter frames are the boxes' own messages.
const LONG: usize = 1000;

/// What of an object is verified, and given, at once, in bytes.
const PART: u64 = 16 << 10;

/// The length of datagrams that are not lost.
const SHORT: u64 = 700;

/// The maximum delay of a waiting frame.
const TICK: Duration = Duration::from_millis(1);

/// Packets from a path may reach an echo service there, and its answers go back.
pub const POLICIES: &str = r#"
[[policy]]
from = "path"
to = "router"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "path"
to = "router"
protocol = "udp"
ports = [7000]

[[policy]]
from = "router"
to = "path"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "router"
to = "path"
protocol = "udp"
ports = [7000]
"#;

/// Neighbours may take objects of each other.
const OBJECTS: &str = r#"
[[policy]]
from = "path"
to = "router"
service = "cache.objects"

[[policy]]
from = "router"
to = "path"
service = "cache.objects"
"#;

/// The size of an object, in bytes: it has several windows.
const OBJECT: usize = 4 << 20;

const ACCOUNTS: &str = "[accounts]\nmax_debt = 1000000000000\nmax_window = 524288\n";

pub fn address(number: usize) -> String {
    format!("192.0.2.{}", number + 1)
}

fn text(number: usize, more: &str) -> String {
    let address = address(number);
    format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{address}/24\"]\n[cluster]\nboards = 4\n[lan]\n{POLICIES}{OBJECTS}{more}"
    )
}

fn image(number: usize) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}{IMAGE}", text(number, "")));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    let remake = Remake::of(&shipped()).file(SETTINGS, 0o644, settings);
    with_programs(remake).image()
}

/// Joins the uplinks; of long frames some are lost.
pub struct Uplinks {
    is_cut: Arc<AtomicBool>,
}

impl Uplinks {
    pub fn join(ports: [Port; 3]) -> Self {
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            let mut long = 0;
            while !cut.load(Ordering::Relaxed) {
                for (from, port) in ports.iter().enumerate() {
                    let Some(frame) = port.receive(Instant::now() + TICK) else { continue };
                    long += usize::from(frame.len() > LONG);
                    if frame.len() > LONG && long % LOST == 0 {
                        continue;
                    }
                    for (_, other) in ports.iter().enumerate().filter(|(to, _)| *to != from) {
                        // A guest that has ended receives nothing.
                        let _ = other.send(&frame);
                    }
                }
            }
        });
        Self { is_cut }
    }
}

impl Drop for Uplinks {
    fn drop(&mut self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

pub fn ask(site: &Site, unit: &str, verb: &str, args: Value) -> Value {
    site.ask(Node::Router, unit, verb, args)
}

/// A number in the row of the neighbour with this name.
fn number(site: &Site, (unit, verb): (&str, &str), name: &str, key: &str) -> u64 {
    let rows = ask(site, unit, verb, json!({}));
    let row = rows.as_array().unwrap().iter().find(|row| row["neighbour"] == name);
    row.and_then(|row| row[key].as_u64()).unwrap_or_default()
}

fn account(site: &Site, name: &str, key: &str) -> u64 {
    number(site, ("accounts", "show"), name, key)
}

pub fn traffic(site: &Site, name: &str, key: &str) -> u64 {
    number(site, ("forward", "traffic"), name, key)
}

/// The three boxes, once they are ready.
pub fn boot(image: impl Fn(usize) -> Image) -> ([Site; 3], Uplinks) {
    let sites = [HILL, LAKE, WOOD].map(|number| Site {
        cluster: Cluster::new(4, number == HILL).unwrap(),
        image: image(number),
    });
    let ports =
        [HILL, LAKE, WOOD].map(|it| sites[it].cluster.attach(200, Socket::Router(0)).unwrap());
    let uplinks = Uplinks::join(ports);
    for (site, card) in sites.iter().zip(150..) {
        let machine = site.machine_of(Node::Router).cpus(1);
        site.cluster.power_on_as(Node::Router, Mac::number(card), machine).unwrap();
    }
    for site in &sites {
        site.wait_ready(Node::Router);
    }
    (sites, uplinks)
}

#[test]
#[ignore = "long: three boxes; `services/receipts/tests/worlds.rs` and `services/accounts/tests/service.rs` have all of it but the \
            kernel's quota, whose rules `services/forward/src/kernel/meter.rs` tests"]
fn who_asks_pays_what_it_counts_and_is_stopped_when_it_does_not() {
    let began = Instant::now();
    let (sites, _uplinks) = boot(image);
    let [hill, lake, wood] = &sites;
    let descriptors = [hill, lake, wood].map(descriptor);
    println!("ready after {:?}", began.elapsed());

    let at = |number: usize| format!("at = \"{}:{PORT}\"\n", address(number));
    let pays = format!("max_price = {PRICE}\nmax_object_price = {PRICE}\n");
    let charges = format!("price = {PRICE}\nobject_price = {PRICE}\n");
    let of_hill = |pays: &str| {
        text(
            HILL,
            &format!(
                "{ACCOUNTS}{}",
                line("lake", &descriptors[LAKE], &format!("{}{pays}", at(LAKE)))
            ),
        )
    };
    apply(hill, of_hill(&pays));
    let to_hill = line("hill", &descriptors[HILL], &charges);
    let to_wood = line("wood", &descriptors[WOOD], &format!("{}{pays}", at(WOOD)));
    apply(lake, text(LAKE, &format!("{ACCOUNTS}{to_hill}{to_wood}")));
    let to_lake = line("lake", &descriptors[LAKE], &charges);
    apply(wood, text(WOOD, &format!("{ACCOUNTS}{to_lake}")));

    // A path of two links, without probes of its own.
    let end = ask(wood, "forward", "status", json!({}))["address"].as_str().unwrap().to_owned();
    hill.wait("a path is up", || {
        let args = json!({ "to": end, "via": "lake", "alone": true });
        hill.machine(Node::Router).call_unit("forward", "path-add", args).is_ok()
    });
    let talk = |bytes: u64| {
        let args = json!({ "to": format!("[{end}]:7000"), "mark": "octet", "bytes": bytes });
        hill.machine(Node::Router).call_unit("talker", "tcp", args)
    };
    let say = || {
        let args = json!({ "to": format!("[{end}]:7000"), "mark": "octet", "bytes": SHORT });
        ask(hill, "talker", "word", args);
    };
    println!("a path after {:?}", began.elapsed());

    // Several windows pass, while both `accounts` of the first link are killed.
    for turn in 0..2 {
        hill.wait("a connection comes through", || talk(2 * WINDOW).is_ok());
        if turn == 0 {
            for site in [hill, lake] {
                let args = json!({ "unit": "accounts", "signal": "KILL" });
                site.machine(Node::Router).call("signal", args).unwrap();
            }
        }
    }
    println!("{:?}: {}", began.elapsed(), ask(lake, "accounts", "show", json!({})));
    for (payer, payee, [to, from]) in
        [(hill, lake, ["lake", "hill"]), (lake, wood, ["wood", "lake"])]
    {
        let (counted, billed) = (Cell::new(0), Cell::new(0));
        payee.wait("what is billed is what the payer has counted", || {
            counted.set(traffic(payer, to, "bought"));
            billed.set(account(payee, from, "signed_by_them"));
            counted.get() > 4 * WINDOW
                && billed.get().abs_diff(counted.get()) <= counted.get() / 1000
        });
        let owed = account(payee, from, "owed_to_us");
        println!("{to}: {counted:?} counted, {billed:?} billed, {owed} owed");
        // The price is for 2^30 bytes.
        let expected =
            |bytes: u64| u64::try_from((u128::from(bytes) * u128::from(PRICE)) >> 30).unwrap();
        let billed = account(payee, from, "signed_by_them");
        assert!(
            (expected(counted.get() / 2)..=expected(billed)).contains(&owed),
            "{owed} {billed}"
        );
        // What was lost on the way to the payer was counted by the payee alone.
        assert!(account(payee, from, "unsigned") < WINDOW);
    }

    // An object of the second box comes to the first one over a path, and is paid, too.
    let object = |seed: usize| -> Vec<u8> {
        (0..OBJECT).map(|at| (at * at / 251 + at * seed) as u8).collect()
    };
    let add = |seed: usize| {
        let mut file = Bytes(object(seed));
        let added = lake.machine(Node::Router).send_file("cache", "add", "file", &mut file);
        added.unwrap()["hash"].clone()
    };
    let get = |hash: &Value| {
        let args = json!({ "hash": hash });
        hill.machine(Node::Router).call_unit("cache", "get", args).is_ok()
    };
    let [first, second] = [add(1), add(2)];
    hill.wait("the object is here", || get(&first));
    let size = u64::try_from(OBJECT).unwrap();
    let given = |site: &Site, name: &str, key: &str| number(site, ("cache", "traffic"), name, key);
    let counts = [given(hill, "lake", "bought"), given(lake, "hill", "served")];
    println!("{:?}: {counts:?} bytes of an object of {size}", began.elapsed());
    // The last part has come twice: first it has proved the size.
    let [bought, served] = counts;
    assert!(bought == served && (size..=size + PART).contains(&bought));
    let objects = |key: &str| {
        let rows = ask(lake, "accounts", "show", json!({}));
        let is_it = |row: &&Value| row["neighbour"] == "hill" && row["kind"] == "objects";
        let row = rows.as_array().unwrap().iter().find(is_it);
        row.and_then(|row| row[key].as_u64()).unwrap_or_default()
    };
    lake.wait("it is billed to the byte", || objects("signed_by_them") == served);
    let cost = u64::try_from((u128::from(served) * u128::from(PRICE)) >> 30).unwrap();
    assert_eq!(objects("owed_to_us"), cost);
    // It is the object that was put in.
    assert_eq!(ask(hill, "cache", "get", json!({ "hash": first }))["size"], size);

    // Without a price that it would pay it signs no more.
    apply(hill, of_hill(""));
    hill.wait("the window of objects is used up", || {
        assert!(!get(&second), "an object came for nothing");
        given(lake, "hill", "served") >= served + WINDOW - PART
    });
    // A hundredth of what was signed may be lost.
    assert!(given(lake, "hill", "served") <= served + WINDOW + served / 100);
    // It gets the window, and a hundredth of what was signed; not less, either.
    let unsigned = || account(lake, "hill", "unsigned");
    let most = || WINDOW + account(lake, "hill", "signed_by_them") / 100;
    lake.wait("the window is used up", || {
        (0..50).for_each(|_| say());
        unsigned() + LEFT > most()
    });
    let (served, bought) = (|| traffic(lake, "hill", "served"), || traffic(hill, "lake", "bought"));
    let (before, sent) = (served(), bought());
    (0..100).for_each(|_| say());
    hill.wait("more is sent", || bought() > sent + 100 * SHORT);
    println!("{:?}: {} unsigned, of {}", began.elapsed(), unsigned(), most());
    assert!(unsigned() <= most() && served() < before + LEFT);

    // The same path carries again as soon as it is paid for, and the rest of the object comes.
    apply(hill, of_hill(&pays));
    hill.wait("the other object is here", || get(&second));
    let all = given(lake, "hill", "served");
    assert!(all == given(hill, "lake", "bought") && all >= 2 * size);
    // What came while there was no price is never signed: a window, and what may be lost of what was signed.
    let lost = WINDOW + size / 50;
    lake.wait("the rest is billed", || objects("signed_by_them") + lost >= all);
    hill.wait("it is served again", || {
        say();
        served() > before
    });
    println!("all of it: {:?}", began.elapsed());
}

//! Two boxes whose routers are configured as neighbours: one has the other's address, and the other
//! one learns its address. No other node gets a link, whatever is configured.

use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_control::file::LocalFile;
use octet_machine::panel::Mac;
use octet_machine::{Cluster, Node, Socket, router_card};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use octet_tests::{Image, Remake, shipped};
use serde_json::{Value, json};

use crate::cluster::joined::Joined;
use crate::cluster::path::{STREAM, with_programs};
use crate::cluster::site::{IMAGE, Site};

const BOARDS: u8 = 4;

/// Both uplinks are in one network.
const HILL: &str = "192.0.2.1";
const LAKE: &str = "192.0.2.2";

pub const PORT: u16 = 51820;

/// Packets from a path may reach an echo service there.
const LINES: &str = r#"
[[policy]]
from = "path"
to = "router"
protocol = "tcp"
ports = [7000]

[[policy]]
from = "router"
to = "path"
protocol = "tcp"
ports = [7000]
"#;

/// The MTU of one uplink, as with PPPoE (RFC 2516).
const PPPOE: &str = "virtio-net-pci.host_mtu=1492";

/// The settings of a box whose uplink has this address.
fn text(address: &str, lines: &str) -> String {
    format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{address}/24\"]\n[cluster]\nboards = {BOARDS}\n[lan]\n{LINES}{lines}"
    )
}

fn image(address: &str) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}{IMAGE}", text(address, "")));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    let remake = Remake::of(&shipped()).file(SETTINGS, 0o644, settings);
    with_programs(remake).image()
}

/// The peer descriptor of a node that does not exist.
fn strangers() -> String {
    let node = PrivateKey::generate().unwrap();
    let (unit, key) = ("forward".parse().unwrap(), PrivateKey::generate().unwrap().public());
    let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 0 };
    Certificate::sign(statement, &node).unwrap().into()
}

pub fn line(name: &str, descriptor: &str, more: &str) -> String {
    format!("[[neighbour]]\nname = {name:?}\ndescriptor = {descriptor:?}\n{more}\n")
}

fn forward(site: &Site, verb: &str, args: Value) -> Value {
    site.ask(Node::Router, "forward", verb, args)
}

pub fn descriptor(site: &Site) -> String {
    let shown = || site.machine(Node::Router).call_unit("forward", "descriptor", json!({}));
    site.wait("the router has a descriptor", || shown().is_ok());
    shown().unwrap()["descriptor"].as_str().unwrap().to_owned()
}

/// Applies the settings `text`, and confirms them.
pub fn apply(site: &Site, text: String) {
    let mut file = LocalFile::Memory(text.into_bytes());
    let machine = site.machine(Node::Router);
    machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
    site.ask(Node::Router, "config", "confirm", json!({}));
}

/// The links by the names of their neighbours, and whether they are up.
fn links(site: &Site) -> Vec<(String, bool)> {
    let shown = forward(site, "links", json!({}));
    let row = |row: &Value| (row["node"].as_str().unwrap().to_owned(), row["up"] == true);
    let mut links: Vec<_> = shown.as_array().unwrap().iter().map(row).collect();
    links.sort();
    links
}

/// Whether netd allows UDP at the port of links from the uplink to the router itself.
fn is_open(site: &Site) -> bool {
    let asked = json!({ "from": "uplink", "to": "router", "what": format!("udp/{PORT}") });
    site.ask(Node::Router, "netd", "explain", asked)["answer"] == "allowed"
}

fn is_up(name: &str) -> (String, bool) {
    (name.to_owned(), true)
}

#[test]
#[ignore = "long: who is a neighbour by a line is tested in `services/forward/src/neighbour.rs`, the door of its link in \
            `net::by_forward` and netd's golden files, and links between kernels in `cluster::forward`"]
fn two_routers_are_neighbours_by_their_lines() {
    let began = Instant::now();
    let hill = Site::of(BOARDS, image(HILL));
    let lake = Site { cluster: Cluster::new(BOARDS, false).unwrap(), image: image(LAKE) };
    let wire = Joined::new((&hill, Socket::Router(0)), (&lake, Socket::Router(0)));
    for (site, own) in [(&hill, router_card(0)), (&lake, Mac::number(150))] {
        let machine = site.machine_of(Node::Router);
        let is_hill = own == router_card(0);
        let machine = if is_hill { machine.argument("-global").argument(PPPOE) } else { machine };
        site.cluster.power_on_as(Node::Router, own, machine).unwrap();
    }
    for site in [&hill, &lake] {
        site.wait_ready(Node::Router);
    }
    let [of_hill, of_lake] = [&hill, &lake].map(descriptor);
    println!("ready after {:?}: {of_hill}", began.elapsed());
    // The required kernel modules were loaded at the start.
    let status = hill.machine(Node::Router).status().unwrap();
    assert_eq!(
        status.unit("forward").unwrap().restarts,
        0,
        "{}",
        hill.machine(Node::Router).tail(40)
    );
    assert!([&hill, &lake].iter().all(|site| links(site).is_empty() && !is_open(site)));

    // One side has the other's address, but is not configured there: the other's port is closed. So
    // is its own port until the neighbour was met.
    let to_lake = line("lake", &of_lake, &format!("at = \"{LAKE}:{PORT}\""));
    let stranger = line("stranger", &strangers(), &format!("at = \"{LAKE}:{PORT}\""));
    apply(&hill, text(HILL, &format!("{stranger}{to_lake}")));
    let down = [("lake".to_owned(), false), ("stranger".to_owned(), false)];
    hill.wait("links are made", || links(&hill) == down);
    assert!(is_open(&hill) && !is_open(&lake));

    // A section with another key opens the port, but creates no link. The descriptor identifies the
    // neighbour, not the name.
    apply(&lake, text(LAKE, &line("hill", &strangers(), "")));
    lake.wait("a link is made", || links(&lake) == [("hill".to_owned(), false)]);
    assert!(is_open(&lake));
    lake.wait("somebody has knocked", || came_in(&lake) > 0);
    assert_eq!((links(&hill), links(&lake)), (down.into(), vec![("hill".to_owned(), false)]));
    println!("nobody is up after {:?}", began.elapsed());

    // With the right descriptor both are up: the side without an address has learned it.
    apply(&lake, text(LAKE, &line("hill", &of_hill, "")));
    hill.wait("the link is up", || links(&hill)[0] == is_up("lake"));
    lake.wait("the link is up", || links(&lake) == [is_up("hill")]);
    println!("up after {:?}: {:?} {:?}", began.elapsed(), links(&hill), links(&lake));

    carries_a_path(&hill);
    passes_a_way_that_is_narrower(&hill, &lake, &wire);

    // Without the section there is no link.
    apply(&hill, text(HILL, &stranger));
    assert_eq!(links(&hill), [("stranger".to_owned(), false)]);
    lake.wait("the other hears nothing", || links(&lake) == [("hill".to_owned(), false)]);
    println!("all of it: {:?}", began.elapsed());
}

/// Paths use the link like one that results from the map.
fn carries_a_path(hill: &Site) {
    // A path to the configured neighbour is found once both sides have announced the link.
    let mut made = Value::Null;
    hill.wait("a path is known", || {
        let args = json!({ "to": "lake", "alone": true });
        let answer = hill.machine(Node::Router).call_unit("forward", "path-add", args);
        answer.is_ok_and(|answer| {
            made = answer;
            true
        })
    });
    let pinged = forward(hill, "ping", json!({ "path": made["path"] }));
    let paths = forward(hill, "paths", json!({}));
    println!("{pinged} {paths}");
    assert!(pinged["milliseconds"].as_f64().is_some());
    let path = [&paths[0]["to"], &paths[0]["via"], &paths[0]["state"]];
    assert_eq!(path, [&json!("lake"), &json!(""), &json!("up")]);

    // A restarted daemon finds the link in the kernel, and it comes up again.
    let numbers = || {
        let shown = forward(hill, "links", json!({}));
        let rows = shown.as_array().unwrap().iter();
        rows.map(|row| (row["node"].clone(), row["link"].clone())).collect::<Vec<_>>()
    };
    let before = numbers();
    let machine = hill.machine(Node::Router);
    machine.call("signal", json!({ "unit": "forward", "signal": "KILL" })).unwrap();
    let shown = || machine.call_unit("forward", "links", json!({}));
    hill.wait("it is back", || shown().is_ok_and(|shown| shown.as_array().unwrap().len() == 2));
    hill.wait("the link is up", || links(hill)[0] == is_up("lake"));
    assert_eq!(numbers(), before);
    let ping = || machine.call_unit("forward", "ping", json!({ "path": made["path"] }));
    hill.wait("the path stands as before", || ping().is_ok());
}

/// The known MTUs: of the link at both routers, and of the first router's path.
fn mtus(hill: &Site, lake: &Site) -> [Value; 3] {
    let path = forward(hill, "paths", json!({}))[0]["mtu"].clone();
    [row(hill, "lake")["mtu"].clone(), row(lake, "hill")["mtu"].clone(), path]
}

/// The row of the link to the node with this name.
fn row(site: &Site, name: &str) -> Value {
    let shown = forward(site, "links", json!({}));
    let row = shown.as_array().unwrap().iter().find(|row| row["node"] == name);
    row.unwrap_or_else(|| panic!("no link to {name}: {shown}")).clone()
}

/// A connection transfers data at any MTU between the two; if the MTU is too low for a path, the
/// link's state says so.
fn passes_a_way_that_is_narrower(hill: &Site, lake: &Site, wire: &Joined) {
    let card = lake.machine(Node::Router).call_unit("forward", "status", json!({})).unwrap();
    let to = format!("[{}]:7000", card["address"].as_str().unwrap());
    let talks = || {
        let args = json!({ "to": to, "mark": "octet", "bytes": STREAM });
        let said = hill.machine(Node::Router).call_unit("talker", "tcp", args);
        said.is_ok_and(|said| said == json!({ "said": STREAM, "back": STREAM, "same": true }))
    };
    // The first router's uplink has this MTU; the wire may have a lower one.
    for (mtu, [of_hill, of_lake, path]) in [(1500, [1432, 1440, 1344]), (1430, [1364, 1364, 1280])]
    {
        wire.narrow(mtu);
        hill.wait("a connection comes through", talks);
        wait_known(hill, lake, [of_hill, of_lake, path]);
        assert!(talks());
    }
    wire.narrow(1400);
    let link = || row(hill, "lake");
    hill.wait("the link is refused", || link()["up"] == false);
    println!("{}", link());
    assert!(link()["reason"].as_str().unwrap().contains("1424"));
    wire.narrow(1500);
    hill.wait("the link is up", || links(hill)[0] == is_up("lake"));
    wait_known(hill, lake, [1432, 1440, 1344]);
    hill.wait("a connection comes through", talks);
}

/// Waits until both links and the path have these MTUs, and prints the values meanwhile.
fn wait_known(hill: &Site, lake: &Site, wanted: [u16; 3]) {
    let (wanted, mut last) =
        (wanted.map(|mtu| json!(mtu)), [Value::Null, Value::Null, Value::Null]);
    hill.wait("it is known how long packets are", || {
        let now = mtus(hill, lake);
        if now != last {
            println!("{now:?} {}", forward(hill, "paths", json!({})));
            last.clone_from(&now);
        }
        now == wanted
    });
}

/// The number of accepted flows to the port of links.
fn came_in(site: &Site) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    shown["lines"]["links"].as_u64().unwrap()
}

//! Two boxes whose routers are neighbours by lines of their files: one knows where the other is, which has to be
//! found and learns it. Nobody else gets a link, whatever line names him.

use std::time::Instant;

use octet_appliance::{Appliance, SETTINGS};
use octet_control::file::LocalFile;
use octet_machine::panel::Mac;
use octet_machine::{Cluster, Node, Socket, router_card};
use octet_node::certificate::{Certificate, Statement};
use octet_node::key::Key;
use octet_tests::{Image, Remake, shipped, soak};
use serde_json::{Value, json};

use crate::cluster::joined::Joined;
use crate::cluster::site::{IMAGE, Site};

const BOARDS: u8 = 4;

/// Both uplinks are in one network.
const HILL: &str = "192.0.2.1";
const LAKE: &str = "192.0.2.2";

/// The port of links.
const PORT: u16 = 51820;

/// A box whose uplink has this address.
fn text(address: &str, lines: &str) -> String {
    format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{address}/24\"]\n[cluster]\nboards = {BOARDS}\n[lan]\n{lines}"
    )
}

fn image(address: &str) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}{IMAGE}", text(address, "")));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    Remake::of(&shipped()).file(SETTINGS, 0o644, settings).image()
}

/// The card of a node that is nowhere.
fn strangers() -> String {
    let node = Key::generate().unwrap();
    let (unit, key) = ("forward".parse().unwrap(), Key::generate().unwrap().public());
    let statement = Statement { node: node.public(), unit, key, epoch: 1, issued: 0 };
    Certificate::sign(statement, &node).unwrap().into()
}

fn line(name: &str, card: &str, more: &str) -> String {
    format!("[[neighbour]]\nname = {name:?}\ncard = {card:?}\n{more}\n")
}

fn forward(site: &Site, verb: &str, args: Value) -> Value {
    site.ask(Node::Router, "forward", verb, args)
}

fn card(site: &Site) -> String {
    let shown = || site.machine(Node::Router).call_unit("forward", "card", json!({}));
    site.wait("the router has a card", || shown().is_ok());
    shown().unwrap()["card"].as_str().unwrap().to_owned()
}

/// Has the box be as `text` says, for good.
fn apply(site: &Site, text: String) {
    let mut file = LocalFile::Held(text.into_bytes());
    let machine = site.machine(Node::Router);
    machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
    site.ask(Node::Router, "config", "confirm", json!({}));
}

/// Which links there are, by what they are called, and whether they are up.
fn links(site: &Site) -> Vec<(String, bool)> {
    let shown = forward(site, "links", json!({}));
    let row = |row: &Value| (row["node"].as_str().unwrap().to_owned(), row["up"] == true);
    let mut links: Vec<_> = shown.as_array().unwrap().iter().map(row).collect();
    links.sort();
    links
}

/// What netd says of UDP at the port of links between the uplink and the router itself.
fn is_open(site: &Site) -> bool {
    let asked = json!({ "from": "uplink", "to": "router", "what": format!("udp/{PORT}") });
    site.ask(Node::Router, "netd", "explain", asked)["answer"] == "let"
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
    let _wire = Joined::new((&hill, Socket::Router(0)), (&lake, Socket::Router(0)));
    for (site, own) in [(&hill, router_card(0)), (&lake, Mac::number(150))] {
        site.cluster.power_on_as(Node::Router, own, site.machine_of(Node::Router)).unwrap();
    }
    for site in [&hill, &lake] {
        site.wait_ready(Node::Router);
    }
    let [of_hill, of_lake] = [&hill, &lake].map(card);
    println!("ready after {:?}: {of_hill}", began.elapsed());
    // What it needs of the kernel was there when it started.
    let status = hill.machine(Node::Router).status().unwrap();
    assert_eq!(
        status.unit("forward").unwrap().restarts,
        0,
        "{}",
        hill.machine(Node::Router).tail(40)
    );
    assert!([&hill, &lake].iter().all(|site| links(site).is_empty() && !is_open(site)));

    // One knows the other, and is not known there: the other's door is shut. So is it to whom nobody has met.
    let to_lake = line("lake", &of_lake, &format!("at = \"{LAKE}:{PORT}\""));
    let stranger = line("stranger", &strangers(), &format!("at = \"{LAKE}:{PORT}\""));
    apply(&hill, text(HILL, &format!("{stranger}{to_lake}")));
    let down = [("lake".to_owned(), false), ("stranger".to_owned(), false)];
    hill.wait("links are made", || links(&hill) == down);
    assert!(is_open(&hill) && !is_open(&lake));

    // A line with another's key opens the door, and not the link. Whom it names is in the card, not in the name.
    apply(&lake, text(LAKE, &line("hill", &strangers(), "")));
    lake.wait("a link is made", || links(&lake) == [("hill".to_owned(), false)]);
    assert!(is_open(&lake));
    lake.wait("somebody has knocked", || came_in(&lake) > 0);
    assert_eq!((links(&hill), links(&lake)), (down.into(), vec![("hill".to_owned(), false)]));
    println!("nobody is up after {:?}", began.elapsed());

    // With the right one, both are up: who was found has learned from where.
    apply(&lake, text(LAKE, &line("hill", &of_hill, "")));
    hill.wait("the link is up", || links(&hill)[0] == is_up("lake"));
    lake.wait("the link is up", || links(&lake) == [is_up("hill")]);
    println!("up after {:?}: {:?} {:?}", began.elapsed(), links(&hill), links(&lake));

    if soak() {
        carries_a_path(&hill);
    }

    // Without its line there is no link.
    apply(&hill, text(HILL, &stranger));
    assert_eq!(links(&hill), [("stranger".to_owned(), false)]);
    lake.wait("the other hears nothing", || links(&lake) == [("hill".to_owned(), false)]);
    println!("all of it: {:?}", began.elapsed());
}

/// By the link a path goes, as by one that the map has given.
fn carries_a_path(hill: &Site) {
    // By it a path goes, to whom the line has named, once both have announced it.
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

    // A daemon that is started again finds the link in the kernel, and it is up again.
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

/// How many flows to the port of links the router has let in.
fn came_in(site: &Site) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    shown["lines"]["links"].as_u64().unwrap()
}

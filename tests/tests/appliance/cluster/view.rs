//! The view of the whole box: the state of each node, the placement of units, and an operator at a
//! board through the router.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use octet_machine::panel::{Host, Mac};
use octet_machine::{Node, Socket, UnitState};
use octet_tests::Owner;
use serde_json::{Value, json};

use crate::cluster::owned::Keys;
use crate::cluster::site::Site;
use crate::cluster::uplink::newcomer;

/// A device of the owner's, and the router's address in its network.
const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 250, 77));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 250, 1));

/// An additional service for board 1 only, and an owner.
pub fn lines(key: &str) -> String {
    format!(
        "[[board]]\nnumber = 1\nservices = [\"named\"]\n\
         [operator]\nkeys = [{{ key = {key:?}, name = \"anna\", may = [\"own\"] }}]\n"
    )
}

fn state(site: &Site, board: u8, unit: &str) -> UnitState {
    site.machine(Node::Board(board)).status().unwrap().unit(unit).unwrap().state
}

/// The whole box is viewed and drained.
pub fn passes(site: &Site) {
    // The units run where the file places them.
    site.wait("the service is on its board", || state(site, 1, "named") == UnitState::Ready);
    assert_eq!(state(site, 2, "named"), UnitState::Stopped);
    site.wait("the router knows of it", || {
        let shown = site.machine(Node::Router).call("status", json!({ "box": true })).unwrap();
        let row = |number: u8| {
            let rows = shown["nodes"].as_array().unwrap().iter();
            { rows }.find(|row| row["number"] == number).cloned().unwrap_or_default()
        };
        let more = |row: &Value| row["ready"].as_u64();
        // One unit more than on the other board.
        row(1)["box"] == "ready" && more(&row(1)) > more(&row(2)) && row(4)["state"] == "none"
    });

    // `face` has figures of each node, within its limits.
    site.wait("there are figures of the router and of both boards", || {
        let shown = site.ask(Node::Router, "face", "show", json!({}));
        let rows = shown["nodes"].as_array().unwrap();
        let row = |number: u8| rows.iter().find(|row| row["number"] == number).unwrap();
        let has_figures = |row: &Value| {
            row["condition"] == "ready"
                && ["cpu_percent", "memory", "received", "received_per_second", "sent_per_second"]
                    .iter()
                    .all(|name| row[name].is_u64())
        };
        (0..=2).all(|number| has_figures(row(number))) && row(4)["condition"] == "empty"
    });
    let status = site.machine(Node::Router).status().unwrap();
    let face = status.unit("face").unwrap();
    println!("face: {:?} bytes", face.memory);
    assert!(face.memory.unwrap() < 8 << 20, "{face:?}");

    // Its name resolves while it runs.
    let has_name = || {
        let name = json!({ "name": "extra-1.octet" });
        let found = site.machine(Node::Board(1)).call_unit("lan", "lookup", name);
        found.is_ok_and(|it| it["addresses"][0] == "10.20.1.2")
    };
    site.wait("it has a name", has_name);

    // Drained and undrained.
    site.ask(Node::Router, "cluster", "drain", json!({ "number": "1" }));
    site.wait("nothing runs on it", || state(site, 1, "named") == UnitState::Stopped);
    assert_eq!(site.row(1)["state"], "drained");
    site.wait("its name has gone with it", || !has_name());
    site.ask(Node::Router, "cluster", "undrain", json!({ "number": "1" }));
    site.wait("it runs again", || state(site, 1, "named") == UnitState::Ready);
    site.wait("it has a name again", has_name);
}

/// A device at the router's card `lan` gets an address, and `owner` reaches a board from there
/// through the router. `keys` are those of the boards.
pub fn an_owner_reaches_a_board(site: &Site, owner: &Owner, keys: &Keys, lan: u8) {
    let (device, offered) = newcomer(site, lan, Ipv4Addr::new(10, 20, 250, 78));
    assert_eq!(offered.octets()[..3], [10, 20, 250]);
    drop(device);

    let port = site.cluster.attach(9, Socket::Router(lan)).unwrap();
    let host = Host::start(port, Mac::number(77), &[(DEVICE, 24)]);
    let address = host.forward_tcp(SocketAddr::new(ROUTER, 4040)).unwrap().to_string();
    let router = site.ask(Node::Router, "identity", "show", json!({}))["node"].clone();
    let named = format!("{}@{address}", router.as_str().unwrap());
    let at = |board: &str, words: &[&str]| {
        let ask = || owner.ask("anna", &[&["--box", &named, "--board", board], words].concat());
        let mut asked = ask();
        // A busy host may be late.
        site.wait("the board answers", || {
            !asked.stderr.contains("cannot reach") || {
                asked = ask();
                false
            }
        });
        asked
    };
    let key = keys[&1].as_str().unwrap();
    let asked = at(&format!("1={key}"), &["status", "--json"]);
    assert_eq!(asked.status, Some(0), "{}", asked.stderr);
    // Broadcasts of the router itself in the lan are not counted as drops of any device.
    let drops = &site.ask(Node::Router, "netd", "show", json!({}))["drops"];
    println!("dropped: {drops}");
    assert_eq!(drops[format!("eth{lan}")]["ra"], Value::Null);
    let status: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(status["board"], 1, "{status}");
    // The board is known from now on, and another one is not accepted in its place.
    assert_eq!(at("1", &["status"]).status, Some(0));
    let other = keys[&2].as_str().unwrap();
    let refused = at(&format!("1={other}"), &["status"]);
    assert_ne!(refused.status, Some(0), "{}", refused.stdout);
    println!("another key: {}", refused.stderr);
}

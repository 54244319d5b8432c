//! A VPN between boxes: the lan of one box uses another box as its exit, whose owner defines the
//! policies. Both routers' uplinks and a server are in one network, which the test carries and
//! monitors. Traffic of the lan appears there only from the exit, and not at all without a path.

mod begun;
mod device;
mod outside;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_appliance::{Appliance, SETTINGS};
use octet_control::file::LocalFile;
use octet_machine::panel::Mac;
use octet_machine::{Cluster, Node};
use octet_tests::{Image, Remake, shipped};
use serde_json::{Value, json};

use begun::SAID;
use device::Device;
use outside::Outside;

use crate::cluster::site::{IMAGE, Site};
use crate::cluster::uplink::kill;

const BOARDS: u8 = 4;

/// The box whose lan uses the exit, the exit, and the server.
const HOME: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HILL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const HOME_MAC: Mac = Mac::number(100);
const HILL_MAC: Mac = Mac::number(150);
const SERVER_MAC: Mac = Mac::number(200);

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// The server echoes datagrams at both ports, and accepts connections at the first. The exit's
/// policies allow the first only.
const LET: u16 = 7000;
const NOT_LET: u16 = 7001;
const NAMES: u16 = 53;

/// A port of the box itself that external hosts may reach; no program listens there.
const ASKED: u16 = 7005;

/// A text in all data of the device.
const WORD: &str = "devices-word";
const NAME: &str = "devices-name";

/// The maximum payload through the VPN without fragmentation: 1316 bytes less the headers of IPv4
/// and UDP.
const LONGEST: usize = 1288;

/// The maximum segment size: 1316 bytes less the headers of IPv4 and TCP.
const SEGMENT: u16 = 1276;

/// The timeouts for an expected answer, and for expected silence.
const ANSWER: Duration = Duration::from_secs(6);
const SILENCE: Duration = Duration::from_secs(3);

/// The settings of a box whose uplink has this address.
fn text(address: Ipv4Addr, lines: &str) -> String {
    // Their internal networks differ, so that one can be addressed from the other.
    let inside = 19 + address.octets()[3];
    format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{address}/24\"]\ndns = \"{SERVER}\"\n\
         [cluster]\nboards = {BOARDS}\nnetwork = \"10.{inside}.0.0/16\"\n[lan]\n{lines}"
    )
}

/// Policies that allow datagrams between two zones at these ports, and connections at the one that
/// is for both.
fn policy(from: &str, to: &str, ports: &[u16]) -> String {
    let line = |protocol: &str, ports: &[u16]| {
        format!(
            "[[policy]]\nfrom = {from:?}\nto = {to:?}\nprotocol = {protocol:?}\nports = {ports:?}\n"
        )
    };
    line("udp", ports) + &line("tcp", &[LET])
}

fn neighbour(name: &str, descriptor: &str, more: &str) -> String {
    format!("[[neighbour]]\nname = {name:?}\ndescriptor = {descriptor:?}\n{more}\n")
}

fn image(address: Ipv4Addr) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{}{IMAGE}", text(address, "")));
    let settings = serde_json::to_vec(&appliance.unwrap()).unwrap();
    Remake::of(&shipped()).file(SETTINGS, 0o644, settings).image()
}

fn forward(site: &Site, verb: &str) -> Value {
    site.ask(Node::Router, "forward", verb, json!({}))
}

fn descriptor(site: &Site) -> String {
    let shown = || site.machine(Node::Router).call_unit("forward", "descriptor", json!({}));
    site.wait("the router has a descriptor", || shown().is_ok());
    shown().unwrap()["descriptor"].as_str().unwrap().to_owned()
}

/// Applies the settings `text`, and confirms them.
fn apply(site: &Site, text: String) {
    let mut file = LocalFile::Memory(text.into_bytes());
    let machine = site.machine(Node::Router);
    machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
    site.ask(Node::Router, "config", "confirm", json!({}));
}

/// Packets from devices of `forward` that the router has dropped.
fn denied_by_path(site: &Site) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    shown["lines"]["denied_by_path"].as_u64().unwrap()
}

/// Packets of the router itself that were dropped.
fn denied_own(site: &Site) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    shown["lines"]["denied_own"].as_u64().unwrap()
}

fn wait_open(home: &Site) {
    home.wait("the lan has a place", || forward(home, "status")["vpn"]["state"] == "open");
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_lan_leaves_by_another_box_or_not_at_all() {
    let began = Instant::now();
    let home = Site::of(BOARDS, image(HOME));
    let hill = Site { cluster: Cluster::new(BOARDS, false).unwrap(), image: image(HILL) };
    let outside = Outside::new(&home, &hill);
    for (site, own) in [(&home, HOME_MAC), (&hill, HILL_MAC)] {
        site.cluster.power_on_as(Node::Router, own, site.machine_of(Node::Router)).unwrap();
    }
    for site in [&home, &hill] {
        site.wait_ready(Node::Router);
    }
    let [of_home, of_hill] = [&home, &hill].map(descriptor);
    let device = Device::new(&home);

    let leaves = policy("lan", "uplink", &[LET, NOT_LET]);
    let to_hill = neighbour("hill", &of_hill, &format!("at = \"{HILL}:51820\""));
    let asked = format!(
        "[[policy]]\nfrom = \"uplink\"\nto = \"router\"\nprotocol = \"udp\"\nports = [{ASKED}]\n"
    );
    let without = text(HOME, &format!("{leaves}{asked}{to_hill}"));
    let with = format!("{without}[vpn]\nexit = \"hill\"\n");
    let to_home = neighbour("home", &of_home, "");
    let lets = policy("path", "uplink", &[NAMES, LET]);
    apply(&home, without.clone());
    apply(&hill, text(HILL, &to_home));
    home.wait("they know each other", || forward(&home, "status")["nodes"] == 2);
    println!("neighbours after {:?}", began.elapsed());

    // Without a VPN the server sees the box itself, and the traffic on the wire is readable.
    let reaches = |from: u16, to: u16| {
        let mut word = String::new();
        home.wait("the device reaches the server", || {
            let (said, is_back) = device.says(from, (SERVER, to), ANSWER);
            word = said;
            is_back
        });
        outside.said_by(&word).unwrap()
    };
    let resolves = || {
        let mut name = String::new();
        home.wait("the device has an answer", || {
            let (asked, said) = device.asks(ANSWER);
            name = asked;
            said == Some((0, Some(ELSEWHERE)))
        });
        outside.said_by(&name).unwrap()
    };
    let connects = || {
        let mut said = None;
        home.wait("a connection is taken up", || {
            said = device.begins((SERVER, LET), ANSWER);
            said.is_some()
        });
        (said, outside.begun_by())
    };
    let before = outside.now();
    assert_eq!([reaches(6000, LET), reaches(6001, NOT_LET), resolves()], [HOME; 3]);
    assert_eq!(connects(), (Some(SAID), Some((HOME, SAID))));
    assert!(outside.leaked(before) >= 4);
    // The router sends an error to the server about a device that is gone.
    let before = outside.now();
    device.says_and_goes(6012, (SERVER, LET));
    home.wait("the server is told", || outside.errors(before) > 0);

    // With a VPN and an exit that allows nothing: there is a path, but the VPN is refused. No
    // traffic of it is on the wire.
    apply(&home, with.clone());
    let since = outside.now();
    home.wait("the exit refuses", || {
        let state = forward(&home, "status")["vpn"]["state"].clone();
        state.as_str().is_some_and(|state| state.starts_with("refused: no line"))
    });
    // The existing flow is blocked, too.
    for from in [6000, 6002] {
        assert!(!device.says(from, (SERVER, LET), SILENCE).1);
    }
    assert_eq!(device.begins((SERVER, LET), SILENCE), None);
    assert!(device.asks(SILENCE).1.is_none_or(|(code, _)| code == 2));
    assert_eq!(outside.leaked(since), 0);
    println!("refused after {:?}", began.elapsed());

    // The exit's owner allows one port: only that works, and the server sees the exit.
    apply(&hill, text(HILL, &format!("{to_home}{lets}")));
    wait_open(&home);
    println!("{} after {:?}", forward(&home, "status"), began.elapsed());
    assert_eq!([reaches(6003, LET), resolves()], [HILL; 2]);
    // Long packets pass, and the MSS of connections is clamped.
    assert_eq!(connects(), (Some(SEGMENT), Some((HILL, SEGMENT))));
    home.wait("a long word comes back", || device.says_of(6003, (SERVER, LET), ANSWER, LONGEST).1);
    let (word, is_back) = device.says(6004, (SERVER, NOT_LET), SILENCE);
    assert!(!is_back && outside.said_by(&word).is_none());
    // Internal addresses of the exit, and its own, cannot be reached.
    for inside in [HILL, Ipv4Addr::new(10, 21, 250, 1), Ipv4Addr::new(10, 21, 1, 2)] {
        let before = denied_by_path(&hill);
        assert!(!device.says(6005, (inside, LET), SILENCE).1);
        hill.wait("it is dropped", || denied_by_path(&hill) > before);
    }
    assert_eq!(forward(&hill, "status")["clients"], 1);
    assert_eq!(outside.leaked(since), 0);

    // For a device that is gone, and for an answer whose TTL has expired, the router sends no error
    // by the uplink. For requests to the router itself it does.
    let (before, denied) = (outside.now(), denied_own(&home));
    device.says_and_goes(6013, (SERVER, LET));
    home.wait("nobody is told of a device that is gone", || {
        denied_own(&home) > denied || outside.errors(before) > 0
    });
    assert_eq!((outside.errors(before), outside.leaked(since)), (0, 0));
    outside.shorten(true);
    let denied = denied_own(&home);
    assert!(!device.says(6014, (SERVER, LET), SILENCE).1);
    home.wait("nobody is told of an answer that was too long on the way", || {
        denied_own(&home) > denied || outside.errors(before) > 0
    });
    outside.shorten(false);
    assert_eq!((outside.errors(before), outside.leaked(since)), (0, 0));
    outside.asks(ASKED);
    home.wait("the server is told that nobody listens", || outside.errors(before) > 0);
    assert_eq!(reaches(6014, LET), HILL);
    assert_eq!(outside.leaked(since), 0);

    // After a kill of either daemon the state is recovered.
    let address = forward(&home, "status")["vpn"]["address"].clone();
    for site in [&home, &hill] {
        kill(site, Node::Router, "forward");
    }
    wait_open(&home);
    assert_eq!(forward(&home, "status")["vpn"]["address"], address);
    assert_eq!([reaches(6006, LET), resolves()], [HILL; 2]);

    // The path fails: then nothing passes, whichever unit is killed.
    outside.cut(true);
    home.wait("the path is gone", || forward(&home, "status")["vpn"]["state"] == "no path");
    for unit in ["forward", "lan", "netd"] {
        for from in [6006, 6007] {
            assert!(!device.says(from, (SERVER, LET), SILENCE).1);
        }
        assert_eq!(device.begins((SERVER, LET), SILENCE), None);
        assert!(device.asks(SILENCE).1.is_none_or(|(code, _)| code == 2));
        kill(&home, Node::Router, unit);
    }
    assert!(!device.says(6008, (SERVER, LET), SILENCE).1);
    assert_eq!(outside.leaked(since), 0);
    println!("cut after {:?}", began.elapsed());

    // It recovers automatically.
    outside.cut(false);
    wait_open(&home);
    assert_eq!([reaches(6009, LET), resolves()], [HILL; 2]);
    assert_eq!(outside.leaked(since), 0);

    // Without the section the box behaves as before.
    apply(&home, without);
    assert_eq!([reaches(6010, LET), reaches(6011, NOT_LET), resolves()], [HOME; 3]);
    assert_eq!(forward(&home, "status")["vpn"], Value::Null);
    println!("all of it: {:?}", began.elapsed());
}

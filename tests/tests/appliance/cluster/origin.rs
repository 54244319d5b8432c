//! A box is the cache of a web server in its uplink's network, which is another box's gateway: one is asked once, and then
//! unplugged.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::panel::{Host, Mac};
use octet_machine::{Node, Socket};
use octet_tests::{Bytes, Image, Remake, SOON, workspace};
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::accounts::{HILL, LAKE, address, boot};
use crate::cluster::site::IMAGE;

const HTTP: u16 = 8080;

/// The router's card to the owner's devices, and one of these.
const LAN: u8 = 5;
const DEVICE: &str = "10.20.250.9";

const LENGTH: usize = 300_001;

/// The released image, with `origin`.
pub fn with_origin(folder: &TempDir) -> Image {
    let text = fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    let (before, after) = text.split_once("\nservices = [").expect("a list of services");
    let file = folder.path().join("appliance.toml");
    fs::write(&file, format!("{before}\nservices = [\"origin\", {after}")).unwrap();
    Image::build(&folder.path().join("out"), &["--appliance", file.to_str().unwrap()])
}

fn image(base: &Image, number: usize) -> Image {
    let own = address(number);
    let policy = |from: &str, to: &str| {
        format!(
            "[[policy]]\nfrom = \"{from}\"\nto = \"{to}\"\nprotocol = \"tcp\"\nports = [{HTTP}]\n"
        )
    };
    let more = match number {
        HILL => {
            let upstream = address(LAKE);
            let origin = |name: &str, allow: &str| {
                format!(
                    "[[origin]]\nname = \"{name}\"\nupstream = \"http://{upstream}:{HTTP}\"\n{allow}"
                )
            };
            let [lan, out] = [policy("lan", "router"), policy("router", "uplink")];
            // The network of the uplink is for documentation, and not globally reachable.
            let allowed = origin("web", "allow = [\"192.0.2.0/24\"]\n");
            format!("{allowed}{}{lan}{out}", origin("closed", ""))
        }
        _ => policy("uplink", "router"),
    };
    let text = format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"{own}/24\"]\n[cluster]\nboards = 4\n[lan]\n{more}{IMAGE}"
    );
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let settings = serde_json::to_vec(&appliance).unwrap();
    Remake::of(base).file(SETTINGS, 0o644, settings).image()
}

/// The head of the response to a request at the origin `name`, and its body.
fn get(device: &Host, name: &str, path: &str) -> (String, Vec<u8>) {
    let router: IpAddr = "10.20.250.1".parse().unwrap();
    let mut stream = device.connect(SocketAddr::new(router, HTTP)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let host = format!("{name}.octet.internal:{HTTP}");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = vec![];
    stream.read_to_end(&mut all).expect("late: the answer");
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(all[..end].to_vec()).unwrap().to_lowercase(), all[end + 4..].to_vec())
}

#[test]
#[ignore = "long: builds an image and boots three boxes; `services/cache/tests/node/origin` has all of it but the firewall"]
fn a_page_outlives_its_web_server() {
    let folder = TempDir::new().unwrap();
    let base = with_origin(&folder);
    let (sites, uplinks) = boot(|number| image(&base, number));
    let [hill, lake, _] = &sites;
    let port = hill.cluster.attach(201, Socket::Router(LAN)).unwrap();
    let device = Host::start(port, Mac::number(77), &[(DEVICE.parse().unwrap(), 24)]);

    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at * at / 251 + at) as u8).collect();
    let mut file = Bytes(bytes.clone());
    let added = lake.machine(Node::Router).send_file("cache", "add", "file", &mut file).unwrap();
    let path = added["path"].as_str().unwrap();
    let (head, body) = get(&device, "web", path);
    assert!(head.starts_with("http/1.1 200 ") && body == bytes, "{head}: {} bytes", body.len());
    assert!(head.contains("cache-status: octet; fwd=uri-miss"), "{head}");
    // The same address is refused where nobody has allowed it.
    let (head, _) = get(&device, "closed", path);
    assert!(head.starts_with("http/1.1 502 "), "{head}");
    hill.wait("it is stored", || get(&device, "web", path).0.contains("cache-status: octet; hit"));
    let asked = || lake.machine(Node::Router).call_unit("cache", "stats", json!({})).unwrap();
    let before = asked()["http_requests"].clone();

    // The web server is unplugged.
    drop(uplinks);
    let (head, body) = get(&device, "web", path);
    assert!(head.contains("cache-status: octet; hit") && body == bytes, "{head}");
    let (head, _) = get(&device, "web", "/b/unknown");
    assert!(head.starts_with("http/1.1 50"), "{head}");
    assert_eq!(asked()["http_requests"], before);
}

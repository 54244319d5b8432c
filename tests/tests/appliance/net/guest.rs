//! The guest: the released image, with a test listener at the gate's port, and another one beside
//! it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::Instant;

use octet_appliance::SETTINGS;
use octet_machine::panel::{DhcpServer, Mac, Port};
use octet_machine::{Machine, Status, UnitState};
use octet_tests::{READY, RETRY_DELAY, Remake, SOON, guest, shipped};
use serde_json::{Value, json};

/// The MAC address of the box, and the resulting link-local address (RFC 4291, appendix A).
pub const BOX: Mac = Mac::number(1);
pub const BOX_LINK: &str = "fe80::ff:fe00:1";

pub const TEST: Mac = Mac::number(2);

/// The gate's port; in these tests it is open for UDP, too.
pub const GATE: u16 = 4040;

/// Another port with a listener, for TCP.
pub const WEB: u16 = 80;

pub const ECHO: u16 = 5000;

/// A listener that must not be reachable from outside.
const WEB_UNIT: &str = r#"
    name = "web"
    exec = "/usr/lib/octet/listener"
    user = "extra-1"
    readiness = "socket"
    ports = { http = "tcp/80", echo = "udp/5000" }
    sockets.http.port = "http"
    sockets.echo.port = "echo"
    sandbox.network = "host"
"#;

/// Settings by which a box forwards packets.
const FORWARDS: [(&str, &str); 2] = [
    ("forwards-4", "/proc/sys/net/ipv4/ip_forward"),
    ("forwards-6", "/proc/sys/net/ipv6/conf/all/forwarding"),
];

/// The released image with both listeners.
pub fn with_doors() -> Remake {
    Remake::of(&shipped()).program("listener", &guest("listener")).unit(WEB_UNIT).change_units(
        |unit| match unit["name"].as_str() {
            // A listener replaces the gate, and echoes data.
            Some("gate") => {
                unit["exec"] = json!("/usr/lib/octet/listener");
                unit["readiness"] = json!("socket");
                unit["ports"]["echo"] = json!("udp/4040");
                let door = unit["sockets"]["gate"].clone();
                unit["sockets"] = json!({ "gate": door.clone(), "echo": door });
                unit["sockets"]["echo"]["port"] = json!("echo");
            }
            // The budget of restarts allows the kills of the tests.
            Some("netd") => {
                unit["restart"] = json!({
                    "policy": "always", "delay": "10ms", "max_delay": "100ms", "budget": 10_000,
                    "window": "24h",
                });
            }
            _ => {}
        },
    )
}

/// The same, configured to forward packets.
pub fn that_forwards(remake: Remake) -> Remake {
    FORWARDS.iter().fold(remake.program("put", &guest("put")), |remake, (name, file)| {
        remake.unit(&format!(
            "name = \"{name}\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/put\"\nuser = \"root\"\n\
             args = [\"{file}\", \"1\"]\n\
             [sandbox]\nnetwork = \"host\"\nwrite = [\"/\"]\ncapabilities = [\"NET_ADMIN\"]\n"
        ))
    })
}

/// With another `[network]`.
pub fn with_network(remake: Remake, network: &Value) -> Remake {
    // The released settings are the builder's own; only this section differs.
    let settings = json!({ "appliance": { "name": "octet" }, "network": network });
    remake.file(SETTINGS, 0o644, settings.to_string().into_bytes())
}

/// Starts the image with one network card.
pub fn start(remake: Remake) -> (Machine, Port) {
    let machine = remake.image().machine().nic(BOX).start().unwrap();
    let port = machine.port(0).unwrap();
    (machine, port)
}

/// Starts it, and waits until it is ready.
pub fn boot(remake: Remake) -> (Machine, Port) {
    let (machine, port) = start(remake);
    let status = machine.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status.unit("netd").unwrap().state, UnitState::Ready, "{status:?}");
    (machine, port)
}

/// The address that the test's server assigns, and the test's own.
pub const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

pub const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A server that assigns [`GIVEN`].
pub fn server() -> DhcpServer {
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    DhcpServer { mac: TEST, address: OURS, mask, offered: GIVEN, seconds: 3600, knows: false }
}

pub fn show(machine: &Machine) -> Value {
    machine.call_unit("netd", "show", json!({})).unwrap()
}

/// The addresses of the box's card, as netd shows them.
pub fn addresses(machine: &Machine) -> Vec<String> {
    let shown = machine.call_unit("netd", "show", json!({ "links": true })).unwrap();
    assert!(shown["rules"].is_null() && shown["lines"].is_null(), "only links: {shown}");
    let links = shown["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["mac"] == BOX.to_string()).unwrap();
    assert!(link["up"] == true && link["carrier"] == true, "{link}");
    let all = link["addresses"].as_array().unwrap().iter();
    all.map(|address| address.as_str().unwrap().to_owned()).collect()
}

/// Waits until netd shows the address `wanted`.
pub fn wait_address(machine: &Machine, wanted: &str) {
    let deadline = Instant::now() + SOON;
    while !addresses(machine).iter().any(|address| address == wanted) {
        assert!(
            Instant::now() < deadline,
            "late: {wanted}: {}\n{}",
            show(machine),
            machine.tail(30)
        );
        sleep(RETRY_DELAY);
    }
}

/// Kills netd, calls `meanwhile`, and waits for the restart.
pub fn kill(machine: &Machine, meanwhile: impl FnOnce()) {
    kill_unit(machine, "netd", meanwhile);
}

/// The same with `unit`.
pub fn kill_unit(machine: &Machine, unit: &str, meanwhile: impl FnOnce()) {
    let restarts = |status: &Status| status.unit(unit).unwrap().restarts;
    let before = restarts(&machine.status().unwrap());
    machine.call("signal", json!({ "unit": unit, "signal": "KILL" })).unwrap();
    meanwhile();
    let back = |status: &Status| {
        restarts(status) > before && status.unit(unit).unwrap().state == UnitState::Ready
    };
    machine.wait_status("it is back", SOON, back).unwrap();
}

/// The gate's socket address for the test.
pub fn gate(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, GATE)
}

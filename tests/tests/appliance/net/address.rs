//! The address configuration of a box.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};

use octet_machine::panel::{DhcpServer, Host, Reply, Station};
use serde_json::json;

use crate::net::guest::{
    BOX_LINK, ECHO, GATE, GIVEN, OURS, TEST, WEB, addresses, boot, gate, kill, kill_unit, server,
    show, wait_address, with_doors, with_network,
};

/// A connection to the listener at the gate's port: greeting and echo.
fn reach(host: &Host, address: IpAddr) {
    let mut stream = host.connect(gate(address)).unwrap();
    stream.write_all(b"hello\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "this is gate\nhello\n");
}

fn host(port: octet_machine::Port, addresses: &[IpAddr]) -> Host {
    let prefix = |address: &IpAddr| if address.is_ipv4() { 24 } else { 64 };
    let addresses: Vec<_> = addresses.iter().map(|it| (*it, prefix(it))).collect();
    Host::start(port, TEST, &addresses)
}

/// In the short tier `cluster::served` gets an address from a server at its uplink, `net::scan`
/// kills netd and probes the ports of DHCP, and `services/lan` has the client in process.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_server_gives_an_address_and_it_is_kept() {
    let (machine, port) = boot(with_doors());
    // It is ready without an address: no DHCP server has answered yet.
    let link = format!("{BOX_LINK}/64");
    assert_eq!(addresses(&machine), std::slice::from_ref(&link));
    let asked = server().serve(&port).unwrap();
    let given = format!("{GIVEN}/24");
    wait_address(&machine, &given);
    let shown = show(&machine);
    assert_eq!(shown["dhcp"]["address"], given, "{shown}");
    assert_eq!(shown["routes"], json!([{ "to": "default", "gateway": OURS, "link": "eth0" }]));
    println!("DHCP: {asked:?}");
    // When netd is killed, the address stays, and netd learns it again.
    kill(&machine, || {});
    assert_eq!(addresses(&machine), [given.clone(), link.clone()]);
    assert_eq!(show(&machine)["routes"], shown["routes"]);
    // A restarted lan has no lease, and requests one.
    kill_unit(&machine, "lan", || {});
    assert_eq!(addresses(&machine), [given.clone(), link.clone()]);
    // This time the mask is that of a single host, as providers use it: the gateway is on the link
    // nevertheless.
    DhcpServer { mask: Ipv4Addr::BROADCAST, ..server() }.serve(&port).unwrap();
    let given = format!("{GIVEN}/32");
    wait_address(&machine, &given);
    assert_eq!(show(&machine)["routes"], shown["routes"]);
    let ours = [OURS.into(), "fe80::2".parse().unwrap()];
    let mut station = Station::new(port, TEST, &ours);
    // At the ports of DHCP only DHCP servers are heard, and others get no ICMP error.
    for target in [IpAddr::V4(GIVEN), BOX_LINK.parse().unwrap()] {
        let udp = station.scan_udp(target, [67, 68, ECHO, GATE], GATE).unwrap();
        assert_eq!(udp.into_iter().collect::<Vec<_>>(), [(GATE, Reply::Open)]);
        let tcp = station.scan_tcp(target, [WEB, GATE], GATE).unwrap();
        assert_eq!(tcp.into_iter().collect::<Vec<_>>(), [(GATE, Reply::Open)]);
    }
    let host = host(station.into_port(), &ours);
    reach(&host, GIVEN.into());
    reach(&host, BOX_LINK.parse().unwrap());
    assert_eq!(addresses(&machine), [given, link]);
}

/// In the short tier `net::scan` has fixed addresses, and kills netd.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn fixed_addresses_stand_and_come_back() {
    let fixed = ["192.0.2.7/24", "2001:db8::7/64"];
    let network = json!({ "address": fixed, "gateway": ["192.0.2.1", "2001:db8::1"] });
    let (machine, port) = boot(with_network(with_doors(), &network));
    let all = |machine: &_| {
        let mut all = addresses(machine);
        all.sort();
        all
    };
    let expected = ["192.0.2.7/24", "2001:db8::7/64", &format!("{BOX_LINK}/64")].map(str::to_owned);
    assert_eq!(all(&machine), expected);
    let routes = show(&machine)["routes"].clone();
    assert_eq!(routes.as_array().unwrap().len(), 2, "{routes}");
    kill(&machine, || {});
    assert_eq!((all(&machine), &show(&machine)["routes"]), (expected.into(), &routes));
    assert_eq!(show(&machine)["dhcp"], json!(null));
    let host = host(port, &["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
    reach(&host, "192.0.2.7".parse().unwrap());
    reach(&host, "2001:db8::7".parse().unwrap());
}

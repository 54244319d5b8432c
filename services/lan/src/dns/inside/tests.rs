use super::*;

fn inside() -> BoxNetworks {
    let network = |address: &str, length| IpPrefix::new(address.parse().unwrap(), length).unwrap();
    BoxNetworks {
        networks: vec![
            network("10.20.0.0", 16),
            network("fd6f:6374:6574::", 48),
            network("2001:db9:7::", 48),
            network("198.18.4.0", 24),
        ],
        all_networks: vec![network("100.70.0.0", 16), network("2001:db9:8::", 48)],
        uplink_networks: vec![network("192.168.1.0", 24), network("fd00:7::", 64)],
        own_addresses: vec!["203.0.113.7".parse().unwrap()],
        ..BoxNetworks::default()
    }
}

fn place(name: &str) -> UpstreamClass {
    inside().classify(&name.parse().unwrap())
}

fn zone(name: &str) -> Name {
    name.parse().unwrap()
}

#[test]
fn names_of_the_box_are_inside() {
    for (name, of) in [
        ("board-3.octet.internal.", "internal."),
        ("board-3.octet.INTERNAL.", "internal."),
        ("cache.octet.", "octet."),
        ("printer.local.", "local."),
        ("home.arpa.", "home.arpa."),
        ("nas.home.arpa.", "home.arpa."),
        ("_dns.resolver.arpa.", "resolver.arpa."),
        ("nas.lan.", "lan."),
        ("a.b.c.test.", "test."),
        ("x.alt.", "alt."),
        ("2.3.20.10.in-addr.arpa.", "10.in-addr.arpa."),
        ("10.in-addr.arpa.", "10.in-addr.arpa."),
        ("1.16.172.in-addr.arpa.", "172.in-addr.arpa."),
        ("31.172.in-addr.arpa.", "172.in-addr.arpa."),
        ("1.168.192.in-addr.arpa.", "192.in-addr.arpa."),
        ("7.64.100.in-addr.arpa.", "100.in-addr.arpa."),
        ("lb._dns-sd._udp.0.1.168.192.in-addr.arpa.", "192.in-addr.arpa."),
        ("0.d.f.ip6.arpa.", "d.f.ip6.arpa."),
        ("c.f.ip6.arpa.", "c.f.ip6.arpa."),
        // Reverse zones of the box's own networks, even if these are not private ones.
        ("9.4.18.198.in-addr.arpa.", "198.in-addr.arpa."),
        ("7.0.0.0.9.b.d.0.1.0.0.2.ip6.arpa.", "0.2.ip6.arpa."),
    ] {
        assert_eq!(place(name), UpstreamClass::Inside(zone(of)), "{name}");
    }
}

#[test]
fn some_names_never_leave_the_node() {
    for (name, of) in [
        ("localhost.", "localhost."),
        ("a.localhost.", "localhost."),
        ("x.onion.", "onion."),
        ("x.invalid.", "invalid."),
        ("printer.", "."),
        ("com.", "."),
        ("octet.", "octet."),
        ("internal.", "internal."),
        ("1.0.0.127.in-addr.arpa.", "127.in-addr.arpa."),
        ("254.169.in-addr.arpa.", "169.in-addr.arpa."),
        ("0.in-addr.arpa.", "0.in-addr.arpa."),
        ("b.e.f.ip6.arpa.", "e.f.ip6.arpa."),
    ] {
        assert_eq!(place(name), UpstreamClass::Never(zone(of)), "{name}");
    }
    let loopback = Name::from("::1".parse::<IpAddr>().unwrap());
    assert_eq!(inside().classify(&loopback), UpstreamClass::Never(zone("0.0.ip6.arpa.")));
}

#[test]
fn other_names_are_outside() {
    for name in [
        ".",
        "www.example.com.",
        "internal.example.com.",
        "notinternal.example.",
        "xlocal.example.",
        "arpa.example.",
        "e164.arpa.",
        "in-addr.arpa.",
        "172.in-addr.arpa.",
        "32.172.in-addr.arpa.",
        "1.1.1.1.in-addr.arpa.",
        "128.100.in-addr.arpa.",
        "5.18.198.in-addr.arpa.",
        "f.ip6.arpa.",
        "0.2.ip6.arpa.",
        "8.0.0.0.9.b.d.0.1.0.0.2.ip6.arpa.",
    ] {
        assert_eq!(place(name), UpstreamClass::Outside, "{name}");
    }
}

#[test]
fn hosts_of_the_box_may_ask() {
    let may = |address: &str| inside().is_client(address.parse().unwrap());
    for address in ["127.0.0.1", "::1", "10.20.3.2", "::ffff:10.20.3.2", "fd6f:6374:6574:3::2"] {
        assert!(may(address), "{address}");
    }
    for address in ["10.21.0.1", "192.0.2.1", "fe80::1", "fd6f:6374:6575::1", "0.0.0.0", "::"] {
        assert!(!may(address), "{address}");
    }
    assert!(!BoxNetworks::default().is_client("10.20.3.2".parse().unwrap()));
}

#[test]
fn nobody_outside_leads_into_the_box() {
    let kept = |address: &str| inside().is_private(address.parse().unwrap());
    for address in [
        "10.20.3.2",
        "::ffff:10.20.3.2",
        "fd6f:6374:6574:3::2",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::",
        "::127.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "fe80::1",
        "203.0.113.7",
        "255.255.255.255",
        // Networks of the box without an address of this node.
        "100.70.9.2",
        "2001:db9:8:9::2",
        // Addresses of nodes, which are reached over paths.
        "fc15:3721::1",
        "240.0.0.1",
        // Private networks that do not surround this node.
        "10.0.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.2.1",
        "::ffff:192.168.2.1",
        "fd00::1",
        // IPv4 addresses behind a translator (NAT64) or a tunnel (6to4).
        "64:ff9b::10.20.3.2",
        "64:ff9b::127.0.0.1",
        "64:ff9b::192.168.2.1",
        "64:ff9b::203.0.113.7",
        "64:ff9b::0.0.0.0",
        "2002:a14:302::1",
        "2002:7f00:1::",
        "2002:c0a8:201:9::1",
        "2002:a9fe:a9fe::1",
    ] {
        assert!(kept(address), "{address}");
    }
    // Surrounding networks and public addresses may have names.
    for address in [
        "192.168.1.1",
        "::ffff:192.168.1.1",
        "fd00:7::1",
        "192.0.2.80",
        "172.32.0.1",
        "100.71.0.1",
        "2a00::1",
        "203.0.113.8",
        "64:ff9b::192.168.1.1",
        "64:ff9b::203.0.113.8",
        "64:ff9b:0:1::10.20.3.2",
        "2002:cb00:7108::10.20.3.2",
        "2002:c0a8:101::1",
    ] {
        assert!(!kept(address), "{address}");
    }
    // The box's networks are protected, even if a surrounding network contains them.
    let inside = BoxNetworks { uplink_networks: vec![IpPrefix::EVERYTHING], ..inside() };
    for (address, is_kept) in [
        ("10.20.3.2", true),
        ("100.70.9.2", true),
        ("127.0.0.1", true),
        ("240.0.0.1", true),
        ("fc15:3721::1", true),
        ("10.0.2.3", false),
    ] {
        assert_eq!(inside.is_private(address.parse().unwrap()), is_kept, "{address}");
    }
}

//! The addresses in boxes of every size.

#![cfg(test)]

use octet_evaluator::{Version, World, Zone};

fn read(text: &str) -> World {
    World::read(text, &[]).unwrap()
}

fn of(boards: u8) -> World {
    read(&format!("[cluster]\nboards = {boards}\n[lan]\n"))
}

fn both(world: &World, zone: Zone) -> Option<[String; 2]> {
    let texts = Version::BOTH.map(|version| world.address(zone, version).map(|at| at.to_string()));
    let [Some(four), Some(six)] = texts else { return None };
    Some([four, six])
}

#[test]
fn boards_have_the_number_in_their_addresses() {
    for (boards, board, four, six) in [
        (4, 1, "10.20.1.2", "fd6f:6374:6574:1::2"),
        (4, 4, "10.20.4.2", "fd6f:6374:6574:4::2"),
        (8, 8, "10.20.8.2", "fd6f:6374:6574:8::2"),
        (16, 10, "10.20.10.2", "fd6f:6374:6574:a::2"),
        (16, 16, "10.20.16.2", "fd6f:6374:6574:10::2"),
        (32, 31, "10.20.31.2", "fd6f:6374:6574:1f::2"),
        (32, 32, "10.20.32.2", "fd6f:6374:6574:20::2"),
    ] {
        let world = of(boards);
        assert_eq!(world.boards(), boards);
        assert_eq!(both(&world, Zone::Board(board)), Some([four.into(), six.into()]));
        for address in [four, six] {
            assert_eq!(world.zone_of(address.parse().unwrap()), Some(Zone::Board(board)));
        }
        assert_eq!(both(&world, Zone::Board(boards + 1)), None);
        assert_eq!(both(&world, Zone::Board(0)), None);
        assert_eq!(world.zones().len(), usize::from(boards) + 3);
    }
}

#[test]
fn networks_and_the_router_in_them() {
    let world = of(16);
    for (zone, version, network, length, router) in [
        (Zone::Board(16), Version::V4, "10.20.16.0", 24, "10.20.16.1"),
        (Zone::Board(16), Version::V6, "fd6f:6374:6574:10::", 64, "fd6f:6374:6574:10::1"),
        (Zone::Lan, Version::V4, "10.20.250.0", 24, "10.20.250.1"),
        (Zone::Lan, Version::V6, "fd6f:6374:6574:fa::", 64, "fd6f:6374:6574:fa::1"),
    ] {
        assert_eq!(world.network(zone, version), Some((network.parse().unwrap(), length)));
        assert_eq!(world.router_in(zone, version), Some(router.parse().unwrap()));
        assert_eq!(world.zone_of(router.parse().unwrap()), Some(Zone::Router));
    }
    for zone in [Zone::Router, Zone::Path] {
        assert_eq!(both(&world, zone), None);
    }
    assert_eq!(world.router_in(Zone::Uplink, Version::V4), None);
}

#[test]
fn other_networks() {
    let world = read(
        "[network]\naddress = [\"198.51.100.7/24\", \"2001:db8::7/64\"]\n[cluster]\nboards = 4\n\
         network = \"198.51.0.0/16\"\nnetwork6 = \"fd00:1:2::/48\"\n[lan]\nport = \"owner\"",
    );
    let all = |zone| both(&world, zone).unwrap();
    assert_eq!(all(Zone::Board(3)), ["198.51.3.2", "fd00:1:2:3::2"]);
    assert_eq!(all(Zone::Lan), ["198.51.250.2", "fd00:1:2:fa::2"]);
    // The default address would belong to the box itself.
    assert_eq!(all(Zone::Uplink), ["203.0.113.2", "2001:db8:ffff::2"]);
    let router = Version::BOTH.map(|version| world.router_in(Zone::Uplink, version).unwrap());
    assert_eq!(router.map(|at| at.to_string()), ["198.51.100.7", "2001:db8::7"]);
    assert_eq!(world.zone_of(router[0]), Some(Zone::Router));
    assert_eq!(world.device(Zone::Lan), Some("owner"));
}

#[test]
fn who_may_have_an_address() {
    let world = of(4);
    for (address, zone) in [
        ("10.20.3.2", Some(Zone::Board(3))),
        ("10.20.3.3", None),
        ("10.20.5.2", None),
        ("10.20.5.1", None),
        ("10.20.250.0", None),
        ("10.20.250.254", Some(Zone::Lan)),
        ("10.20.250.255", None),
        ("10.20.251.2", None),
        ("10.21.3.2", Some(Zone::Uplink)),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("127.0.0.1", None),
        ("0.0.0.0", None),
        ("0.1.2.3", None),
        ("240.0.0.1", None),
        ("fd6f:6374:6574:3::2", Some(Zone::Board(3))),
        ("fd6f:6374:6574:3::3", None),
        ("fd6f:6374:6574:fa::ffff", Some(Zone::Lan)),
        ("fd6f:6374:6574:fb::2", None),
        ("fd6f:6374:6575:3::2", Some(Zone::Uplink)),
        ("fd00::7", Some(Zone::Uplink)),
        ("fc00::7", None),
        ("fcff::7", None),
        ("ff02::1", None),
        ("::1", None),
        ("::", None),
        ("::ffff:192.0.2.1", None),
    ] {
        assert_eq!(world.zone_of(address.parse().unwrap()), zone, "{address}");
    }
    let alone = read("[cluster]\nboards = 4");
    assert_eq!(alone.zone_of("10.20.250.2".parse().unwrap()), None);
    assert_eq!(both(&alone, Zone::Lan), None);
}

#[test]
fn devices() {
    let world = of(8);
    let device = |zone| world.device(zone).unwrap();
    assert_eq!([Zone::Uplink, Zone::Board(1), Zone::Lan].map(device), ["eth0", "eth1", "eth9"]);
    let world = read(
        "[cluster]\nboards = 4\nuplink = \"wan\"\nports = [\"a\", \"b\", \"c\", \"d\"]\n\
         [[board]]\nnumber = 1\nport = 4\n[[board]]\nnumber = 4\nport = 1",
    );
    let zones = [Zone::Uplink, Zone::Board(1), Zone::Board(2), Zone::Board(4)];
    assert_eq!(zones.map(|zone| world.device(zone).unwrap()), ["wan", "d", "b", "a"]);
    assert_eq!(world.device(Zone::Lan), None);
}

/// The example of RFC 2464, section 4.
#[test]
fn link_local_addresses() {
    let world = read("[cluster]\nboards = 4\n[[board]]\nnumber = 2\nmac = \"34:56:78:9a:bc:de\"");
    assert_eq!(world.link_local(2), Some("fe80::3656:78ff:fe9a:bcde".parse().unwrap()));
    assert_eq!(world.link_local(1), None);
}

#[test]
fn who_is_masqueraded() {
    let world = of(4);
    for (from, to, version, yes) in [
        (Zone::Board(1), Zone::Uplink, Version::V4, true),
        (Zone::Lan, Zone::Uplink, Version::V4, true),
        (Zone::Board(1), Zone::Uplink, Version::V6, false),
        (Zone::Board(1), Zone::Board(2), Version::V4, false),
        (Zone::Uplink, Zone::Board(2), Version::V4, false),
        (Zone::Router, Zone::Uplink, Version::V4, false),
    ] {
        assert_eq!(world.masquerades(from, to, version), yes, "{from} {to} {version}");
    }
}

use super::*;
use crate::{Appliance, FileError};
use proptest::prelude::*;

const SMALL: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\n\
                     services = []\n";

fn read(sections: &str) -> Result<Appliance, Box<FileError>> {
    Appliance::parse("appliance.toml", &format!("{SMALL}{sections}"))
}

#[test]
fn what_is_not_said_is_as_the_document_says() {
    let appliance = read("[cluster]\nboards = 16\n[lan]\n").unwrap();
    let cluster = appliance.cluster.unwrap();
    assert_eq!((cluster.uplink.as_str(), cluster.ports.len()), ("eth0", 16));
    assert_eq!((cluster.ports[0].as_str(), cluster.ports[15].as_str()), ("eth1", "eth16"));
    assert_eq!(cluster.lan(&appliance.lan.unwrap()).as_str(), "eth17");
    assert_eq!(cluster.network.host(16, 2).to_string(), "10.20.16.2");
    assert_eq!(cluster.network6.host(16, 2).to_string(), "fd6f:6374:6574:10::2");
    let json = serde_json::to_string(&cluster).unwrap();
    assert_eq!(serde_json::from_str::<Cluster>(&json).unwrap(), cluster);
}

/// The inverse of a segment's address assignment; no other address is a board's.
#[test]
fn an_address_says_its_board() {
    let cluster = read("[cluster]\nboards = 16\nenrol = \"approve\"\n").unwrap().cluster.unwrap();
    assert_eq!(cluster.enrol, Enrol::Approve);
    let board_at = |address: &str| cluster.board_at(address.parse().unwrap());
    for number in 1..=16 {
        let (v4, v6) = (cluster.network.host(number, 2), cluster.network6.host(number, 2));
        assert_eq!(cluster.board_at(v4.into()), Some(number));
        assert_eq!(cluster.board_at(v4.to_ipv6_mapped().into()), Some(number));
        assert_eq!(cluster.board_at(v6.into()), Some(number));
    }
    for other in [
        "10.20.1.1",
        "10.20.1.3",
        "10.20.0.2",
        "10.20.17.2",
        "10.21.1.2",
        "127.0.0.1",
        "::1",
        "fd6f:6374:6574:1::1",
        "fd6f:6374:6574:101::2",
        "fd6f:6374:6574:1:1::2",
        "fe80::2",
    ] {
        assert_eq!(board_at(other), None, "{other}");
    }
}

#[test]
fn boards_that_swap_their_ports() {
    let text =
        "[cluster]\nboards = 4\n[[board]]\nnumber = 1\nport = 2\n[[board]]\nnumber = 2\nport = 1\n";
    let appliance = read(text).unwrap();
    let cluster = appliance.cluster.unwrap();
    let ports: Vec<_> = (1..=4).map(|number| cluster.port(&appliance.board, number)).collect();
    assert_eq!(ports, [2, 1, 3, 4]);
    let error = read(text.split("[[board]]\nnumber = 2").next().unwrap()).unwrap_err();
    assert!(error.message.contains("boards 1 and 2 cannot both have port 2"), "{error}");
    assert_eq!(error.line, 12);
}

#[test]
fn mistakes_are_placed() {
    let good = "[cluster]\nboards = 4\nuplink = \"eth0\"\nports = [\"eth1\", \"eth2\", \"eth3\", \"eth4\"]\n\
                network = \"10.20.0.0/16\"\nnetwork6 = \"fd00:1:2::/48\"\n\
                [[board]]\nnumber = 1\nmac = \"02:00:00:00:00:01\"\n\
                [[board]]\nnumber = 2\nmac = \"02:00:00:00:00:02\"\nrole = \"cache\"\n\
                [lan]\nport = \"eth5\"\n";
    read(good).unwrap();
    for (from, to, line, words) in [
        ("boards = 4", "boards = 5", 9, "no box of 5"),
        (", \"eth4\"]", "]", 11, "3 devices"),
        ("\"eth4\"]", "\"eth2\"]", 11, "both port 2 and port 4"),
        ("\"eth4\"]", "\"eth0\"]", 11, "both the uplink and port 4"),
        ("10.20.0.0/16", "10.20.1.0/16", 12, "not a network of 16 bits"),
        ("10.20.0.0/16", "10.20.0.0/24", 12, "not a network of 16 bits"),
        ("10.20.0.0/16", "127.1.0.0/16", 12, "not a network of 16 bits"),
        ("fd00:1:2::/48", "fe80::/48", 13, "not a network of 48 bits"),
        ("fd00:1:2::/48", "fc00:1:2::/48", 13, "not a network of 48 bits"),
        ("fd00:1:2::/48", "fd00:1:2:3::/48", 13, "not a network of 48 bits"),
        ("number = 1", "number = 5", 15, "no board 5"),
        ("number = 2", "number = 1", 18, "board 1 is there twice"),
        ("number = 2", "number = 2\nport = 5", 19, "no port 5"),
        ("00:02\"", "00:01\"", 19, "board 1 has the address"),
        ("10.20.0.0/16\"", "10.20.0.0/16\"\nenrol = \"never\"", 13, "unknown variant"),
        ("02:00:00:00:00:01", "03:00:00:00:00:01", 16, "not an Ethernet address of a device"),
        ("02:00:00:00:00:01", "2:0:0:0:0:1", 16, "not an Ethernet address"),
        ("\"cache\"", "\"Cache\"", 20, "not a valid role"),
        ("\"eth5\"", "\"eth3\"", 22, "both port 3 and lan"),
    ] {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(words), "{from} {to}: {error}");
        assert_eq!(error.line, line, "{from} {to}: {error}");
        assert!(!error.hint.is_empty());
    }
    let error = read("[network]\nlink = \"eth1\"\n[cluster]\nboards = 4\n").unwrap_err();
    assert!(error.line == 9 && error.message.contains("uplink is `eth0`"), "{error}");
    let key = format!("key = \"{}\"\n", PublicKey::new([1; 32]));
    let one = format!("[cluster]\nboards = 4\n[[board]]\nnumber = 1\n{key}[[board]]\nnumber = 2\n");
    assert_eq!(read(&one).unwrap().board[0].key, Some(PublicKey::new([1; 32])));
    let error = read(&format!("{one}{key}")).unwrap_err();
    assert!(error.line == 15 && error.message.contains("board 1 has the key"), "{error}");
    let error = read("[lan]\n").unwrap_err();
    assert!(error.line == 8 && error.message.contains("[cluster]"), "{error}");
}

/// There is one coordinator: our router, or else the configured board.
#[test]
fn one_coordinator() {
    let manager = |appliance: Appliance| appliance.cluster.unwrap().manager(&appliance.board);
    let board =
        |number: u8, role: &str| format!("[[board]]\nnumber = {number}\nrole = \"{role}\"\n");
    let ours = "[cluster]\nboards = 4\nrouter = \"octet\"\n";
    let others = "[cluster]\nboards = 4\nrouter = \"openwrt\"\n";
    let [one, two, cache] = [board(1, "manager"), board(2, "manager"), board(2, "cache")];
    assert_eq!(manager(read(&format!("{ours}{cache}")).unwrap()), None);
    assert_eq!(manager(read(&format!("{others}{cache}{one}")).unwrap()), Some(1));
    for (text, line, words) in [
        (
            format!("{ours}{cache}{two}").replacen("number = 2", "number = 3", 1),
            16,
            "holds the map",
        ),
        (format!("[cluster]\nboards = 4\n{one}"), 12, "holds the map"),
        (format!("{others}{cache}"), 10, "no board has the role `manager`"),
        (format!("{others}{one}{two}"), 16, "boards 1 and 2 cannot both be the manager"),
        (others.replace("openwrt", "openWrt"), 10, "unknown variant"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.message.contains(words) && error.line == line, "{text}: {error}");
        assert!(!error.hint.is_empty());
    }
    let cluster = read(&format!("{others}{one}")).unwrap().cluster.unwrap();
    assert_eq!(serde_json::to_value(&cluster).unwrap()["router"], "openwrt");
    let (v4, v6) = cluster.addresses(3);
    assert_eq!((cluster.board_at(v4.into()), cluster.board_at(v6.into())), (Some(3), Some(3)));
}

/// The address of a router with OpenWrt is optional; no other key is accepted.
#[test]
fn where_the_router_is() {
    let digits = "0a".repeat(32);
    let table = format!(
        "{{ kind = \"openwrt\", address = \"192.168.1.1\", fingerprint = \"sha256:{digits}\" }}"
    );
    let text = |router: &str| {
        format!(
            "[cluster]\nboards = 4\nrouter = {router}\n[[board]]\nnumber = 1\nrole = \"manager\"\n"
        )
    };
    let cluster = read(&text(&table)).unwrap().cluster.unwrap();
    let RouterKind::OpenWrt(Some(contact)) = &cluster.router else {
        panic!("{:?}", cluster.router)
    };
    assert_eq!(contact.address.to_string(), "192.168.1.1");
    assert_eq!(contact.fingerprint.to_string(), format!("sha256:{digits}"));
    let json = serde_json::to_value(&cluster).unwrap();
    assert_eq!(json["router"]["kind"], "openwrt");
    assert_eq!(serde_json::from_value::<Cluster>(json).unwrap(), cluster);
    for (from, to, words) in [
        ("\"openwrt\"", "\"octet\"", "unknown variant `octet`, expected `openwrt`"),
        ("\"192.168.1.1\"", "\"192.168.1.1:0\"", "not an address of a router"),
        ("\"192.168.1.1\"", "\"http://a\"", "not an address of a router"),
        ("0a0a", "0a0", "not a fingerprint"),
        ("sha256:", "md5:", "not a fingerprint"),
        ("address = \"192.168.1.1\", ", "", "missing field `address`"),
        ("kind = ", "password = \"a\", kind = ", "unknown field `password`"),
    ] {
        let error = read(&text(&table.replacen(from, to, 1))).unwrap_err();
        assert!(error.message.contains(words) && error.line == 10, "{from} {to}: {error}");
    }
    let error = read(&text("true")).unwrap_err();
    assert!(error.message.contains("`\"openwrt\"`") && error.line == 10, "{error}");
    for good in
        ["router.lan", "192.168.1.1:8443", "fd00::1", "[fd00::1]:8443", "[fd00::1]", "fe80::1%eth0"]
    {
        let address = good.parse::<RouterAddress>().unwrap();
        assert_eq!(address.to_string(), good);
        assert_eq!(address.port(), if good.ends_with(":8443") { 8443 } else { 443 }, "{good}");
    }
    for bad in ["", ":443", "a:x", "[a", "[]:1", "a b", "a:+1", "[a]1", "a/b"] {
        assert!(bad.parse::<RouterAddress>().is_err(), "{bad}");
    }
}

#[test]
fn a_device_says_its_address_on_the_link() {
    let mac = Mac::try_from("02:00:00:00:00:0a".to_owned()).unwrap();
    assert_eq!(mac.link_local().to_string(), "fe80::ff:fe00:a");
}

proptest! {
    #[test]
    fn an_ethernet_address_prints_as_it_parses(bytes: [u8; 6], text in "\\PC{0,20}") {
        if let Some(mac) = Mac::new(bytes) {
            prop_assert_eq!(Mac::try_from(mac.to_string()), Ok(mac));
        }
        let _ = Mac::try_from(text.clone());
        let _ = Network4::try_from(text.clone());
        let _ = Network6::try_from(text);
    }
}

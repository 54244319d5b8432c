use super::*;
use crate::document::parse;
use proptest::prelude::*;

fn read(text: &str) -> Result<NetworkSettings, Box<crate::FileError>> {
    parse("appliance.toml", text)
}

#[test]
fn says_where_addresses_come_from() {
    assert_eq!(read("").unwrap(), NetworkSettings::default());
    let settings = read("link = \"eth1\"\naddress = \"dhcp\"\n").unwrap();
    assert_eq!(settings.link.unwrap().as_str(), "eth1");
    assert_eq!(settings.addressing, Addressing::Dhcp);
    let text = "address = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n\
                gateway = [\"192.0.2.1\", \"fe80::1\"]\n";
    let Addressing::Fixed { addresses, gateways } = read(text).unwrap().addressing else {
        panic!("a list is no DHCP")
    };
    assert_eq!(addresses[0].to_string(), "192.0.2.7/24");
    assert_eq!((addresses[1].prefix(), gateways.len()), (64, 2));
    let one = read("address = [\"192.0.2.7/24\"]\ngateway = \"192.0.2.1\"\n").unwrap();
    assert!(matches!(one.addressing, Addressing::Fixed { gateways, .. } if gateways.len() == 1));
}

#[test]
fn mistakes_are_placed() {
    let good = "link = \"eth0\"\naddress = [\"192.0.2.7/24\"]\ngateway = \"192.0.2.1\"\n";
    read(good).unwrap();
    for (from, to, line, words) in [
        ("eth0", "eth 0", 1, "not a name of a network device"),
        ("192.0.2.7/24", "192.0.2.7", 2, "length of its prefix"),
        ("192.0.2.7/24", "192.0.2.7/33", 2, "length of its prefix"),
        ("192.0.2.7/24", "192.0.2.0/24", 2, "the network's own"),
        ("192.0.2.7/24", "192.0.2.255/24", 2, "broadcast"),
        ("192.0.2.7/24", "224.0.0.1/24", 2, "group"),
        ("192.0.2.7/24", "127.0.0.1/8", 2, "never leaves"),
        ("192.0.2.7/24", "fc00::7/64", 2, "addresses of nodes"),
        ("[\"192.0.2.7/24\"]", "\"static\"", 2, "dhcp"),
        ("\"192.0.2.1\"", "\"router\"", 3, "invalid IP address"),
        ("gateway", "gate", 3, "unknown field"),
        ("\"192.0.2.1\"", "\"198.51.100.1\"", 3, "in the network of none"),
        ("\"192.0.2.1\"", "[\"192.0.2.1\", \"192.0.2.2\"]", 3, "names two for IPv4"),
        ("[\"192.0.2.7/24\"]", "\"dhcp\"", 3, "is only for a list"),
        ("[\"192.0.2.7/24\"]", "[\"192.0.2.7/24\", \"192.0.2.7/25\"]", 2, "twice"),
    ] {
        let error = read(&good.replace(from, to)).unwrap_err();
        let text = format!("{error} {}", error.hint);
        assert!(text.contains(words), "{words}: {text}");
        assert_eq!(error.line, line, "{text}");
    }
}

#[test]
fn servers_are_some_addresses() {
    let settings = read("dns = \"192.0.2.53\"\nntp = [\"192.0.2.1\", \"2001:db8::1\"]\n").unwrap();
    assert_eq!((settings.dns.len(), settings.ntp.len()), (1, 2));
    for (text, words) in [
        ("dns = \"127.0.0.1\"", "not an address of a server"),
        ("ntp = [\"192.0.2.1\", \"192.0.2.1\"]", "twice"),
        (
            "ntp = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"192.0.2.4\", \"192.0.2.5\"]",
            "more than 4",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn networks_of_two_have_no_broadcast() {
    for text in ["192.0.2.0/31", "192.0.2.1/32", "10.0.0.1/8", "fe80::1/64", "2001:db8::/64"] {
        assert_eq!(Cidr::try_from(text.to_owned()).unwrap().to_string(), text);
    }
}

#[test]
fn an_address_alone_has_a_router_beside_it() {
    let has = |cidr: &str, router: &str| {
        Cidr::try_from(cidr.to_owned()).unwrap().is_valid_gateway(router.parse().unwrap())
    };
    assert!(has("192.0.2.7/24", "192.0.2.1") && !has("192.0.2.7/24", "198.51.100.1"));
    assert!(has("192.0.2.7/32", "198.51.100.1") && has("192.0.2.7/32", "192.0.2.1"));
    for none in ["192.0.2.7", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert!(!has("192.0.2.7/32", none), "{none}");
    }
    assert!(!has("2001:db8::7/32", "192.0.2.1"));
}

proptest! {
    #[test]
    fn json_says_the_same(
        hosts in prop::collection::btree_set(2u8..255, 0..4), gateway: bool, six: bool, named: bool,
    ) {
        let mut addresses: Vec<_> = hosts
            .iter()
            .map(|host| Cidr::try_from(format!("192.0.2.{host}/23")).unwrap())
            .collect();
        let mut gateways: Vec<IpAddr> = vec![];
        if gateway && !addresses.is_empty() {
            gateways.push("192.0.2.1".parse().unwrap());
        }
        if six {
            addresses.push(Cidr::try_from("2001:db8::7/64".to_owned()).unwrap());
        }
        let link = named.then(|| LinkName::try_from("eth0".to_owned()).unwrap());
        let settings =
            NetworkSettings {
                link,
                addressing: Addressing::Fixed { addresses, gateways },
                ..NetworkSettings::default()
            };
        let json = serde_json::to_string(&settings).unwrap();
        prop_assert_eq!(serde_json::from_str::<NetworkSettings>(&json).unwrap(), settings);
    }

    #[test]
    fn what_is_read_is_written(text in "[0-9a-f:./]{0,20}") {
        if let Ok(cidr) = Cidr::try_from(text) {
            prop_assert_eq!(Cidr::try_from(cidr.to_string()), Ok(cidr));
        }
    }

    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = read(&text);
        let _ = Cidr::try_from(text.clone());
        let _ = LinkName::try_from(text);
    }

    /// Compared with a loop over single bits.
    #[test]
    fn neighbours_share_the_prefix(own: u32, other: u32, prefix in 0u8..=32) {
        let Ok(cidr) = Cidr::new(IpAddr::V4(own.into()), prefix) else { return Ok(()) };
        let same = (0..prefix).all(|bit| (own >> (31 - bit)) & 1 == (other >> (31 - bit)) & 1);
        prop_assert_eq!(cidr.is_on_link(IpAddr::V4(other.into())), same && own != other);
    }
}

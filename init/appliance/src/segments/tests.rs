use super::*;
use crate::AllowRule;
use crate::Appliance;
use crate::UnitSource;
use proptest::prelude::*;

const BOX: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\n\
                   services = []\n[cluster]\nboards = 4\n[lan]\n\
                   [[board]]\nnumber = 2\nrole = \"cache\"\n[[board]]\nnumber = 3\nrole = \"cache\"\n";

fn units() -> Vec<Unit> {
    let unit = |name: &str, ports: &str| {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    vec![
        unit("cache", "ports = { gateway = \"tcp/8080\", peers = \"udp/4433\" }"),
        unit("messenger", "ports = { peers = \"udp/4434\" }"),
    ]
}

fn read(lines: &str) -> Result<(Segments, Vec<FileError>), Box<FileError>> {
    let text = format!("{BOX}{lines}");
    let appliance = Appliance::parse("appliance.toml", &text)?;
    Segments::evaluate(&appliance.cluster_settings().unwrap(), &units(), ("appliance.toml", &text))
}

fn policy(from: &str, to: &str, what: &str) -> String {
    format!("[[policy]]\nfrom = \"{from}\"\nto = \"{to}\"\n{what}\n")
}

#[test]
fn a_line_stands_for_every_pair_of_its_zones() {
    let (segments, warnings) =
        read(&policy("boards", "role:cache", "service = \"gateway\"")).unwrap();
    assert!(warnings.is_empty());
    let ways: Vec<_> =
        segments.allowed.entries().map(|((from, to, _), _)| format!("{from} {to}")).collect();
    assert_eq!(
        ways,
        [
            "board-1 board-2",
            "board-1 board-3",
            "board-2 board-3",
            "board-3 board-2",
            "board-4 board-2",
            "board-4 board-3"
        ]
    );
    let way = (Zone::Board(1), Zone::Board(2), TrafficKind::Tcp);
    assert_eq!(
        (segments.allowed.rule(way, 8080), segments.allowed.rule(way, 8081)),
        (Some(0), None)
    );
}

#[test]
fn the_earlier_line_is_named() {
    let tcp =
        |ports: &str| policy("lan", "board-1", &format!("protocol = \"tcp\"\nports = {ports}"));
    let lines = [tcp("[\"20-30\", 40]"), tcp("\"10-50\""), tcp("[25, \"35-45\"]")].concat();
    let (segments, warnings) = read(&lines).unwrap();
    let way = (Zone::Lan, Zone::Board(1), TrafficKind::Tcp);
    let line = |port| segments.allowed.rule(way, port);
    assert_eq!(
        [9, 10, 19, 20, 30, 31, 39, 40, 41, 50, 51].map(line),
        [
            None,
            Some(1),
            Some(1),
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(0),
            Some(1),
            Some(1),
            None
        ]
    );
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].line == 28 && warnings[0].message.contains("earlier policies"),
        "{}",
        warnings[0]
    );
}

#[test]
fn mistakes_are_placed() {
    let tcp = "protocol = \"tcp\"\nports = 80";
    for (from, to, what, line, words) in [
        ("board-5", "lan", tcp, 18, "no board 5"),
        ("lan", "board-5", tcp, 19, "no board 5"),
        ("board-1", "board-1", tcp, 19, "to itself"),
        ("lan", "boards", "service = \"gatewy\"", 20, "no unit of this image"),
        ("lan", "boards", "service = \"peers\"", 20, "both have a port"),
        ("lan", "boards", "service = \"messenger.gateway\"", 20, "no unit of this image"),
    ] {
        let error = read(&policy(from, to, what)).unwrap_err();
        assert!(error.message.contains(words) && error.line == line, "{error}");
    }
    let plain = "protocol = \"mpls-in-ip\"";
    let (segments, _) = read(&policy("role:cache", "board-1", plain)).unwrap();
    let way = |from| (Zone::Board(from), Zone::Board(1), TrafficKind::Number(137));
    assert_eq!(
        (segments.allowed.rule(way(2), 0), segments.allowed.rule(way(4), 0)),
        (Some(0), None)
    );
    for other in ["lan", "uplink", "router", "path"] {
        for (from, to, line) in [(other, "boards", 18), ("boards", other, 19)] {
            let error = read(&policy(from, to, plain)).unwrap_err();
            assert!(error.message.contains("is not a board") && error.line == line, "{error}");
        }
    }
    let two = [policy("lan", "boards", tcp), policy("lan", "board-2", &format!("{tcp}\nrate = 5"))];
    let error = read(&two.concat()).unwrap_err();
    assert!(error.line == 27 && error.message.contains("policy 1 allows part"), "{error}");
    let (_, warnings) = read(&policy("role:none", "lan", tcp)).unwrap();
    assert!(warnings[0].line == 18 && warnings[0].message.contains("role:none"), "{}", warnings[0]);
    let text = BOX.replace("[lan]\n", "");
    let text = format!("{text}{}", policy("lan", "boards", tcp));
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let error =
        Segments::evaluate(&appliance.cluster_settings().unwrap(), &[], ("appliance.toml", &text))
            .unwrap_err();
    assert!(error.message.contains("no `lan`"), "{error}");
    let error =
        Segments::evaluate(&appliance.cluster_settings().unwrap(), &[], ("appliance.toml", ""))
            .unwrap_err();
    assert!(error.message.starts_with("policy 1: "), "{error}");
}

#[test]
fn a_published_port_leads_to_one_place() {
    let publish = |port: &str, to: &str, what: &str| {
        format!("[[publish]]\nport = \"{port}\"\nto = \"{to}\"\n{what}\n")
    };
    let good = publish("tcp/443", "board-2", "service = \"gateway\"");
    let (segments, _) = read(&good).unwrap();
    assert_eq!((segments.published[0].board, segments.published[0].target.number), (2, 8080));
    let open = policy("uplink", "router", "protocol = \"tcp\"\nports = \"400-500\"");
    for (lines, words) in [
        (publish("tcp/443", "board-5", "service = \"gateway\""), "no board 5"),
        (publish("udp/443", "board-2", "service = \"gateway\""), "the unit's tcp/8080"),
        (publish("udp/443", "board-2", "service = \"gate\""), "no unit of this image"),
        (format!("{good}{good}"), "published twice"),
        (format!("{open}{good}"), "on the router itself"),
    ] {
        let error = read(&lines).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

/// No policy allows inbound flows to the ports of masquerading.
#[test]
fn ports_to_speak_from_are_nobodys() {
    let publish = |port: &str| {
        format!("[[publish]]\nport = \"{port}\"\nto = \"board-2\"\nat = \"udp/61500\"\n")
    };
    let udp = |ports: &str| format!("protocol = \"udp\"\nports = {ports}");
    let to_router = |ports| policy("uplink", "router", &udp(ports));
    for lines in [
        publish("udp/60999"),
        publish("udp/62000"),
        to_router("[\"1-60999\", \"62000-65535\"]"),
        policy("boards", "router", &udp("\"1-65535\"")),
        policy("uplink", "boards", &udp("\"1-65535\"")),
        policy("uplink", "router", "protocol = \"icmp\""),
    ] {
        read(&lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
    }
    let first = BOX.lines().count() + 1;
    for (lines, line) in [
        (publish("udp/61000"), 1),
        (publish("udp/61999"), 1),
        (to_router("[\"1-60999\", 61500]"), 4),
        (to_router("\"60000-61000\""), 4),
        (to_router("\"1-65535\""), 4),
        ("[[policy]]\nfrom = [\"lan\", \"uplink\"]\nto = [\"boards\", \"router\"]\nprotocol = \"tcp\"\nports = 61999\n".into(), 4),
    ] {
        let error = read(&lines).unwrap_err();
        assert_eq!(error.line, first + line, "{lines}: {error}");
        assert!(error.message.contains(" 61000-61999 ") && error.hint.contains("61000-61999"), "{error}");
    }
}

/// A board's link to another box passes the router, so a policy has to allow one direction. The
/// router's own link needs none.
#[test]
fn a_neighbour_of_a_board_needs_a_line() {
    let neighbour = |more: &str| {
        let descriptor = crate::descriptor::tests::descriptor(1);
        format!("[[neighbour]]\nname = \"hill\"\ndescriptor = \"{descriptor}\"\n{more}\n")
    };
    let publish = |port: &str, to: &str, at: &str| {
        format!("[[publish]]\nport = \"{port}\"\nto = \"{to}\"\nat = \"{at}\"\n")
    };
    let udp = |ports: &str| format!("protocol = \"udp\"\nports = {ports}");
    let out = policy("boards", "uplink", &udp("[4500]"));
    let (at, other) = ("at = \"203.0.113.7:4500\"\nboard = 3", "board = 3");
    for (lines, words) in [
        (neighbour(at), Some("ports = [4500]")),
        (neighbour(other), Some("[[publish]]")),
        (out.clone() + &neighbour(at), None),
        (out.clone() + &neighbour(other), Some("[[publish]]")),
        (policy("boards", "uplink", &udp("[4501]")) + &neighbour(at), Some("ports = [4500]")),
        (policy("uplink", "boards", &udp("[4500]")) + &neighbour(at), Some("ports = [4500]")),
        (publish("udp/7", "board-3", "udp/51820") + &neighbour(at), None),
        (publish("udp/7", "board-3", "udp/51820") + &neighbour(other), None),
        (publish("udp/7", "board-2", "udp/51820") + &neighbour(other), Some("to = \"board-3\"")),
        (publish("udp/51820", "board-3", "udp/7") + &neighbour(other), Some("[[publish]]")),
        (neighbour(""), None),
        (publish("udp/7", "board-3", "udp/51820") + &neighbour(""), None),
        (publish("udp/51820", "board-3", "udp/51820") + &neighbour(""), Some("another port")),
    ] {
        let line = 1 + format!("{BOX}{lines}").lines().count();
        match (read(&lines), words) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert!(error.hint.contains(words), "{lines}: {error} {}", error.hint);
                assert!((line - 4..line).contains(&error.line), "{error}");
            }
            (found, _) => panic!("{lines}: {found:?}"),
        }
    }
}

proptest! {
    /// Which ports from outside are allowed, and which are rejected.
    #[test]
    fn none_of_those_to_speak_from(port in 60_900..62_100u16, more in 0..60u16, is_published: bool) {
        let udp = format!("protocol = \"udp\"\nports = \"{port}-{}\"", port + more);
        let (lines, last) = match is_published {
            true => (format!("[[publish]]\nport = \"udp/{port}\"\nto = \"board-2\"\nat = \"udp/7\"\n"), port),
            false => (policy("uplink", "router", &udp), port + more),
        };
        let touches = (port..=last).any(|port| (61_000..=61_999).contains(&port));
        prop_assert_eq!(read(&lines).is_err(), touches);
    }

    /// Compared with the policies themselves, evaluated one after another.
    #[test]
    fn lets_what_some_line_lets(lines in prop::collection::vec((1..5u8, 1..5u8, 1..30u16, 0..9u16), 1..9)) {
        let text: String = lines.iter().filter(|(from, to, ..)| from != to).map(|(from, to, first, more)| {
            let ports = format!("protocol = \"udp\"\nports = \"{first}-{}\"", first + more);
            policy(&format!("board-{from}"), &format!("board-{to}"), &ports)
        }).collect();
        let (segments, _) = read(&text).unwrap();
        let kept: Vec<_> = lines.iter().filter(|(from, to, ..)| from != to).collect();
        for from in 1..5 { for to in 1..5 { for port in 1..42 {
            let expected = kept.iter().position(|(a, b, first, more)| {
                (*a, *b) == (from, to) && (*first..=first + more).contains(&port)
            });
            let way = (Zone::Board(from), Zone::Board(to), TrafficKind::Udp);
            prop_assert_eq!(segments.allowed.rule(way, port), expected);
        } } }
        let entries: Vec<_> = segments.allowed.entries().collect();
        let is_after = |two: &[(FlowKey, AllowRule<usize>)]| {
            two[0].0 != two[1].0 || two[0].1.ports.last < two[1].1.ports.first
        };
        prop_assert!(entries.windows(2).all(is_after));
    }
}

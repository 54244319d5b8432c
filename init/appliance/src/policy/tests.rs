use super::*;
use crate::document::parse;
use proptest::prelude::*;

fn read(text: &str) -> Result<Policy, Box<crate::FileError>> {
    parse("appliance.toml", text)
}

#[test]
fn says_who_may_do_what() {
    let policy = read("from = \"board-1\"\nto = [\"role:cache\", \"lan\"]\nservice = \"cache.gateway\"\nrate = 100\n").unwrap();
    let cache = "cache".parse().unwrap();
    assert_eq!(
        (policy.from, policy.to),
        (vec![PolicyZone::Board(1)], vec![PolicyZone::Role(cache), PolicyZone::Lan])
    );
    assert!(
        matches!(policy.what, PolicyTraffic::Service(name) if name.to_string() == "cache.gateway")
    );
    assert_eq!(policy.rate.map(NonZeroU32::get), Some(100));
    let text =
        "from = \"boards\"\nto = \"uplink\"\nprotocol = \"tcp\"\nports = [80, \"8000-8010\"]\n";
    let ports = vec![PortRange { first: 80, last: 80 }, PortRange { first: 8000, last: 8010 }];
    assert_eq!(read(text).unwrap().what, PolicyTraffic::Ports(Protocol::Tcp, ports));
    let one = read(&text.replace("[80, \"8000-8010\"]", "80")).unwrap();
    assert!(matches!(one.what, PolicyTraffic::Ports(_, ports) if ports.len() == 1));
    let ends =
        |end: &str| read(&format!("from = \"path\"\nto = \"router\"\n{end}\n")).unwrap().what;
    assert_eq!(ends("protocol = \"icmp\""), PolicyTraffic::Ping);
    assert_eq!(ends("protocol = 47"), PolicyTraffic::Number(47));
    assert_eq!(ends("protocol = \"mpls-in-ip\""), PolicyTraffic::Number(137));
}

#[test]
fn mistakes_are_placed() {
    let good = "from = \"board-1\"\nto = \"lan\"\nprotocol = \"tcp\"\nports = [80, \"81-82\"]\n";
    read(good).unwrap();
    for (from, to, words) in [
        ("board-1", "board-01", "unknown zone"),
        ("board-1", "board-300", "unknown zone"),
        ("board-1", "role:", "unknown zone"),
        ("\"lan\"", "[]", "names no zone"),
        ("\"tcp\"", "\"sctp\"", "is not a protocol"),
        ("\"tcp\"", "256", "is not a protocol"),
        ("\"tcp\"", "\"icmp\"", "is only for"),
        ("\"tcp\"", "47", "is only for"),
        ("\"tcp\"", "\"mpls-in-ip\"", "is only for"),
        ("81-82", "82-81", "neither a port nor a range"),
        ("81-82", "+1-82", "neither a port nor a range"),
        ("80", "0", "neither a port nor a range"),
        ("80", "65536", "neither a port nor a range"),
        ("[80, \"81-82\"]", "[]", "needs `ports`"),
        ("protocol", "service", "is only for"),
        ("to =", "service = \"a\"\nto =", "either"),
        ("ports", "port", "unknown field"),
    ] {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(words), "{from} {to}: {error}");
    }
    let number =
        |number: u8| read(&format!("from = \"lan\"\nto = \"path\"\nprotocol = {number}\n"));
    for named in [1, 6, 17, 58, 137] {
        assert!(number(named).unwrap_err().message.contains("is written as"));
    }
    for extension in [0, 43, 44, 60] {
        assert!(number(extension).unwrap_err().message.contains("header of IPv6"));
    }
}

#[test]
fn a_port_is_published_to_one_board() {
    let read = |text: &str| parse::<Publish>("appliance.toml", text);
    let good = "port = \"tcp/443\"\nto = \"board-3\"\nat = \"tcp/8443\"\n";
    let published = read(good).unwrap();
    assert_eq!((published.board, published.port.number), (3, 443));
    assert!(matches!(published.target, PublishTarget::Port(port) if port.number == 8443));
    for (from, to, words) in [
        ("board-3", "boards", "one board"),
        ("tcp/8443", "udp/8443", "`at` is of udp"),
        ("at = \"tcp/8443\"\n", "", "either"),
    ] {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(words), "{from} {to}: {error}");
    }
}

fn who() -> impl Strategy<Value = String> {
    prop_oneof!["board-[1-9]", "boards", "role:[a-z]{1,4}", "uplink|router|lan|path", "\\PC{0,8}"]
}

proptest! {
    /// The JSON that a box stores is equivalent to the text; and no text causes a panic.
    #[test]
    fn survives_any_text(from in who(), to in who(), protocol in "tcp|udp|icmp|mpls-in-ip|[a-z]{0,3}",
                         ports in prop::collection::vec((0..70_000i64, "[0-9]{1,5}-[0-9]{1,5}|\\PC{0,4}"), 0..3)) {
        let ports: Vec<_> = ports.iter().flat_map(|(one, range)| [one.to_string(), format!("{range:?}")]).collect();
        let text = format!("from = {from:?}\nto = [{to:?}]\nprotocol = {protocol:?}\nports = [{}]\n", ports.join(", "));
        if let Ok(policy) = read(&text) {
            let json = serde_json::to_string(&policy).unwrap();
            prop_assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        }
    }
}

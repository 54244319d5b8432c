use super::*;
use crate::Appliance;
use proptest::prelude::*;

const REST: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";
const ONE: &str = "[[origin]]\nname = \"web\"\nupstream = \"https://example.com\"\n";

fn parse(sections: &str) -> Result<Appliance, Box<FileError>> {
    Appliance::parse("appliance.toml", &format!("{REST}{sections}"))
}

#[test]
fn an_origin_has_defaults() {
    let origin = parse(ONE).unwrap().origin.remove(0);
    assert_eq!(origin.max_bytes.get(), 1 << 30);
    assert_eq!((u64::from(origin.max_seconds), u64::from(origin.max_header_bytes)), (60, 16384));
    assert_eq!(origin.headers, ["accept", "accept-language"]);
    assert!(origin.cookies.is_empty() && origin.allow.is_empty() && origin.board.is_none());
    assert_eq!((origin.stale_if_error_seconds, origin.stale_while_revalidate_seconds), (0, 0));
}

#[test]
fn mistakes_are_placed() {
    for (line, message) in [
        ("max_seconds = 0", "1 to 3600"),
        ("max_header_bytes = 100", "8192"),
        ("max_bytes = \"x\"", "not a size"),
        ("cookies = [\"a b\"]", "`a b`"),
        ("headers = [\"Cookie\"]", "`Cookie`"),
        ("allow = [\"10.0.0.1/8\"]", "not a network"),
        ("board = 1", "no [cluster]"),
        ("path = \"/\"", "path"),
    ] {
        assert!(parse(&format!("{ONE}max_seconds = 7\n")).is_ok());
        let error = parse(&format!("{ONE}{line}\n")).unwrap_err();
        assert_eq!(error.line, 11, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    assert!(parse(&ONE.replace("https", "http")).is_ok());
    let plain = format!("{}ca = \"x\"\n", ONE.replace("https", "http"));
    assert!(parse(&plain).unwrap_err().to_string().contains("not HTTPS"));
    assert_eq!(parse(&format!("{ONE}{ONE}")).unwrap_err().line, 12);
    let cluster = |line: &str| parse(&format!("[cluster]\nboards = 8\n{ONE}{line}\n"));
    let origin = cluster("board = 2\nfronts = [1, 3, 4, 5, 6, 7, 8]").unwrap().origin.remove(0);
    assert_eq!(origin.fronts, [1, 3, 4, 5, 6, 7, 8]);
    for line in ["board = 2\nfronts = [2]", "board = 2\nfronts = [9]", "board = 2\nfronts = [0]"] {
        assert!(cluster(line).unwrap_err().to_string().contains("cannot be a further front"));
    }
    assert!(cluster("board = 2\nfronts = [3, 3]").unwrap_err().to_string().contains("board 3"));
    assert!(cluster("board = 2\nfronts = [3, 4]\nstandby = [4, 3]").is_ok());
    for line in ["standby = [4]", "standby = [3, 3]", "standby = [2]"] {
        let error = cluster(&format!("board = 2\nfronts = [3]\n{line}")).unwrap_err();
        assert!(error.to_string().contains("cannot be a standby"), "{error}");
    }
    assert!(cluster("fronts = [3]").unwrap_err().to_string().contains("none is named"));
    assert!(parse(&format!("{ONE}fronts = [3]\n")).is_err());
    let many = "[cluster]\nboards = 32\n";
    let fronts = |last: u8| {
        let list: Vec<u8> = (2..=last).collect();
        parse(&format!("{many}{ONE}board = 1\nfronts = {list:?}\n"))
    };
    assert!(fronts(8).is_ok());
    assert!(fronts(9).unwrap_err().to_string().contains("more than 7"));
    for bad in ["router", "board-1", "a.b", "A"] {
        assert!(parse(&ONE.replace("web", bad)).is_err(), "{bad}");
    }
}

#[test]
fn upstreams() {
    let parse = |text: &str| Upstream::try_from(text.to_owned());
    for (text, host, port, authority) in [
        ("https://Example.com", "example.com", 443, "example.com"),
        ("https://example.com/", "example.com", 443, "example.com"),
        ("http://a.b:8000", "a.b", 8000, "a.b:8000"),
        ("https://[2001:db8::1]:444", "2001:db8::1", 444, "[2001:db8::1]:444"),
        ("http://192.0.2.1:80", "192.0.2.1", 80, "192.0.2.1"),
    ] {
        let upstream = parse(text).unwrap();
        assert_eq!((upstream.host.as_str(), upstream.port), (host, port), "{text}");
        assert_eq!(upstream.authority(), authority);
        assert_eq!(parse(&upstream.to_string()).unwrap(), upstream);
    }
    for bad in [
        "",
        "example.com",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a:0",
        "https://a:+1",
        "https://u@a",
        "https://a?b",
        "https://[::1",
        "https://[a]",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,40}", url in "https?://[a-z:\\[\\]./0-9]{0,20}") {
        let _ = AllowedNetwork::try_from(text.clone());
        for text in [text, url] {
            if let Ok(upstream) = Upstream::try_from(text) {
                prop_assert_eq!(Upstream::try_from(upstream.to_string()).unwrap(), upstream);
            }
        }
    }

    #[test]
    fn a_network_is_its_prefix(address: u32, other: u32, length in 0u8..=32) {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let ip = |bits: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
        let network = AllowedNetwork::try_from(format!("{}/{length}", ip(address & mask))).unwrap();
        prop_assert!(network.contains(ip(address)));
        prop_assert_eq!(network.contains(ip(other)), other & mask == address & mask);
    }
}

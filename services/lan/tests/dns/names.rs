//! Names that the box answers itself, and names that it never forwards outside.

use std::net::{Ipv6Addr, SocketAddr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use octet_lan::dns::Settings;
use octet_lan::dns::box_zone::BoxZone;
use octet_lan::dns::inside::BoxNetworks;
use octet_lan::dns::prefix::IpPrefix;

use crate::client::{Client, data};
use crate::host::{Host, settings};
use crate::upstream::Upstream;

#[test]
fn the_boxs_own_names_and_addresses() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    assert_eq!(client.address("BOARD-3.Octet.internal."), ["10.20.3.2"]);
    let six = client.ask("router.octet.internal.", RecordType::AAAA);
    assert_eq!(data(&six), ["fd6f:6374:6574:1::1"]);
    assert!(six.metadata.authoritative && six.answers[0].ttl == 5);
    let back = client.ask("2.3.20.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(data(&back), ["board-3.octet.internal."]);
    let none = client.ask("board-4.octet.internal.", RecordType::AAAA);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    let missing = client.ask("board-9.octet.internal.", RecordType::A);
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(missing.authorities[0].record_type(), RecordType::SOA);
    // The same by IPv6.
    let six = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), host.address.port());
    assert_eq!(Client::new("::1", six).address("board-3.octet.internal."), ["10.20.3.2"]);
    // At another address of the node, which the answer must be sent from.
    let other = SocketAddr::new([127, 0, 0, 5].into(), host.address.port());
    let client = Client::new("127.0.0.1", other);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    assert_eq!(upstream.asked(), [""; 0]);
}

const NEVER: [&str; 34] = [
    "internal.",
    "octet.",
    "board-9.octet.internal.",
    "other.internal.",
    "cache.octet.",
    "a.b.c.octet.",
    "printer.local.",
    "_http._tcp.local.",
    "localhost.",
    "a.localhost.",
    "home.arpa.",
    "nas.home.arpa.",
    "_dns.resolver.arpa.",
    "lan.",
    "nas.lan.",
    "x.test.",
    "x.invalid.",
    "x.onion.",
    "x.alt.",
    "printer.",
    "wpad.",
    "9.9.20.10.in-addr.arpa.",
    "20.10.in-addr.arpa.",
    "b._dns-sd._udp.0.0.20.10.in-addr.arpa.",
    "1.0.0.10.in-addr.arpa.",
    "1.2.16.172.in-addr.arpa.",
    "1.1.168.192.in-addr.arpa.",
    "1.1.254.169.in-addr.arpa.",
    "1.0.64.100.in-addr.arpa.",
    "1.0.0.127.in-addr.arpa.",
    "0.in-addr.arpa.",
    "3.0.0.0.4.7.5.6.4.7.3.6.f.6.d.f.ip6.arpa.",
    "0.0.c.f.ip6.arpa.",
    "0.8.e.f.ip6.arpa.",
];

#[test]
fn names_of_the_box_never_leave_it() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("first.example.com."), ["192.0.2.80"]);
    let code_of = |name: &str, kind| client.ask(name, kind).metadata.response_code;
    for kind in [RecordType::A, RecordType::PTR, RecordType::SOA, RecordType::NS, RecordType::HTTPS]
    {
        for name in NEVER {
            let code = code_of(name, kind);
            let known = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
            assert!(known, "{name} {kind}: {code}");
            let upper = code_of(&name.to_uppercase(), kind);
            assert_eq!(upper, code, "{name} {kind}");
        }
    }
    assert_eq!(client.address("last.example.com."), ["192.0.2.80"]);
    assert_eq!(upstream.asked(), ["first.example.com. A", "last.example.com. A"]);
    let counters = host.with(|dns| dns.counters());
    assert_eq!(counters.from_own, 2 * 5 * NEVER.len() as u64);
}

#[test]
fn a_board_asks_its_router_about_the_box_and_no_more() {
    let outside = Upstream::honest();
    let router = Host::new(settings(), &[outside.address]);
    let of_a_board = Settings { forwards_inside: true, ..settings() };
    let board = Host::new(of_a_board, &[router.address]);
    board.with(|dns| dns.set_box_zone(BoxZone::default()));
    let client = Client::new("127.0.0.1", board.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    let back = client.ask("2.4.20.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(data(&back), ["board-4.octet.internal."]);
    let missing = client.ask("board-9.octet.internal.", RecordType::A);
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(outside.asked(), ["www.example.com. A"]);
    assert_eq!(router.with(|dns| dns.counters()).queries, 4);
    // These are not even forwarded to the router.
    for name in ["printer.", "localhost.", "x.onion.", "x.invalid.", "1.0.0.127.in-addr.arpa."] {
        client.ask(name, RecordType::A);
    }
    assert_eq!(client.address("www2.example.com."), ["192.0.2.80"]);
    assert_eq!(router.with(|dns| dns.counters()).queries, 5);
}

#[test]
fn services_have_names() {
    let upstream = Upstream::honest();
    let host = Host::new(settings(), &[upstream.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("board-3.octet.internal."), ["10.20.3.2"]);
    assert_eq!(client.address("cache.octet."), [""; 0]);
    let register = |name: &'static str| {
        host.with(move |dns| {
            let names = [(name.to_owned(), vec!["10.20.3.2".parse().unwrap()])];
            dns.register(&"cache".parse().unwrap(), &names).map_err(|error| error.to_string())
        })
    };
    assert_eq!(register("cache.octet"), Ok(()));
    assert_eq!(client.address("cache.octet."), ["10.20.3.2"]);
    let refused = "`gate.octet` is not the unit's: it may have `cache.octet` and names below that";
    assert_eq!(register("gate.octet"), Err(refused.into()));
    assert_eq!(client.address("gate.octet."), [""; 0]);
    assert_eq!(client.address("cache.octet."), ["10.20.3.2"]);
    host.with(|dns| dns.unregister(&"cache".parse().unwrap()));
    assert_eq!(client.address("cache.octet."), [""; 0]);
}

#[test]
fn what_is_set_counts_at_once() {
    let (first, second) = (Upstream::honest(), Upstream::honest());
    let host = Host::new(settings(), &[first.address]);
    let client = Client::new("127.0.0.1", host.address);
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    // Setting the same upstreams again keeps the cache.
    let (same, other) = (first.address, second.address);
    host.with(move |dns| assert_eq!(dns.set_upstreams(&[same]), []));
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!(first.asked().len(), 1);
    host.with(move |dns| assert_eq!(dns.set_upstreams(&[other]), []));
    // A change of upstreams clears the cache.
    assert_eq!(client.address("www.example.com."), ["192.0.2.80"]);
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    host.with(|dns| dns.set_box_zone(BoxZone::default()));
    assert_eq!(client.address("board-3.octet.internal."), [""; 0]);
    // Addresses of a new network of the box are removed from answers.
    host.with(|dns| {
        let network = IpPrefix::new("192.0.2.0".parse().unwrap(), 24).unwrap();
        assert_eq!(
            dns.set_box_networks(BoxNetworks { networks: vec![network], ..BoxNetworks::default() }),
            []
        );
    });
    assert_eq!(client.address("www.example.com."), [""; 0]);
}

//! DHCP messages: answers of servers, and requests of clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use octet_appliance::Mac;
use octet_lan::dhcp::client::DhcpClient;
use octet_lan::dhcp::pool::Pool;
use octet_lan::dhcp::server::{AddressSource, answer};
use octet_lan::dhcp::{ClientRequest, Lease, LeaseState, ServerMessage};
use octet_node::links::PlannedSegment;

/// A time far from netd's start, so that errors in computing the end of a lease are detected.
const ASKED: Duration = Duration::from_secs(1 << 20);

/// An answer results in a possible address of a box, for the lease time in the answer, with a
/// reachable gateway, and only if it was requested. A client gets the address of its port, or one
/// in its network, and can decode the answer.
pub fn dhcp(bytes: &[u8]) {
    asked(bytes);
    let Ok(answer) = ServerMessage::parse(bytes) else { return };
    assert!(bytes.len() > 240 && bytes[0] == 2, "shorter than an answer can be");
    if let Ok(lease) = Lease::new(&answer, ASKED) {
        holds(&answer, &lease);
    }
    // The answer is sent to the client that it names, in each state in which it can arrive.
    for replays in 0..3 {
        let mut client = DhcpClient::new(answer.mac, None, ASKED);
        client.tick(ASKED, answer.xid);
        for _ in 0..replays {
            client.receive(ASKED, answer.clone());
        }
        let outcome = client.receive(ASKED, answer.clone());
        if let Some(LeaseState::Bound(lease)) = outcome.lease_change {
            holds(&answer, &lease);
        }
        // A single kind of answer gives no address: it must be offered first, and then
        // acknowledged.
        assert!(client.lease().is_none(), "{answer:?}");
        let stranger = Mac::new([2, 0xff, 0xff, 0xff, 0xff, answer.mac.bytes()[5] ^ 1]);
        let mut other = DhcpClient::new(stranger.expect("of one device"), None, ASKED);
        let outcome = other.receive(ASKED, answer.clone());
        assert!(outcome.send.is_none() && outcome.lease_change.is_none());
    }
}

fn holds(answer: &ServerMessage, lease: &Lease) {
    let address = lease.ip();
    assert_eq!(address, answer.address);
    assert!(!address.is_unspecified() && !address.is_loopback() && !address.is_multicast());
    assert!((1..=32).contains(&lease.address.prefix()));
    assert!(lease.gateway.is_none_or(|it| lease.address.is_on_link(IpAddr::V4(it))));
    let seconds = answer.lease_seconds.expect("without a time there is no lease");
    let left = lease.remaining_seconds(ASKED);
    assert_eq!(left, (seconds != u32::MAX).then_some(seconds));
    assert!(seconds >= 30, "too short to be renewed in time");
    assert!(lease.renew_at <= lease.rebind_at && lease.rebind_at <= lease.expires);
    let pause = lease.renew_at.map(|at| at - ASKED);
    assert!(pause.is_none_or(|it| it >= Duration::from_secs(15)), "nobody is asked all the time");
}

fn asked(bytes: &[u8]) {
    let Ok(question) = ClientRequest::parse(bytes) else { return };
    let of = |number, host| (Ipv4Addr::new(10, 20, number, host), Ipv6Addr::UNSPECIFIED);
    let port = PlannedSegment { number: 3, router: of(3, 1), board: Some(of(3, 2)), mac: None };
    let lan = PlannedSegment { number: 250, router: of(250, 1), board: None, mac: None };
    let (mut pool, from) = (Pool::default(), Ipv4Addr::UNSPECIFIED);
    for (mut gives, number) in
        [(AddressSource::Board(&port), 3), (AddressSource::Lan(&lan, &mut pool), 250)]
    {
        let Some((reply, _)) = answer(&question, from, &mut gives, "octet.internal", ASKED) else {
            continue;
        };
        let read = ServerMessage::parse(&reply.bytes(&question)).expect("our own answer");
        assert_eq!((read.xid, read.mac, read.kind), (question.xid, question.mac, reply.kind));
        if let Some(address) = reply.address {
            let [a, b, c, host] = address.octets();
            assert_eq!((a, b, c), (10, 20, number));
            assert!(if number == 3 { host == 2 } else { (2..255).contains(&host) });
        }
    }
}

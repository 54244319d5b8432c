//! Answers of DHCP servers.

use std::net::IpAddr;
use std::time::Duration;

use octet_netd::dhcp::client::Client;
use octet_netd::dhcp::{Answer, Lease};
use octet_netd::plan::Leased;

/// A time far from netd's start, so that a lease that is counted wrongly is seen.
const ASKED: Duration = Duration::from_secs(1 << 20);

/// What comes of an answer is an address that a box can have, for a time that ends as the answer says,
/// and a gateway that can be reached from it; and that only if it was asked for.
///
/// # Panics
/// It is not so.
pub fn dhcp(bytes: &[u8]) {
    let Ok(answer) = Answer::parse(bytes) else { return };
    assert!(bytes.len() > 240 && bytes[0] == 2, "shorter than an answer can be");
    if let Ok(lease) = Lease::new(&answer, ASKED) {
        holds(&answer, &lease);
    }
    // To whom it is addressed, at each of the moments at which it may come.
    for replays in 0..3 {
        let mut client = Client::new(answer.mac, None, ASKED);
        client.tick(ASKED, answer.xid);
        for _ in 0..replays {
            client.received(ASKED, answer.clone());
        }
        let outcome = client.received(ASKED, answer.clone());
        if let Some(Leased::Lease(lease)) = outcome.leased {
            holds(&answer, &lease);
        }
        // One kind of answer is not enough for an address: it is offered, and then confirmed.
        assert!(client.lease().is_none(), "{answer:?}");
        let other = Client::new([0xff; 6], None, ASKED).received(ASKED, answer.clone());
        assert!(other.send.is_none() && other.leased.is_none());
    }
}

fn holds(answer: &Answer, lease: &Lease) {
    let address = lease.ip();
    assert_eq!(address, answer.address);
    assert!(!address.is_unspecified() && !address.is_loopback() && !address.is_multicast());
    assert!((1..=32).contains(&lease.address.prefix()));
    assert!(lease.gateway.is_none_or(|it| lease.address.reaches(IpAddr::V4(it))));
    let seconds = answer.seconds.expect("without a time there is no lease");
    let left = lease.left(ASKED);
    assert_eq!(left, (seconds != u32::MAX).then_some(seconds.clamp(60, u32::MAX - 1)));
}

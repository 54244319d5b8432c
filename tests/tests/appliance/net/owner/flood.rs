//! Many, slow, and oversized requests. The operator is served meanwhile.

use std::io::Write;
use std::net::Ipv4Addr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::owner::door::{Tls, as_operator, tcp, until_closed};
use crate::net::owner::site::Site;

/// The burst of connections per address without an operator's key (docs/gate.md).
const BURST: usize = 20;

/// The maximum number of connections that have not proved a key (docs/gate.md).
const KEYLESS: usize = 32;

/// The number of connections that prove no key.
const CONNECTIONS: usize = 1000;

/// The operator makes a call after every batch of this many connections.
const TURN: usize = 25;

/// The beginning of a TLS 1.3 ClientHello, up to its second field.
const BEGINS: &[u8] = b"\x16\x03\x01\x02\x00\x01";

/// Further hosts: one that connects too often, a slow one, one with oversized frames, and the first
/// of many.
const OFTEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 70);
const SLOW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 71);
const LONG: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 72);
const MANY: u8 = 100;

/// An operator's request that arrives byte by byte.
pub struct Slow(Tls);

impl Slow {
    pub fn start(site: &Site<'_>) -> Self {
        let mut stream = as_operator(site, SLOW, "anna");
        stream.write_all(b"OCT1\0\0\x10\0{").unwrap();
        Self(stream)
    }

    /// Sends one more byte, if the connection is still open.
    fn drip(&mut self) {
        let _ = self.0.write_all(b" ").and_then(|()| self.0.flush());
    }

    /// Waits for its end; the gate has logged the reason.
    fn ends(mut self, site: &Site<'_>) {
        until_closed(&mut self.0);
        let logged = ["anna", &SLOW.to_string(), "refused", "a frame timed out"];
        site.wait_logged(&logged, 0);
    }
}

/// One address connects repeatedly: it is rate-limited, and others are not.
pub fn of_one_address(site: &Site<'_>) {
    let turned_away = || site.json("anna", &["gate", "show"])["rejected"]["rate_limited"].as_u64();
    let before = turned_away().unwrap();
    let mut open: Vec<_> = (0..BURST).map(|_| tcp(site, OFTEN)).collect();
    assert_eq!(turned_away(), Some(before));
    site.logged(&[&OFTEN.to_string(), "connects too often"], || {
        open.extend((0..2 * BURST).map(|_| tcp(site, OFTEN)));
        site.may("anna", &["status"]);
    });
    assert!(turned_away() > Some(before));
}

/// Many addresses open connections and prove no key. Meanwhile and afterwards the operator is
/// served, despite slow and oversized requests.
pub fn of_many(site: &Site<'_>, mut slow: Slow) {
    // Each connection takes two descriptors: the test's end, and that of its network stack.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let without_key = || site.json("anna", &["gate", "show"])["rejected"]["without_key"].as_u64();
    let before = without_key().unwrap();
    let mut open = vec![];
    for number in 0..CONNECTIONS {
        let last = MANY + u8::try_from(number % 150).unwrap();
        let mut stream = tcp(site, Ipv4Addr::new(192, 0, 2, last));
        if number % 2 == 1 {
            stream.write_all(BEGINS).unwrap();
        }
        open.push(stream);
        if number % TURN == TURN - 1 {
            slow.drip();
            site.may("anna", &["status"]);
        }
    }
    announces_too_much(site);
    // The number of such connections is limited; the oldest ones were closed for the new ones.
    let now = without_key().unwrap();
    assert!(now >= before + (CONNECTIONS - KEYLESS) as u64, "{before} {now}");
    for stream in &mut open {
        until_closed(stream);
    }
    site.wait_logged(&["192.0.2.1", "has shown no key", "it took too long"], 0);
    slow.ends(site);
    site.may("anna", &["status"]);
}

/// An operator announces a frame of 1 GiB.
fn announces_too_much(site: &Site<'_>) {
    let why = "1073741824 bytes";
    site.logged(&["anna", &LONG.to_string(), "refused", why], || {
        let mut stream = as_operator(site, LONG, "anna");
        stream.write_all(b"OCT1\x40\0\0\0{\"id\"").unwrap();
        stream.flush().unwrap();
        let said = until_closed(&mut stream);
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(why), "{said}");
    });
    site.may("anna", &["status"]);
}

//! Refused clients, and connections that the test makes itself.

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use octet_control::{Client, HEADER};
use octet_node::tls;
use octet_tests::{SOON, in_terminal};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, SignatureScheme, StreamOwned};
use serde_json::Map;

use crate::net::guest::{GIVEN, gate};
use crate::net::owner::site::Site;

pub type Tls = StreamOwned<ClientConnection, UnixStream>;

/// Two further hosts: one for TLS without a key, and one without TLS.
const KEYLESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);
const PLAIN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 61);

/// Connects from the host `from`. A timeout fails the test.
pub fn tcp(site: &Site<'_>, from: Ipv4Addr) -> UnixStream {
    let stream = site.host.connect_from(from, gate(GIVEN.into())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// Starts TLS with `config`.
fn begin(site: &Site<'_>, from: Ipv4Addr, config: Arc<ClientConfig>) -> Tls {
    let connection = ClientConnection::new(config, tls::any_name()).unwrap();
    StreamOwned::new(connection, tcp(site, from))
}

/// Connects by TLS as `who`, and reads the gate's hello.
pub fn as_operator(site: &Site<'_>, from: Ipv4Addr, who: &str) -> Tls {
    let config = tls::client(&site.people.secret(who), tls::AlpnProtocol::Control).unwrap();
    let mut stream = begin(site, from, config);
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let [.., a, b, c, d] = header;
    let mut hello = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut hello).unwrap();
    assert!(hello.starts_with(b"{\"hello\""), "{}", String::from_utf8_lossy(&hello));
    stream
}

/// Reads until the gate closes the connection. Returns the data.
pub fn until_closed(stream: &mut impl Read) -> Vec<u8> {
    let (mut all, mut buffer) = (vec![], [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it stays open"),
            // An aborted connection is closed, too.
            Err(_) => return all,
        }
    }
}

/// First contact: the box reports its key. Without a terminal the command fails; in a terminal the
/// user has to confirm the key once.
pub fn at_first(site: &Site<'_>) {
    let owner = &site.people.owner;
    let words = ["--box", &site.address, "status"];
    let unknown = owner.ask("anna", &words);
    assert!(unknown.status == Some(1) && unknown.stderr.contains(&site.node), "{}", unknown.stderr);
    for (answer, works) in [("no\n", false), ("yes\n", true)] {
        let (mut child, mut ours) = in_terminal(owner.command("anna", &words));
        ours.write_all(answer.as_bytes()).unwrap();
        let mut said = vec![];
        // Reading fails once no process has the other side open.
        let _ = ours.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(&site.node) && said.contains("Is it the same?"), "{said}");
        assert_eq!(said.contains("identity"), works, "{said}");
        assert_eq!(child.wait().unwrap().success(), works);
    }
    let known = owner.ask("anna", &words);
    assert!(known.status == Some(0) && known.stdout.contains("identity"), "{}", known.stderr);
}

/// Keys that may not call the verb, or may not connect.
pub fn who_may_not(site: &Site<'_>) {
    site.restarts_console(|| drop(site.may("anna", &["restart", "console"])));
    site.may("ben", &["status"]);
    site.may_not("ben", &["restart", "console"], "needs `operate`");
    site.may_not("ben", &["identity", "reset", &site.node], "needs `own`");
    site.may_not("eve", &["status"], "is not an operator of this box");
}

/// A TLS client without a key, and a client of another protocol.
pub fn without_a_key(site: &Site<'_>) {
    let stream = as_operator(site, KEYLESS, "anna");
    Client::new(stream).call("status", Map::new()).unwrap();
    site.logged(&[&KEYLESS.to_string(), "refused, it has shown no key"], || {
        let mut config = (*tls::client(&site.people.secret("anna"), tls::AlpnProtocol::Control)
            .unwrap())
        .clone();
        config.client_auth_cert_resolver = Arc::new(NoKey);
        let said = until_closed(&mut begin(site, KEYLESS, Arc::new(config)));
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    });
    site.logged(&[&PLAIN.to_string(), "refused, it has shown no key"], || {
        let mut plain = tcp(site, PLAIN);
        plain.write_all(b"OCT1\0\0\0\x1a{\"id\": 1,\"verb\":\"status\"}").unwrap();
        let said = until_closed(&mut plain);
        assert!(!String::from_utf8_lossy(&said).contains("uptime"));
    });
}

/// A client without a key.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

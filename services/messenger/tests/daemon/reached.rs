//! The choice of a mailbox's address, and the limit of connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::EndpointAddr;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::quic::send_request;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messenger::boards::{MapBoards, RelayedCommands};
use octet_messenger::mailbox::{Mailbox, MailboxLimits};
use octet_messenger::quic::{self, Served, ServerLimits};
use octet_node::key::{PrivateKey, random};
use octet_node::tls::AlpnProtocol;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::{Host, TIMEOUT};

#[test]
fn the_address_that_proves_the_mailboxs_key() {
    let (mut host, mut other) = (Host::new(), Host::new());
    let (place, other) = (host.start("127.0.0.1:0"), other.start("127.0.0.1:0"));
    let (key, request) = (PrivateKey::generate().unwrap(), SignedRequest::Nonce);
    let asked = |addresses: &[_]| {
        let place = MailboxAddress { mailbox: place.mailbox, addresses: addresses.to_vec() };
        send_request(&key, &place, &request, TIMEOUT)
    };
    // The socket never answers; it stays open, so that the kernel sends no error either.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let [silent, own, others] =
        [silent.local_addr().unwrap(), place.addresses[0], other.addresses[0]];

    assert!(matches!(asked(&[silent, others, own]), Some(MailboxReply::Nonce(_))));
    assert_eq!(asked(&[others]), None, "the other mailbox has another key");
    assert_eq!(asked(&[]), None);
}

/// A mailbox in `folder` whose endpoint has this key.
pub fn served(folder: &TempDir, key: &PrivateKey) -> Served {
    let letters = folder.path().join("letters");
    let mailbox = Mailbox::open(&letters, key.public(), MailboxLimits::default()).unwrap();
    let relayed = Arc::new(RelayedCommands::new(MapBoards::default(), folder.path()));
    Served { mailbox: Arc::new(Mutex::new(mailbox)), relayed }
}

/// Incomplete handshakes from spoofed addresses: a client that proves its address is served.
#[test]
fn handshakes_from_addresses_that_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let own = PrivateKey::generate().unwrap();
    let served = served(&folder, &own);
    // A handshake keeps its place however slow the machine is.
    let bounds = ServerLimits { timeout: TIMEOUT, ..ServerLimits::default() };
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    let server = runtime.block_on(async {
        let at = [([127, 0, 0, 1], 0).into()];
        let server = quic::open(own.seed(), &at).await.unwrap();
        let id = server.id();
        let server_address = server.bound_sockets()[0];
        tokio::spawn(quic::serve(server, served, bounds));
        let mut answer = [0; 1500];
        let mut packets = vec![];
        for _ in 0..70 {
            // Another endpoint each time, because a client caches a peer's address.
            let at = [([127, 0, 0, 1], 0).into()];
            let client = quic::open(&random().unwrap(), &at).await.unwrap();
            let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = EndpointAddr::new(id).with_ip_addr(wire.local_addr().unwrap());
            let begun = client.connect(address, AlpnProtocol::Messenger.name());
            let (length, _) = tokio::select! {
                first = wire.recv_from(&mut answer) => first.unwrap(),
                _ = begun => unreachable!("nobody answers"),
            };
            packets.push(answer[..length].to_vec());
        }
        // The first packets of clients, sent by peers that do not receive the answers.
        for (count, packet) in (0..).zip(&packets) {
            let from = UdpSocket::bind(SocketAddr::from(([127, 0, 2, count], 0))).await.unwrap();
            from.send_to(packet, server_address).await.unwrap();
            let answered = timeout(TIMEOUT, from.recv_from(&mut answer)).await;
            answered.expect("late: no answer").unwrap();
            // RFC 9000, section 17.2: the types of long headers.
            let (kind, initial, retry) = (answer[0] >> 4 & 3, 0, 3);
            assert_eq!(kind, if count < 32 { initial } else { retry }, "{count}");
        }
        server_address
    });
    let place = MailboxAddress { mailbox: own.public(), addresses: vec![server] };
    let key = PrivateKey::generate().unwrap();
    // The server runs in this runtime.
    let asked = runtime.block_on(async {
        let ask = move || send_request(&key, &place, &SignedRequest::Nonce, TIMEOUT);
        tokio::task::spawn_blocking(ask).await.unwrap()
    });
    assert!(matches!(asked, Some(MailboxReply::Nonce(_))));
}

#[test]
fn who_asks_nothing_has_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::generate().unwrap();
    let served = served(&folder, &key);
    let bounds = ServerLimits { timeout: Duration::from_secs(4), ..ServerLimits::default() };
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    runtime.block_on(async {
        let at = [([127, 0, 0, 1], 0).into()];
        let server = quic::open(key.seed(), &at).await.unwrap();
        let client = quic::open(&random().unwrap(), &at).await.unwrap();
        let address = EndpointAddr::new(server.id()).with_ip_addr(server.bound_sockets()[0]);
        tokio::spawn(quic::serve(server, served, bounds));
        let connection = client.connect(address, AlpnProtocol::Messenger.name()).await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&SignedRequest::Nonce.to_bytes()).await.unwrap();
        send.finish().unwrap();
        let answer = receive.read_to_end(100).await.unwrap();
        assert!(matches!(MailboxReply::from_bytes(&answer), Some(MailboxReply::Nonce(_))));
        // The client sends keepalives.
        timeout(TIMEOUT, connection.closed()).await.expect("late: it stays");
    });
}

//! Which address of a mailbox counts.

use std::net::UdpSocket;

use octet_messages::place::Place;
use octet_messages::quic::ask;
use octet_messages::request::{Answer, Request};
use octet_node::key::Key;

use crate::{Host, PATIENCE};

#[test]
fn the_address_that_proves_the_mailboxs_key() {
    let (mut host, mut other) = (Host::new(), Host::new());
    let (place, other) = (host.start("127.0.0.1:0"), other.start("127.0.0.1:0"));
    let (key, request) = (Key::generate().unwrap(), Request::Nonce);
    let asked = |addresses: &[_]| {
        let place = Place { mailbox: place.mailbox, addresses: addresses.to_vec() };
        ask(&key, &place, &request, PATIENCE)
    };
    // Nobody answers there, and the socket is kept, so that nothing says so.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [silent, own, others] =
        [silent.local_addr().unwrap(), place.addresses[0], other.addresses[0]];

    assert!(matches!(asked(&[silent, others, own]), Some(Answer::Nonce(_))));
    assert_eq!(asked(&[others]), None, "the other mailbox has another key");
    assert_eq!(asked(&[]), None);
}

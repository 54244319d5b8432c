use super::*;
use proptest::prelude::*;

fn mac() -> Mac {
    Mac::new([0x52, 0x54, 0, 1, 2, 3]).unwrap()
}

/// An answer encoded by hand, as in the figure of RFC 2131.
fn answer(kind: u8, more: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([192, 0, 2, 50, 192, 0, 2, 1, 0, 0, 0, 0]);
    bytes.extend(mac().bytes());
    bytes.extend([0; 10 + 64 + 128]);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    bytes.extend(more);
    bytes
}

const MORE: [u8; 35] = [
    54, 4, 192, 0, 2, 1, 0, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 224,
    1, 3, 6, 4, 192, 0, 2, 2, 255,
];

#[test]
fn reads_an_offer() {
    let offer = ServerMessage::parse(&answer(2, &MORE)).unwrap();
    let expected = ServerMessage {
        kind: ReplyType::Offer,
        xid: 0xdead_beef,
        mac: mac(),
        address: Ipv4Addr::new(192, 0, 2, 50),
        server: Some(Ipv4Addr::new(192, 0, 2, 1)),
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        router: Some(Ipv4Addr::new(192, 0, 2, 1)),
        lease_seconds: Some(3600),
        renewal_times: (None, None),
        dns_servers: vec![Ipv4Addr::new(192, 0, 2, 2)],
        ntp_servers: vec![],
        board: Some(3),
    };
    assert_eq!(offer, expected);
    assert_eq!(ServerMessage::parse(&answer(6, &[255])).unwrap().kind, ReplyType::Nak);
}

#[test]
fn says_what_is_wrong() {
    let good = answer(5, &MORE);
    assert_eq!(ServerMessage::parse(&good).unwrap().kind, ReplyType::Ack);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    for (bytes, words) in [
        (good[..239].to_vec(), "no DHCP message"),
        (with(0, 1), "the other way"),
        (with(1, 9), "not by Ethernet"),
        // The hardware address is longer than `chaddr`.
        (with(2, 255), "not by Ethernet"),
        (with(28, 1), "nobody's"),
        (with(242, 1), "no server's"),
        (with(244, 200), "no DHCP message"),
        (good[..240].to_vec(), "no server's"),
        (answer(5, &[224, 1, 33]), "no box has"),
        (with(236, 0), "no DHCP message"),
        (answer(5, &[54]), "no DHCP message"),
    ] {
        assert!(ServerMessage::parse(&bytes).unwrap_err().0.contains(words), "{words}");
    }
}

/// RFC 3442: classless routes without a default route mean no gateway, even if the option for
/// routers is present.
#[test]
fn routes_count_instead_of_routers() {
    let router = |options: &[u8]| {
        ServerMessage::parse(&answer(2, &[options, &MORE].concat())).unwrap().router
    };
    let default = [0, 203, 0, 113, 1];
    let others = [32, 203, 0, 113, 1, 0, 0, 0, 0, 8, 10, 192, 0, 2, 9];
    assert_eq!(router(&[]), Some(Ipv4Addr::new(192, 0, 2, 1)));
    let both = [&[121, 20][..], &others, &default].concat();
    assert_eq!(router(&both), Some(Ipv4Addr::new(203, 0, 113, 1)));
    assert_eq!(router(&[&[121, 15][..], &others].concat()), None);
    let cut = [&[121, 4][..], &default[..4]].concat();
    assert_eq!(router(&cut), None);
}

/// RFC 2132, 9.3: the fields `file` and `sname` can hold options.
#[test]
fn options_are_read_in_the_fields_that_have_them() {
    let seconds = |fields: u8, file: &[u8], sname: &[u8]| {
        let mut bytes = answer(2, &[54, 4, 192, 0, 2, 1, 52, 1, fields, 255]);
        bytes[108..108 + file.len()].copy_from_slice(file);
        bytes[44..44 + sname.len()].copy_from_slice(sname);
        ServerMessage::parse(&bytes).map(|answer| (answer.lease_seconds, answer.mask))
    };
    let mask = [1, 4, 255, 255, 255, 0, 255];
    let time = [51, 4, 0, 0, 14, 16, 255];
    let read = Ipv4Addr::new(255, 255, 255, 0);
    assert_eq!(seconds(0, &time, &mask), Ok((None, None)));
    assert_eq!(seconds(1, &time, &mask), Ok((Some(3600), None)));
    assert_eq!(seconds(2, &time, &mask), Ok((None, Some(read))));
    assert_eq!(seconds(3, &time, &mask), Ok((Some(3600), Some(read))));
    // A field that is not overloaded holds a file or server name.
    assert_eq!(seconds(2, b"pxelinux.0", &mask), Ok((None, Some(read))));
    assert!(seconds(1, &[51, 200], &mask).is_err());
}

#[test]
fn what_one_side_says_the_other_reads() {
    let (address, server) = (Ipv4Addr::new(10, 20, 3, 2), Ipv4Addr::new(10, 20, 3, 1));
    let bytes = ClientMessageType::Discover(Some(address)).bytes(0x0102_0304, mac());
    // RFC 2131, figure 1: a request by Ethernet that asks for a broadcast answer.
    assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
    assert_eq!((&bytes[28..34], bytes.len()), (&mac().bytes()[..], 300));
    let asked = ClientRequest {
        kind: RequestType::Discover,
        xid: 0x0102_0304,
        mac: mac(),
        ciaddr: None,
        requested_address: Some(address),
        server: None,
    };
    assert_eq!(ClientRequest::parse(&bytes), Ok(asked.clone()));
    let request =
        ClientRequest::parse(&ClientMessageType::Request { address, server }.bytes(1, mac()))
            .unwrap();
    assert_eq!((request.kind, request.server), (RequestType::Request, Some(server)));
    // RFC 2131, table 5: a renewal names neither server nor requested address, but the current
    // address.
    let renewal = ClientRequest::parse(&ClientMessageType::Renew(address).bytes(1, mac())).unwrap();
    assert_eq!(
        (renewal.ciaddr, renewal.requested_address, renewal.server),
        (Some(address), None, None)
    );

    let domain = "octet.internal".to_owned();
    let reply = ServerReply {
        kind: ReplyType::Offer,
        server,
        address: Some(address),
        lease_seconds: 600,
        renewal_times: Some((60, 90)),
        domain,
        board: Some(3),
    };
    let read = ServerMessage::parse(&reply.bytes(&asked)).unwrap();
    let expected = ServerMessage {
        kind: ReplyType::Offer,
        xid: asked.xid,
        mac: mac(),
        address,
        server: Some(server),
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        router: Some(server),
        lease_seconds: Some(600),
        renewal_times: (Some(60), Some(90)),
        dns_servers: vec![server],
        ntp_servers: vec![server],
        board: Some(3),
    };
    assert_eq!(read, expected);
    let nak = ServerReply { kind: ReplyType::Nak, address: None, ..reply };
    let read = ServerMessage::parse(&nak.bytes(&asked)).unwrap();
    assert_eq!(
        (read.kind, read.address, read.router),
        (ReplyType::Nak, Ipv4Addr::UNSPECIFIED, None)
    );
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = (ServerMessage::parse(&bytes), ClientRequest::parse(&bytes));
        let _ = ServerMessage::parse(&[&answer(2, &[])[..], &bytes].concat());
    }

    #[test]
    fn never_panics_near_the_truth(changes in prop::collection::vec((0usize..268, any::<u8>()), 1..9)) {
        let mut bytes = answer(2, &MORE);
        let mut question = ClientMessageType::Discover(None).bytes(7, mac());
        for (at, value) in changes {
            (bytes[at], question[at]) = (value, value);
        }
        let _ = (ServerMessage::parse(&bytes), ClientRequest::parse(&question));
    }
}

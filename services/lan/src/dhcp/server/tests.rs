use super::*;
use octet_appliance::Mac;

const NOW: Duration = Duration::from_secs(5);

/// The source address of a client without an address.
const NOWHERE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last]).unwrap()
}

fn segment(number: u8, has_board: bool) -> PlannedSegment {
    let of = |host| (Ipv4Addr::new(10, 20, number, host), "fd00::1".parse().unwrap());
    PlannedSegment { number, router: of(1), board: has_board.then(|| of(2)), mac: None }
}

fn question(kind: RequestType, last: u8) -> ClientRequest {
    ClientRequest {
        kind,
        xid: 7,
        mac: mac(last),
        ciaddr: None,
        requested_address: None,
        server: None,
    }
}

#[test]
fn a_port_has_one_address_whoever_asks_and_whatever_for() {
    let segment = segment(3, true);
    let own = Ipv4Addr::new(10, 20, 3, 2);
    let ask = |question: &ClientRequest| {
        answer(question, NOWHERE, &mut AddressSource::Board(&segment), "x", NOW)
    };
    for address in [None, Some(own), Some(Ipv4Addr::new(10, 20, 4, 2))] {
        for last in [1, 9] {
            let asked = ClientRequest {
                requested_address: address,
                ..question(RequestType::Discover, last)
            };
            let (reply, to) = ask(&asked).unwrap();
            assert_eq!(
                (reply.kind, reply.address, reply.board),
                (ReplyType::Offer, Some(own), Some(3))
            );
            assert_eq!((reply.server, to), (segment.router.0, Destination::Broadcast));
        }
    }
    let asked = |address: Ipv4Addr| ClientRequest {
        requested_address: Some(address),
        ..question(RequestType::Request, 1)
    };
    assert_eq!(ask(&asked(own)).unwrap().0.kind, ReplyType::Ack);
    let (reply, to) = ask(&asked(Ipv4Addr::new(10, 20, 4, 2))).unwrap();
    assert_eq!((reply.kind, reply.address, to), (ReplyType::Nak, None, Destination::Broadcast));
    let renewal = ClientRequest { ciaddr: Some(own), ..question(RequestType::Request, 1) };
    assert_eq!(ask(&renewal).unwrap().1, Destination::Unicast(own));
    let of_another = ClientRequest { server: Some(own), ..asked(own) };
    assert_eq!(ask(&of_another), None);
    assert_eq!(ask(&question(RequestType::Request, 1)), None);
    assert_eq!(ask(&question(RequestType::Release, 1)), None);
}

#[test]
fn devices_have_one_each() {
    let (segment, mut pool) = (segment(250, false), Pool::default());
    let mut ask = |question: &ClientRequest| {
        answer(question, NOWHERE, &mut AddressSource::Lan(&segment, &mut pool), "x", NOW)
    };
    let (offer, _) = ask(&question(RequestType::Discover, 1)).unwrap();
    assert_eq!((offer.kind, offer.board), (ReplyType::Offer, None));
    let address = offer.address;
    let request = ClientRequest { requested_address: address, ..question(RequestType::Request, 1) };
    assert_eq!(ask(&request).unwrap().0.kind, ReplyType::Ack);
    // Other addresses are refused: another one of the network, one of another network, and the
    // router's.
    let router = Some(segment.router.0);
    for address in [address, Some(Ipv4Addr::new(10, 20, 3, 7)), router] {
        let request =
            ClientRequest { requested_address: address, ..question(RequestType::Request, 2) };
        assert_eq!(ask(&request).unwrap().0.kind, ReplyType::Nak, "{address:?}");
        let discover =
            ClientRequest { requested_address: address, ..question(RequestType::Discover, 2) };
        assert_ne!(ask(&discover).unwrap().0.address, address);
    }
    let informed = ClientRequest { ciaddr: address, ..question(RequestType::Inform, 1) };
    assert_eq!(ask(&informed).unwrap().0.address, None);
    let request = ClientRequest { requested_address: address, ..question(RequestType::Request, 2) };
    // The device has been offered another address since.
    assert_eq!(ask(&request).unwrap().0.kind, ReplyType::Nak);
}

#[test]
fn an_address_is_given_back_from_it_and_declined_by_whose_it_is() {
    let (segment, mut pool) = (segment(250, false), Pool::default());
    let of = |number, host| Ipv4Addr::new(10, 20, number, host);
    let address = of(250, 77);
    let send = |pool: &mut Pool, from, question: &ClientRequest| {
        assert!(
            answer(question, from, &mut AddressSource::Lan(&segment, pool), "x", NOW).is_none()
        );
        (pool.all(NOW).count(), pool.declined(NOW).count())
    };
    assert!(pool.lease(mac(1), 77, 60, NOW));
    let release = |last, has| ClientRequest { ciaddr: has, ..question(RequestType::Release, last) };
    for (from, question) in [
        (NOWHERE, release(1, Some(address))),
        (of(250, 78), release(1, Some(address))),
        (of(250, 78), release(1, Some(of(250, 78)))),
        (address, release(1, None)),
        (address, release(2, Some(address))),
        (of(3, 77), release(1, Some(of(3, 77)))),
    ] {
        assert_eq!(send(&mut pool, from, &question), (1, 0), "{from}: {question:?}");
    }
    assert_eq!(send(&mut pool, address, &release(1, Some(address))), (0, 0));

    assert!(pool.lease(mac(1), 77, 60, NOW));
    let decline = |last, address| ClientRequest {
        requested_address: address,
        ..question(RequestType::Decline, last)
    };
    for question in [decline(1, None), decline(2, Some(address)), decline(1, Some(of(3, 77)))] {
        assert_eq!(send(&mut pool, NOWHERE, &question), (1, 0), "{question:?}");
    }
    assert_eq!(send(&mut pool, NOWHERE, &decline(1, Some(address))), (0, 1));
}

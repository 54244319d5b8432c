use super::*;
use proptest::prelude::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

fn mac() -> Mac {
    Mac::new([0x52, 0x54, 0, 1, 2, 3]).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn answer(kind: ReplyType, xid: u32) -> ServerMessage {
    ServerMessage {
        kind,
        xid,
        mac: mac(),
        address: ADDRESS,
        server: Some(SERVER),
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        router: Some(SERVER),
        lease_seconds: Some(3600),
        renewal_times: (None, None),
        dns_servers: vec![],
        ntp_servers: vec![],
        board: None,
    }
}

/// A client with a new lease.
fn bound() -> DhcpClient {
    let mut client = DhcpClient::new(mac(), None, seconds(0));
    assert_eq!(
        client.tick(seconds(0), 7).send,
        Some((ClientMessageType::Discover(None).bytes(7, mac()), Destination::Broadcast))
    );
    let request = ClientMessageType::Request { address: ADDRESS, server: SERVER }.bytes(7, mac());
    let outcome = client.receive(seconds(1), answer(ReplyType::Offer, 7));
    assert_eq!(outcome.send, Some((request, Destination::Broadcast)));
    let outcome = client.receive(seconds(2), answer(ReplyType::Ack, 7));
    let Some(LeaseState::Bound(lease)) = outcome.lease_change else { panic!("{outcome:?}") };
    // Lease times count from the time of the request (RFC 2131, 4.4.1).
    assert_eq!(
        (lease.ip(), lease.expires, lease.gateway),
        (ADDRESS, Some(seconds(3601)), Some(SERVER))
    );
    assert!(outcome.log.unwrap().contains("192.0.2.50/24"));
    client
}

#[test]
fn gets_and_renews_an_address() {
    let mut client = bound();
    assert_eq!((client.due(), client.state()), (Some(seconds(1801)), "bound"));
    assert_eq!(client.tick(seconds(1800), 8), ClientOutput::default());
    assert_eq!(
        client.tick(seconds(1801), 8).send,
        Some((ClientMessageType::Renew(ADDRESS).bytes(8, mac()), Destination::Unicast(SERVER)))
    );
    let outcome = client.receive(seconds(1802), answer(ReplyType::Ack, 8));
    let Some(LeaseState::Bound(lease)) = outcome.lease_change else { panic!("{outcome:?}") };
    assert_eq!((lease.expires, outcome.log), (Some(seconds(1801 + 3600)), None));
}

#[test]
fn an_address_that_nobody_renews_is_given_up_in_time() {
    let mut client = bound();
    let mut asked = vec![];
    let end = loop {
        let now = client.due().unwrap();
        let outcome = client.tick(now, 9);
        asked.extend(outcome.send.map(|(_, to)| (now.as_secs(), to)));
        if let Some(leased) = outcome.lease_change {
            assert_eq!(leased, LeaseState::Unbound);
            break now;
        }
    };
    assert_eq!((end, client.lease()), (seconds(3601), None));
    // After seven eighths of the lease time the client rebinds by broadcast (RFC 2131, 4.4.5).
    let [one, all] = [Destination::Unicast(SERVER), Destination::Broadcast];
    let times = [(1801, one), (2476, one), (2813, one), (2982, one), (3066, one), (3126, one)];
    let late = [(3151, all), (3376, all), (3488, all), (3548, all), (3601, all)];
    assert_eq!(asked, [&times[..], &late[..]].concat());
    // The discover requests the previous address.
    let next = client.due().unwrap();
    assert_eq!(
        client.tick(next, 9).send,
        Some((ClientMessageType::Discover(Some(ADDRESS)).bytes(9, mac()), Destination::Broadcast))
    );
}

/// The server's T1 and T2 apply if they are valid.
#[test]
fn a_server_says_when_it_is_asked_anew() {
    let times = |renew: u32, rebind: u32| {
        let said = ServerMessage {
            renewal_times: (Some(renew), Some(rebind)),
            ..answer(ReplyType::Ack, 7)
        };
        let lease =
            Lease::new(&ServerMessage { lease_seconds: Some(800), ..said }, seconds(1000)).unwrap();
        (lease.renew_at.unwrap().as_secs(), lease.rebind_at.unwrap().as_secs())
    };
    assert_eq!(times(60, 90), (1060, 1090));
    for (renew, rebind) in [(0, 0), (29, 30), (u32::MAX, u32::MAX), (800, 800)] {
        assert_eq!(times(renew, rebind), (1400, 1700), "{renew} {rebind}");
    }
    assert_eq!(times(90, 90), (1090, 1090));
    assert_eq!(times(30, 799), (1030, 1799));

    let mut client = bound();
    client.tick(seconds(1801), 8);
    let ten = ServerMessage {
        lease_seconds: Some(600),
        renewal_times: (Some(60), Some(90)),
        ..answer(ReplyType::Ack, 8)
    };
    client.receive(seconds(1802), ten);
    let mut asked = vec![];
    while client.lease().is_some() {
        let now = client.due().unwrap();
        let sent = client.tick(now, 9).send;
        asked.extend(sent.map(|(_, to)| (now.as_secs() - 1801, to)));
    }
    let [one, all] = [Destination::Unicast(SERVER), Destination::Broadcast];
    let times = [(60, one), (90, all), (345, all), (472, all), (536, all), (596, all), (600, all)];
    assert_eq!(asked, times);
}

/// An address is used exactly for its lease time, however short that is.
#[test]
fn a_short_time_is_as_short_as_it_is() {
    let lease = |seconds| {
        let said = ServerMessage { lease_seconds: Some(seconds), ..answer(ReplyType::Ack, 7) };
        Lease::new(&said, Duration::ZERO)
    };
    for (time, renew, rebind) in [(30, 15_000, 26_250), (40, 20_000, 35_000), (59, 29_500, 51_625)]
    {
        let lease = lease(time).unwrap();
        assert_eq!(lease.expires, Some(seconds(time.into())));
        // T1 is half and T2 seven eighths of the lease time (RFC 2131, 4.4.5).
        assert_eq!(lease.renew_at, Some(Duration::from_millis(renew)), "{time}");
        assert_eq!(lease.rebind_at, Some(Duration::from_millis(rebind)), "{time}");
    }
    for too_short in [0, 1, 29] {
        assert!(lease(too_short).is_err(), "{too_short}");
    }

    let mut client = bound();
    client.tick(seconds(1801), 8);
    client.receive(
        seconds(1802),
        ServerMessage { lease_seconds: Some(40), ..answer(ReplyType::Ack, 8) },
    );
    let mut asked = vec![];
    while client.lease().is_some() {
        let now = client.due().unwrap();
        let sent = client.tick(now, 9).send;
        asked.extend(sent.map(|(_, to)| (now.as_secs() - 1801, to)));
    }
    // The last message is the discover of a client without an address.
    let [one, all] = [Destination::Unicast(SERVER), Destination::Broadcast];
    assert_eq!(asked, [(20, one), (35, all), (40, all)]);
}

#[test]
fn asks_more_and_more_seldom_but_never_stops() {
    let mut client = DhcpClient::new(mac(), None, seconds(0));
    let (mut times, mut said) = (vec![], 0);
    for _ in 0..9 {
        let now = client.due().unwrap();
        let outcome = client.tick(now, 1);
        // An address that an earlier netd has configured stays until its lease ends (RFC 2131,
        // 3.2).
        assert!(outcome.send.is_some() && outcome.lease_change.is_none());
        said += usize::from(outcome.log.is_some());
        times.push(now.as_secs());
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 75, 135, 195, 255]);
    assert_eq!(said, 1);
}

#[test]
fn what_is_not_for_it_is_passed_over() {
    let strange: [fn(&mut ServerMessage); 3] = [
        |answer| answer.xid = 8,
        |answer| answer.mac = Mac::new([8, 9, 9, 9, 9, 8]).unwrap(),
        |answer| answer.kind = ReplyType::Ack,
    ];
    for change in strange {
        let mut client = DhcpClient::new(mac(), None, seconds(0));
        client.tick(seconds(0), 7);
        let mut other = answer(ReplyType::Offer, 7);
        change(&mut other);
        assert_eq!(client.receive(seconds(1), other), ClientOutput::default());
        assert!(client.receive(seconds(1), answer(ReplyType::Offer, 7)).send.is_some());
        let of_another = ServerMessage { server: Some(ADDRESS), ..answer(ReplyType::Nak, 7) };
        assert_eq!(client.receive(seconds(1), of_another), ClientOutput::default());
        assert!(client.receive(seconds(1), answer(ReplyType::Ack, 7)).lease_change.is_some());
    }
}

#[test]
fn offers_that_make_no_sense_are_not_taken() {
    let wrong: [fn(&mut ServerMessage); 7] = [
        |answer| answer.mask = None,
        |answer| answer.mask = Some(Ipv4Addr::new(255, 0, 255, 0)),
        |answer| answer.server = None,
        |answer| answer.lease_seconds = None,
        |answer| answer.lease_seconds = Some(29),
        |answer| answer.address = Ipv4Addr::new(224, 0, 0, 1),
        |answer| answer.address = Ipv4Addr::new(192, 0, 2, 255),
    ];
    for change in wrong {
        let mut client = DhcpClient::new(mac(), None, seconds(0));
        client.tick(seconds(0), 7);
        let mut offer = answer(ReplyType::Offer, 7);
        change(&mut offer);
        let outcome = client.receive(seconds(1), offer);
        assert!(outcome.send.is_none() && outcome.log.is_some(), "{outcome:?}");
    }
    let far =
        ServerMessage { router: Some(Ipv4Addr::new(198, 51, 100, 1)), ..answer(ReplyType::Ack, 7) };
    assert_eq!(Lease::new(&far, seconds(0)).unwrap().gateway, None);
}

#[test]
fn a_refusal_takes_the_address_away() {
    let mut client = bound();
    client.tick(seconds(1801), 8);
    let outcome = client.receive(seconds(1802), answer(ReplyType::Nak, 8));
    assert_eq!((outcome.lease_change, client.state()), (Some(LeaseState::Unbound), "asking"));
    assert_eq!(
        client.tick(seconds(1803), 9).send,
        Some((ClientMessageType::Discover(None).bytes(9, mac()), Destination::Broadcast))
    );
}

#[test]
fn a_link_that_is_back_is_asked_at_once() {
    let mut client = bound();
    client.link_up(seconds(10));
    assert_eq!(
        client.tick(seconds(10), 8).send,
        Some((ClientMessageType::Renew(ADDRESS).bytes(8, mac()), Destination::Unicast(SERVER)))
    );
    assert_eq!(client.lease().map(Lease::ip), Some(ADDRESS));
}

#[test]
fn a_link_that_is_gone_takes_the_address_with_it() {
    let mut client = bound();
    let outcome = client.link_down(seconds(10));
    assert_eq!((outcome.lease_change, client.lease()), (Some(LeaseState::Unbound), None));
    let asked = client.tick(seconds(11), 8).send;
    assert_eq!(
        asked,
        Some((ClientMessageType::Discover(Some(ADDRESS)).bytes(8, mac()), Destination::Broadcast))
    );
    assert_eq!(client.link_down(seconds(12)), ClientOutput::default());
}

proptest! {
    /// Whatever servers send and whenever: an address is never used beyond its lease time, and the
    /// client always has a next due time.
    #[test]
    fn never_beyond_its_time(
        steps in prop::collection::vec((0u64..2000, 0u32..4, 0u8..6, 1u32..9000), 1..60),
    ) {
        let mut client = DhcpClient::new(mac(), None, seconds(0));
        let mut now = seconds(0);
        for (pause, xid, kind, time) in steps {
            now += seconds(pause);
            // The caller's loop does the same: it calls `tick` at each due time up to now.
            while let Some(due) = client.due().filter(|due| *due <= now) {
                client.tick(due, xid);
            }
            if let Some(until) = client.lease().and_then(|lease| lease.expires) {
                prop_assert!(now < until, "{now:?} {until:?}");
            }
            let kind = [ReplyType::Offer, ReplyType::Ack, ReplyType::Nak][usize::from(kind % 3)];
            let said = ServerMessage { lease_seconds: Some(time), ..answer(kind, xid) };
            client.receive(now, said);
            prop_assert!(client.due().is_some());
        }
    }
}

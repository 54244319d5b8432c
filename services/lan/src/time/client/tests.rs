use super::super::server::{answer, encode};
use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const SHOWN: Duration = Duration::from_secs(1_800_000_000);

fn server(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a round: for each server, how far its clock is ahead, and how long its answers take (both
/// in milliseconds).
fn round(
    client: &mut NtpClient,
    mut now: Duration,
    servers: &[(u8, i64, u64)],
) -> (NtpAction, Duration) {
    let began = now;
    loop {
        now = client.due().unwrap();
        let shown = SHOWN + (now - began);
        match client.tick(now).unwrap() {
            NtpAction::Ask(asked) => {
                for (number, ahead, way) in servers {
                    let address = server(*number);
                    assert!(asked.contains(&address));
                    let question = client.ask(address, u64::from(*number) + 7, now, shown).unwrap();
                    let there = SHOWN.as_millis() as i64 + (now - began).as_millis() as i64 + ahead;
                    let there = millis(there as u64) + millis(way / 2);
                    let told = answer(&question.bytes(), None, there).unwrap();
                    client.receive(address, &encode(told, there), now + millis(*way));
                }
            }
            done => return (done, now),
        }
    }
}

fn off(todo: &NtpAction) -> i64 {
    match todo {
        NtpAction::Offset(sample) => (sample.offset + 500_000).div_euclid(1_000_000),
        other => panic!("{other:?}"),
    }
}

#[test]
fn how_far_the_clock_is_off() {
    for ahead in [0, 5, 70_000, -3_000] {
        let mut client = NtpClient::default();
        client.set_servers(&[server(1)], millis(5));
        let (todo, now) = round(&mut client, millis(5), &[(1, ahead, 40)]);
        assert_eq!(off(&todo), ahead);
        // The interval grows while the clock is right.
        let next = client.due().unwrap() - now;
        assert_eq!(next, if ahead.abs() < 10 { 2 * RETRY_DELAY } else { RETRY_DELAY });
    }
}

#[test]
fn most_have_to_agree() {
    let mut client = NtpClient::default();
    client.set_servers(&[1, 2, 3].map(server), millis(0));
    let (todo, now) = round(&mut client, millis(0), &[(1, 20, 8), (2, 3_600_000, 8), (3, 30, 8)]);
    assert_eq!(off(&todo), 30);
    let (todo, now) = round(&mut client, now, &[(1, 20, 8), (2, 60_000, 8), (3, -60_000, 8)]);
    assert!(matches!(todo, NtpAction::Failed(_)));
    let (todo, now) = round(&mut client, now, &[(1, 20, 8), (2, 60_000, 8)]);
    assert!(matches!(todo, NtpAction::Failed(_)));
    let (todo, _) = round(&mut client, now, &[]);
    assert!(matches!(todo, NtpAction::Failed(_)));
}

#[test]
fn what_is_no_answer_is_passed_over() {
    let wrong: [fn(&mut NtpPacket); 7] = [
        |packet| packet.origin = Stamp(8),
        |packet| packet.mode = 5,
        |packet| packet.leap = 3,
        |packet| packet.stratum = 0,
        |packet| packet.stratum = 16,
        |packet| packet.transmit = Stamp(0),
        |packet| packet.receive = Stamp(0),
    ];
    let here = millis(9);
    let tries = |change: fn(&mut NtpPacket), from, at| {
        let mut client = NtpClient::default();
        client.set_servers(&[server(1)], here);
        client.tick(here);
        let question = client.ask(server(1), 7, here, SHOWN).unwrap();
        let mut told = answer(&question.bytes(), None, SHOWN).unwrap();
        told.transmit = Stamp::of(SHOWN);
        change(&mut told);
        client.receive(from, &told.bytes(), at);
        client.servers[0].best.is_some()
    };
    assert!(tries(|_| {}, server(1), here));
    assert!(!tries(|_| {}, server(2), here));
    assert!(!tries(|_| {}, server(1), here + 2 * LONGEST_WAY));
    for change in wrong {
        assert!(!tries(change, server(1), here));
    }
}

proptest! {
    /// With arbitrary packets, samples stay near the packet's timestamps, and nothing panics.
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 48..60), right in any::<bool>(), at in 0u64..3000) {
        let mut client = NtpClient::default();
        client.set_servers(&[server(1)], millis(0));
        client.ask(server(1), 7, millis(0), SHOWN);
        let mut bytes = bytes;
        if right {
            bytes[24..32].copy_from_slice(&7u64.to_be_bytes());
            bytes[0] = 0x24;
            bytes[1] = 2;
        }
        client.receive(server(1), &bytes, millis(at));
        client.tick(millis(at));
    }
}

/// RFC 5905, 7.4: the client stops asking a server that sends a kiss-o'-death.
#[test]
fn a_server_that_wants_not_to_be_asked_is_not() {
    let mut client = NtpClient::default();
    client.set_servers(&[server(1), server(2), server(3)], millis(5));
    let asked = |client: &mut NtpClient| {
        let now = client.due().unwrap();
        match client.tick(now).unwrap() {
            NtpAction::Ask(asked) => (asked, now),
            other => panic!("{other:?}"),
        }
    };
    let (all, now) = asked(&mut client);
    assert_eq!(all, [server(1), server(2), server(3)]);
    let kiss = |client: &mut NtpClient, number: u8, code: &[u8; 4], is_known: bool| {
        let question = client.ask(server(number), 7, now, SHOWN).unwrap();
        let mut answer = NtpPacket { mode: 4, reference: *code, ..question };
        answer.origin = if is_known { question.transmit } else { Stamp(8) };
        client.receive(server(number), &answer.bytes(), now);
    };
    kiss(&mut client, 1, b"DENY", true);
    kiss(&mut client, 2, b"RATE", true);
    // A packet of a sender that has not seen the request.
    kiss(&mut client, 3, b"DENY", false);
    let (all, now) = asked(&mut client);
    assert_eq!(all, [server(3)]);
    let until = now + MAX_DELAY;
    let later = loop {
        let due = client.due().unwrap();
        match client.tick(due) {
            Some(NtpAction::Ask(asked)) if due > until => break asked,
            _ => {}
        }
    };
    assert_eq!(later, [server(2), server(3)]);
}

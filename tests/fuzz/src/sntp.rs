//! NTP packets: answers of servers, and requests of clients.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use octet_lan::time::client::{NtpAction, NtpClient};
use octet_lan::time::server::{answer, encode};
use octet_lan::time::{NtpPacket, Stamp};

/// The time of the wall clock, and of the monotonic clock.
const SHOWN: Duration = Duration::from_secs(1_800_000_000);
const NOW: Duration = Duration::from_secs(9);

/// The server, and the random number of the request.
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const RANDOM: u64 = 7;

/// The result of an answer is within the bounds that its timestamps allow. A client gets an answer
/// to its request, and only to its own.
pub fn sntp(bytes: &[u8]) {
    let read = NtpPacket::parse(bytes);
    if let Some(told) = answer(bytes, None, SHOWN) {
        let question = read.expect("who is answered has asked");
        assert_eq!((question.mode, told.mode, told.origin), (3, 4, question.transmit));
        assert_eq!(
            NtpPacket::parse(&encode(told, SHOWN)).map(|it| it.transmit),
            Some(Stamp::of(SHOWN))
        );
        assert_eq!(answer(&encode(told, SHOWN), None, SHOWN), None, "an answer is answered");
    }
    let mut client = NtpClient::default();
    client.set_servers(&[SERVER], NOW);
    client.tick(NOW);
    client.ask(SERVER, RANDOM, NOW, SHOWN);
    // The input as it is, and changed as an attacker could who has seen the request.
    client.receive(SERVER, bytes, NOW);
    let mut to_it = bytes.to_vec();
    if let Some(origin) = to_it.get_mut(24..32) {
        origin.copy_from_slice(&RANDOM.to_be_bytes());
    }
    client.receive(SERVER, &to_it, NOW);
    loop {
        let now = client.due().expect("there is a server");
        match client.tick(now) {
            Some(NtpAction::Offset(sample)) => {
                let said = read.expect("it was an answer").receive.near(SHOWN);
                let off = said.as_nanos().abs_diff(SHOWN.as_nanos());
                assert!(u128::from(sample.offset.unsigned_abs()).abs_diff(off) < 2);
                assert!((1..=15).contains(&sample.stratum));
                return;
            }
            Some(NtpAction::Failed(_)) => return,
            Some(NtpAction::Ask(_)) | None => {}
        }
    }
}

//! A board that asks for its address (DHCP, RFC 2131), frame by frame.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_machine::{Mac, Port};

use crate::frame::{FlowEnd, datagram};

/// Whom everybody is reached by.
const EVERYBODY: Mac = Mac([0xff; 6]);

/// The ports of a client and a server.
const CLIENT: u16 = 68;
const SERVER: u16 = 67;

/// Where UDP's payload begins in a frame, and in that the options of DHCP.
const PAYLOAD: usize = 14 + 20 + 8;
const OPTIONS: usize = 240;

/// What stands before them (RFC 2131, 3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Options (RFC 2132).
const WANTED: u8 = 50;
const KIND: u8 = 53;
const OF: u8 = 54;
const END: u8 = 255;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// How long an answer may take before the question is put again: it gets lost while a port comes up.
const AGAIN: Duration = Duration::from_secs(3);

/// No answer takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    kind: u8,
    gives: Ipv4Addr,
    server: Ipv4Addr,
}

/// Has `mac` at `port` take an address, and returns it.
pub fn take(port: &Port, mac: Mac) -> io::Result<Ipv4Addr> {
    let offered = ask(port, mac, DISCOVER, None, OFFER)?;
    let given = ask(port, mac, REQUEST, Some(offered), ACK)?;
    Ok(given.gives)
}

/// Puts a question until it is answered as `wanted`.
fn ask(port: &Port, mac: Mac, kind: u8, of: Option<Said>, wanted: u8) -> io::Result<Said> {
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        port.send(&question(mac, kind, of))?;
        let again = Instant::now() + AGAIN;
        // What else the router says there does not matter.
        while let Some(frame) = port.receive(again) {
            if let Some(said) = answer(&frame, mac).filter(|said| said.kind == wanted) {
                return Ok(said);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers"))
}

/// The frame of a question; one about an offer says which.
fn question(mac: Mac, kind: u8, of: Option<Said>) -> Vec<u8> {
    let mut payload = vec![0; OPTIONS];
    // A question by Ethernet, with its number; the answer is for everybody to hear.
    payload[..4].copy_from_slice(&[1, 1, 6, 0]);
    payload[4..8].copy_from_slice(&[0, 0, 0, mac.0[5]]);
    payload[10] = 0x80;
    payload[28..34].copy_from_slice(&mac.0);
    payload[OPTIONS - MAGIC.len()..].copy_from_slice(&MAGIC);
    payload.extend([KIND, 1, kind]);
    if let Some(Said { gives, server, .. }) = of {
        for (option, address) in [(WANTED, gives), (OF, server)] {
            payload.extend([option, 4]);
            payload.extend(address.octets());
        }
    }
    payload.push(END);
    let from = FlowEnd { address: Ipv4Addr::UNSPECIFIED, port: CLIENT };
    let to = FlowEnd { address: Ipv4Addr::BROADCAST, port: SERVER };
    datagram((mac, EVERYBODY), (from, to), 64, &payload)
}

/// What a server says to `mac` in `frame`, if it does.
fn answer(frame: &[u8], mac: Mac) -> Option<Said> {
    let is_udp =
        frame.get(12..14)? == [0x08, 0x00] && *frame.get(14)? == 0x45 && *frame.get(23)? == 17;
    let to = u16::from_be_bytes(frame.get(36..38)?.try_into().ok()?);
    let payload = frame.get(PAYLOAD..)?;
    let is_answer = *payload.first()? == 2 && payload.get(28..34)? == mac.0;
    if !is_udp || to != CLIENT || !is_answer || payload.get(OPTIONS - 4..OPTIONS)? != MAGIC {
        return None;
    }
    let options = &payload[OPTIONS..];
    let kind = *option(options, KIND)?.first()?;
    let server = address(option(options, OF)?)?;
    Some(Said { kind, gives: address(&payload[16..20])?, server })
}

/// The value of an option; none are padded here.
fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        let [option, length, ..] = *rest else { return None };
        let value = rest.get(2..2 + usize::from(length))?;
        if option == wanted {
            return Some(value);
        }
        rest = &rest[2 + value.len()..];
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const GIVES: Ipv4Addr = Ipv4Addr::new(10, 20, 3, 2);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 3, 1);

    fn server(kind: u8) -> Said {
        Said { kind, gives: GIVES, server: ROUTER }
    }

    /// What a server says, made of a question about the same.
    fn said(mac: Mac, kind: u8) -> Vec<u8> {
        let mut payload = question(mac, kind, Some(server(kind)))[PAYLOAD..].to_vec();
        payload[0] = 2;
        payload[16..20].copy_from_slice(&GIVES.octets());
        let from = FlowEnd { address: ROUTER, port: SERVER };
        let to = FlowEnd { address: Ipv4Addr::BROADCAST, port: CLIENT };
        datagram((Mac::number(100), EVERYBODY), (from, to), 64, &payload)
    }

    #[test]
    fn what_is_for_oneself_is_heard() {
        let frame = said(Mac::number(3), OFFER);
        assert_eq!(answer(&frame, Mac::number(3)), Some(server(OFFER)));
        assert_eq!(answer(&frame, Mac::number(4)), None);
        assert_eq!(answer(&question(Mac::number(3), DISCOVER, None), Mac::number(3)), None);
    }

    #[test]
    fn an_address_is_taken_of_a_server() {
        let (here, there) = Port::pair().unwrap();
        let serving = std::thread::spawn(move || {
            let soon = Instant::now() + LONGEST;
            // The first question gets lost.
            there.receive(soon).unwrap();
            for kind in [OFFER, ACK] {
                let asked = there.receive(soon).unwrap();
                let asked = option(&asked[PAYLOAD + OPTIONS..], KIND).unwrap()[0];
                assert_eq!(asked, if kind == OFFER { DISCOVER } else { REQUEST });
                there.send(&[0; 60]).unwrap();
                there.send(&said(Mac::number(3), kind)).unwrap();
            }
        });
        assert_eq!(take(&here, Mac::number(3)).unwrap(), GIVES);
        serving.join().unwrap();
    }

    proptest! {
        #[test]
        fn never_panics(
            noise in vec(any::<u8>(), 0..400),
            cut in 0..300_usize,
            at in PAYLOAD..330_usize,
            byte: u8,
        ) {
            let _ = answer(&noise, Mac::number(3));
            let mut frame = said(Mac::number(3), ACK);
            if let Some(there) = frame.get_mut(at) {
                *there = byte;
            }
            frame.truncate(frame.len().saturating_sub(cut));
            let _ = answer(&frame, Mac::number(3));
        }
    }
}

//! DHCP messages: what a client sends, and what it reads of a server's answer (RFC 2131, 2; options
//! RFC 2132).

use std::net::Ipv4Addr;

/// Bytes before the options.
const HEAD: usize = 240;

/// What the options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The shortest message that every relay hands on (RFC 1542, 2.1), in bytes.
const SHORTEST: usize = 300;

/// Answers are to be broadcast: there is no address yet that they could be sent to.
const BROADCAST: u16 = 0x8000;

/// Numbers of options.
mod option {
    pub const PAD: u8 = 0;
    pub const MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const WISH: u8 = 50;
    pub const SECONDS: u8 = 51;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const WANTED: u8 = 55;
    pub const LARGEST: u8 = 57;
    pub const CLIENT: u8 = 61;
    pub const END: u8 = 255;
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Whether anybody has an address, best this one.
    Discover(Option<Ipv4Addr>),
    /// For the address that a server has offered.
    Request {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// To go on with the address that it has.
    Renew(Ipv4Addr),
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has an address.
    Offer,
    /// The address is the client's.
    Ack,
    /// It is not.
    Nak,
}

/// A server's answer, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub kind: Kind,
    /// To which question.
    pub xid: u32,
    /// To whom.
    pub mac: [u8; 6],
    /// The address.
    pub address: Ipv4Addr,
    /// Who says so.
    pub server: Option<Ipv4Addr>,
    /// Which bits of the address are those of its network.
    pub mask: Option<Ipv4Addr>,
    /// Where packets to other networks go.
    pub router: Option<Ipv4Addr>,
    /// For how many seconds.
    pub seconds: Option<u32>,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

impl Ask {
    /// The message, as question `xid` of the client `mac`.
    pub fn bytes(self, xid: u32, mac: [u8; 6]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        // A request, by Ethernet, whose addresses have six bytes.
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        if let Self::Renew(address) = self {
            bytes[12..16].copy_from_slice(&address.octets());
        } else {
            bytes[10..12].copy_from_slice(&BROADCAST.to_be_bytes());
        }
        bytes[28..34].copy_from_slice(&mac);
        bytes[236..].copy_from_slice(&COOKIE);
        let mut put = |number: u8, value: &[u8]| {
            bytes.extend([number, value.len() as u8]);
            bytes.extend(value);
        };
        put(option::KIND, &[if matches!(self, Self::Discover(_)) { 1 } else { 3 }]);
        put(option::CLIENT, &[&[1], &mac[..]].concat());
        put(option::LARGEST, &1472u16.to_be_bytes());
        put(option::WANTED, &[option::MASK, option::ROUTER, option::SECONDS]);
        match self {
            Self::Discover(None) | Self::Renew(_) => {}
            Self::Discover(Some(wish)) => put(option::WISH, &wish.octets()),
            Self::Request { address, server } => {
                put(option::WISH, &address.octets());
                put(option::SERVER, &server.octets());
            }
        }
        bytes.push(option::END);
        bytes.resize(bytes.len().max(SHORTEST), option::PAD);
        bytes
    }
}

impl Answer {
    /// Reads what came to the client's port. Of an option that is there twice the first counts.
    ///
    /// # Errors
    /// It is no server's answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let Some((head, options)) = bytes.split_at_checked(HEAD) else {
            return Err(Refused("it is too short"));
        };
        if head[..3] != [2, 1, 6] {
            return Err(Refused("it is no answer by Ethernet"));
        }
        if head[236..] != COOKIE {
            return Err(Refused("it has no options"));
        }
        let mut mac = [0; 6];
        mac.copy_from_slice(&head[28..34]);
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let option = |number| find(options, number);
        let number = |number| match option(number)? {
            Some([a, b, c, d, ..]) => Ok(Some(u32::from_be_bytes([*a, *b, *c, *d]))),
            Some(_) => Err(Refused("an option is too short")),
            None => Ok(None),
        };
        let address = |at| Ok(number(at)?.map(Ipv4Addr::from_bits));
        let kind = match option(option::KIND)? {
            Some([2]) => Kind::Offer,
            Some([5]) => Kind::Ack,
            Some([6]) => Kind::Nak,
            _ => return Err(Refused("it is no server's answer")),
        };
        Ok(Self {
            kind,
            xid: word(4),
            mac,
            address: Ipv4Addr::from_bits(word(16)),
            server: address(option::SERVER)?,
            mask: address(option::MASK)?,
            router: address(option::ROUTER)?,
            seconds: number(option::SECONDS)?,
        })
    }
}

/// The value of the option `wanted`.
fn find(mut options: &[u8], wanted: u8) -> Result<Option<&[u8]>, Refused> {
    loop {
        match options {
            // Without an end there is at least nothing more.
            [] | [option::END, ..] => return Ok(None),
            [option::PAD, rest @ ..] => options = rest,
            [number, length, rest @ ..] => {
                let Some((value, rest)) = rest.split_at_checked((*length).into()) else {
                    return Err(Refused("an option is cut off"));
                };
                if *number == wanted {
                    return Ok(Some(value));
                }
                options = rest;
            }
            [_] => return Err(Refused("an option is cut off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    /// An answer written by hand, after the figure in RFC 2131.
    fn answer(kind: u8, more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([192, 0, 2, 50, 192, 0, 2, 1, 0, 0, 0, 0]);
        bytes.extend(MAC);
        bytes.extend([0; 10 + 64 + 128]);
        bytes.extend([99, 130, 83, 99, 53, 1, kind]);
        bytes.extend(more);
        bytes
    }

    const MORE: [u8; 25] =
        [54, 4, 192, 0, 2, 1, 0, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16];

    #[test]
    fn reads_an_offer() {
        let offer = Answer::parse(&answer(2, &MORE)).unwrap();
        let expected = Answer {
            kind: Kind::Offer,
            xid: 0xdead_beef,
            mac: MAC,
            address: Ipv4Addr::new(192, 0, 2, 50),
            server: Some(Ipv4Addr::new(192, 0, 2, 1)),
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            router: Some(Ipv4Addr::new(192, 0, 2, 1)),
            seconds: Some(3600),
        };
        assert_eq!(offer, expected);
        assert_eq!(Answer::parse(&answer(6, &[255])).unwrap().kind, Kind::Nak);
    }

    #[test]
    fn says_what_is_wrong() {
        let good = answer(5, &MORE);
        assert_eq!(Answer::parse(&good).unwrap().kind, Kind::Ack);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for (bytes, words) in [
            (good[..239].to_vec(), "too short"),
            (with(0, 1), "no answer"),
            (with(236, 0), "no options"),
            (with(242, 1), "no server's"),
            (with(244, 200), "cut off"),
            (good[..HEAD].to_vec(), "no server's"),
            (answer(5, &[54, 3, 1, 2, 3]), "too short"),
            (answer(5, &[54]), "cut off"),
        ] {
            assert!(Answer::parse(&bytes).unwrap_err().0.contains(words), "{words}");
        }
    }

    #[test]
    fn asks_as_the_rfc_says() {
        let bytes = Ask::Discover(Some(Ipv4Addr::new(192, 0, 2, 50))).bytes(0x0102_0304, MAC);
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
        assert_eq!((&bytes[28..34], bytes.len()), (&MAC[..], 300));
        let options = &bytes[HEAD..];
        assert_eq!(find(options, 53).unwrap(), Some(&[1][..]));
        assert_eq!(find(options, 50).unwrap(), Some(&[192, 0, 2, 50][..]));
        let (address, server) = (Ipv4Addr::new(192, 0, 2, 50), Ipv4Addr::new(192, 0, 2, 1));
        let request = Ask::Request { address, server }.bytes(1, MAC);
        assert_eq!(find(&request[HEAD..], 54).unwrap(), Some(&[192, 0, 2, 1][..]));
        assert_eq!(find(&request[HEAD..], 53).unwrap(), Some(&[3][..]));
        // RFC 2131, table 5: neither server nor wish, but the address that it has.
        let renewal = Ask::Renew(address).bytes(1, MAC);
        assert_eq!(
            (&renewal[10..16], find(&renewal[HEAD..], 54)),
            (&[0, 0, 192, 0, 2, 50][..], Ok(None))
        );
        assert_eq!(find(&renewal[HEAD..], 50), Ok(None));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Answer::parse(&bytes);
            let _ = Answer::parse(&[&answer(2, &[])[..], &bytes].concat());
        }

        #[test]
        fn never_panics_near_the_truth(changes in prop::collection::vec((0usize..268, any::<u8>()), 1..9)) {
            let mut bytes = answer(2, &MORE);
            for (at, value) in changes {
                bytes[at] = value;
            }
            let _ = Answer::parse(&bytes);
        }
    }
}

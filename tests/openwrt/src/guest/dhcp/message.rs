//! A DHCP message (RFC 2131, 2): a header of fixed length, and options (RFC 2132). It is
//! implemented here, because crates for it take longer to compile than the rest of the double.

use std::net::Ipv4Addr;

/// The length of the header; the options follow.
const HEADER: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The operations of a client and of a server, and the hardware type of Ethernet, with addresses of
/// six bytes.
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6];

/// The options without content: padding, and the end.
const PAD: u8 = 0;
const END: u8 = 255;

/// The minimum size of a message for clients, in bytes (RFC 1542, 2.1).
const SHORTEST: usize = 300;

/// A message of a client.
pub struct Question<'a> {
    header: &'a [u8],
    options: &'a [u8],
}

impl<'a> Question<'a> {
    /// Decodes a message; `None` if it is invalid.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let is_one = header[0] == QUESTION && header[1..3] == ETHERNET;
        let options = rest.strip_prefix(&COOKIE).filter(|_| is_one)?;
        Some(Self { header, options })
    }

    /// The current address of the client.
    pub fn has(&self) -> Ipv4Addr {
        address(&self.header[12..16]).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The client's MAC address, in lower case.
    pub fn mac(&self) -> String {
        self.header[28..34].iter().map(|it| format!("{it:02x}")).collect::<Vec<_>>().join(":")
    }

    pub fn option(&self, code: u8) -> Option<&'a [u8]> {
        let mut rest = self.options;
        loop {
            match rest {
                [PAD, more @ ..] => rest = more,
                [END, ..] | [] => return None,
                [found, length, more @ ..] => {
                    let (value, more) = more.split_at_checked(usize::from(*length))?;
                    if *found == code {
                        return Some(value);
                    }
                    rest = more;
                }
                [_] => return None,
            }
        }
    }

    /// The address in an option.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        address(self.option(code)?)
    }

    /// The answer that offers or assigns an address (or the unspecified one), with these options.
    pub fn answer(&self, gives: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        bytes[0] = ANSWER;
        bytes[16..20].copy_from_slice(&gives.octets());
        // No next server, no server name, and no boot file.
        bytes[20..24].fill(0);
        bytes[44..].fill(0);
        bytes.extend(COOKIE);
        for (code, value) in options {
            bytes.extend([*code, value.len() as u8]);
            bytes.extend(*value);
        }
        bytes.push(END);
        bytes.resize(bytes.len().max(SHORTEST), PAD);
        bytes
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

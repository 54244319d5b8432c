//! The address of a mailbox.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use octet_node::bytes::Fields;
use octet_node::control::PublicKey;

use crate::limits::{MAX_ADDRESSES, MAX_MAILBOXES};

/// A mailbox's key and network addresses.
///
/// Its encoding: the key of its endpoint (32 bytes), the number of addresses (1), and each: 4 or 6
/// (1), the address (4 or 16), the port (2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxAddress {
    /// The key of its endpoint.
    pub mailbox: PublicKey,
    /// Its addresses: the first that answers is used.
    pub addresses: Vec<SocketAddr>,
}

/// Appends the number of `places`, and each of them.
pub fn encode(places: &[MailboxAddress], out: &mut Vec<u8>) {
    let places = &places[..places.len().min(MAX_MAILBOXES)];
    out.push(places.len() as u8);
    for place in places {
        out.extend_from_slice(place.mailbox.as_bytes());
        let addresses = &place.addresses[..place.addresses.len().min(MAX_ADDRESSES)];
        out.push(addresses.len() as u8);
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_be_bytes());
        }
    }
}

/// Decodes what [`encode`] has appended.
pub fn decode(fields: &mut Fields) -> Option<Vec<MailboxAddress>> {
    let count = usize::from(fields.u8()?);
    (count <= MAX_MAILBOXES).then_some(())?;
    (0..count).map(|_| decode_one(fields)).collect()
}

fn decode_one(fields: &mut Fields) -> Option<MailboxAddress> {
    let (mailbox, count) = (fields.key()?, usize::from(fields.u8()?));
    (count <= MAX_ADDRESSES).then_some(())?;
    let address = |fields: &mut Fields| {
        let ip = match fields.u8()? {
            4 => IpAddr::from(Ipv4Addr::from(fields.array::<4>()?)),
            6 => IpAddr::from(Ipv6Addr::from(fields.array::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, fields.u16()?))
    };
    let addresses = (0..count).map(|_| address(fields)).collect::<Option<_>>()?;
    Some(MailboxAddress { mailbox, addresses })
}

/// The text form of a mailbox: `did:key:…@ADDRESS:PORT`, with further addresses after commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a mailbox: write it as `octetctl messenger status` prints it, did:key:z6Mk…@192.0.2.7:4434"
)]
pub struct InvalidMailboxAddress;

impl std::str::FromStr for MailboxAddress {
    type Err = InvalidMailboxAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMailboxAddress> {
        let (mailbox, addresses) = text.split_once('@').ok_or(InvalidMailboxAddress)?;
        let mailbox = PublicKey::try_from(mailbox.to_owned()).map_err(|_| InvalidMailboxAddress)?;
        let addresses: Vec<SocketAddr> = addresses
            .split(',')
            .map(|address| address.parse().map_err(|_| InvalidMailboxAddress))
            .collect::<Result<_, _>>()?;
        let fits = (1..=MAX_ADDRESSES).contains(&addresses.len());
        fits.then_some(Self { mailbox, addresses }).ok_or(InvalidMailboxAddress)
    }
}

impl std::fmt::Display for MailboxAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        write!(f, "{}@{}", self.mailbox, addresses.join(","))
    }
}

//! Encodes and decodes messages of nfnetlink (linux/netfilter/nfnetlink.h), for both connection
//! tracking and nftables.

/// `NLA_TYPE_MASK`: the attribute type without the bits for nesting and byte order.
const TYPE: u16 = 0x3fff;

/// A message of the kernel cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's message is cut off")]
pub struct NotRead;

/// A request for `family` with encoded attributes.
pub fn request(kind: u16, flags: u16, sequence: u32, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = 20 + attributes.len() as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]); // to the kernel
    bytes.extend([family, 0, 0, 0]); // version 0, no resource
    bytes.extend(attributes);
    bytes
}

/// A message: its type, and its payload behind the header of netlink(7).
pub type NetlinkMessage<'a> = (u16, &'a [u8]);

/// Splits a datagram into its messages.
pub fn messages(mut bytes: &[u8]) -> Result<Vec<NetlinkMessage<'_>>, NotRead> {
    let mut found = vec![];
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(take(bytes, 0)?) as usize;
        let message = bytes.get(..length).filter(|_| length >= 16).ok_or(NotRead)?;
        found.push((u16::from_ne_bytes(take(message, 4)?), &message[16..]));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// An attribute: its type, all of its bytes including padding, and its value.
pub type Attribute<'a> = (u16, &'a [u8], &'a [u8]);

/// The attributes in `bytes`.
///
/// # Errors
/// The last one is truncated.
pub fn attributes(mut bytes: &[u8]) -> Result<Vec<Attribute<'_>>, NotRead> {
    let mut found = vec![];
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes(take(bytes, 0)?));
        let kind = u16::from_ne_bytes(take(bytes, 2)?) & TYPE;
        let value = bytes.get(4..length).ok_or(NotRead)?;
        let whole = length.next_multiple_of(4).min(bytes.len());
        found.push((kind, &bytes[..whole], value));
        bytes = &bytes[whole..];
    }
    Ok(found)
}

/// `N` bytes from the offset `at`.
pub fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], NotRead> {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(NotRead)
}

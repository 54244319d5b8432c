//! DNS and NTP messages (RFC 1035, RFC 5905), encoded and decoded by hand, because the code under
//! test uses a library.

use std::net::Ipv4Addr;

/// The seconds from NTP's first era to 1970.
const TO_1970: u64 = 2_208_988_800;

/// A query for the address of `name`.
pub fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The name in a query, in lower case, and the end of the question.
pub fn asked(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name.to_lowercase(), at + 4));
        }
        name += std::str::from_utf8(bytes.get(at..at + length)?).ok()?;
        name += ".";
        at += length;
    }
}

/// The answer to the query `bytes` with this address.
pub fn answer(bytes: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let (_, end) = asked(bytes)?;
    let mut told = bytes.get(..end)?.to_vec();
    // A response with recursion available; one question, one answer, nothing else.
    told[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    told.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    told.extend(address.octets());
    Some(told)
}

/// The response code (0: the name exists, 3: it does not), and the first address.
pub fn told(bytes: &[u8]) -> Option<(u8, Option<Ipv4Addr>)> {
    let (_, end) = asked(bytes)?;
    let code = bytes[3] & 15;
    let answers = u16::from_be_bytes([bytes[6], bytes[7]]);
    // After the name, which is a pointer or as long as the one in the question.
    let name = if bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0xc0) { 2 } else { end - 16 };
    let address = bytes.get(end + name + 10..).and_then(|rest| rest.first_chunk::<4>());
    Some((code, address.filter(|_| answers > 0).map(|it| Ipv4Addr::from(*it))))
}

/// The answer to an NTP request: `seconds` since 1970.
pub fn time(bytes: &[u8], seconds: u64) -> Vec<u8> {
    let mut told = vec![0x24, 1, 0, 0xec];
    told.resize(24, 0);
    told.extend(bytes.get(40..48).unwrap_or_default());
    for _ in 0..2 {
        told.extend((((seconds + TO_1970) % (1 << 32)) as u32).to_be_bytes());
        told.extend([0; 4]);
    }
    told
}

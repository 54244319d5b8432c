//! Decodes the fields of signed or transmitted encodings. Numbers are big-endian.

use octet_control::{PublicKey, UnitName};

/// The unread bytes.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes; `None` if there are fewer.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// The next bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next public key, of 32 bytes.
    pub fn key(&mut self) -> Option<PublicKey> {
        self.array().map(PublicKey::new)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next text, after its length in one byte.
    pub fn text(&mut self) -> Option<&'a str> {
        let [length] = self.array()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    /// The next unit name, encoded like [`text`](Self::text).
    pub fn unit(&mut self) -> Option<UnitName> {
        self.text()?.parse().ok()
    }

    /// Whether only zeros remain: encodings are unique, so padding must be zero.
    pub fn only_zeros(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Appends the length of `text`, which has at most 255 bytes, and the text.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

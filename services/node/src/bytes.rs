//! Reading the fields of what is signed or sent, one after the other; numbers are big-endian.

use octet_control::{PublicKey, UnitName};

/// What has not been read yet.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// So many bytes; `None` if there are fewer.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// The same, as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A public key, of 32 bytes.
    pub fn key(&mut self) -> Option<PublicKey> {
        self.array().map(PublicKey::new)
    }

    /// A number of 1 byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    /// A number of 2 bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of 4 bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of 8 bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Text whose length stands before it as one byte.
    pub fn text(&mut self) -> Option<&'a str> {
        let [length] = self.array()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    /// The name of a unit, as [`text`](Self::text).
    pub fn unit(&mut self) -> Option<UnitName> {
        self.text()?.parse().ok()
    }

    /// Whether nothing but zeros is left: who reads takes one encoding of what was said, and no other.
    pub fn only_zeros(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Appends `text`, of which there are at most 255 bytes, after its length.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

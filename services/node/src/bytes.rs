//! Reading the fields of what is signed, one after the other.

use octet_control::{PublicKey, UnitName};

/// What has not been read yet.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn key(&mut self) -> Option<PublicKey> {
        self.array().map(PublicKey::new)
    }

    /// A number of 8 bytes, big-endian.
    pub fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Text whose length stands before it as one byte.
    pub fn text(&mut self) -> Option<&'a str> {
        let [length] = self.array()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    pub fn unit(&mut self) -> Option<UnitName> {
        self.text()?.parse().ok()
    }
}

/// Appends `text`, of which there are at most 255 bytes, after its length.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

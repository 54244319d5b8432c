//! A bundle: a head, followed by the files of the slot.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `OCTUPD1` and a newline |
//! | 4 | length of the signature, big-endian |
//! | 4 | length of the manifest |
//! | … | the signature of the manifest's bytes, as minisign writes it |
//! | … | the manifest |
//! | … | patches, as the manifest lists them |
//! | … | the chunks of `linux`, then those of `initrd` and of `dtb`: plain or compressed, as the manifest says |
//!
//! The head gives the position of each part, so a box that has some chunks already reads only the
//! others.

use crate::manifest::{Manifest, SlotFile};

/// The first bytes of every bundle.
const MAGIC: [u8; 8] = *b"OCTUPD1\n";

pub const LENGTHS: usize = 16;

/// Maximum sizes of the signature and of the manifest, in bytes.
const MAX_SIGNATURE: usize = 4 << 10;
const MAX_MANIFEST: usize = 1 << 20;

/// Maximum size of the head, in bytes.
pub const MAX_HEAD: usize = LENGTHS + MAX_SIGNATURE + MAX_MANIFEST;

/// Bytes that are not a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("this is not an update: it does not begin with OCTUPD1")]
    Magic,
    /// The lengths in it exceed the limits.
    #[error("the head of the update is too long")]
    TooLong,
    #[error("the update has no signature")]
    Unsigned,
    #[error("the update is cut off")]
    CutOff,
}

/// The lengths of the parts of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub signature: usize,
    pub manifest: usize,
}

impl Lengths {
    /// Parses the first [`LENGTHS`] bytes of a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let Some(bytes) = bytes.first_chunk::<LENGTHS>() else {
            return Err(if MAGIC.starts_with(&bytes[..bytes.len().min(8)]) {
                HeadError::CutOff
            } else {
                HeadError::Magic
            });
        };
        if bytes[..8] != MAGIC {
            return Err(HeadError::Magic);
        }
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
        };
        let lengths = Self { signature: number(8), manifest: number(12) };
        match lengths {
            Self { signature: 0, .. } => Err(HeadError::Unsigned),
            Self { signature, manifest }
                if signature > MAX_SIGNATURE || manifest > MAX_MANIFEST =>
            {
                Err(HeadError::TooLong)
            }
            _ => Ok(lengths),
        }
    }

    pub fn head(&self) -> usize {
        LENGTHS + self.signature + self.manifest
    }
}

/// The head of a bundle: only its lengths have been checked, and not its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHead {
    /// The signature, as minisign writes it.
    pub signature: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl BundleHead {
    /// Parses a head at the beginning of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let lengths = Lengths::parse(bytes)?;
        let rest = bytes.get(LENGTHS..lengths.head()).ok_or(HeadError::CutOff)?;
        let (signature, manifest) = rest.split_at(lengths.signature);
        Ok(Self { signature: signature.to_vec(), manifest: manifest.to_vec() })
    }

    /// The encoded head.
    ///
    /// # Errors
    /// A part is too long, or there is no signature.
    pub fn render(&self) -> Result<Vec<u8>, HeadError> {
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(length(&self.signature));
        bytes.extend(length(&self.manifest));
        Lengths::parse(&bytes)?;
        bytes.extend(&self.signature);
        bytes.extend(&self.manifest);
        Ok(bytes)
    }

    /// The offset of the file `kind` of `manifest` in the bundle.
    pub fn file_offset(&self, manifest: &Manifest, kind: SlotFile) -> u64 {
        let head = self.patch_offset(manifest, manifest.patches.len());
        let before = manifest.files.all().take_while(|(other, _)| *other != kind);
        head + before.map(|(_, file)| file.stored()).sum::<u64>()
    }

    /// The offset of patch number `index` of `manifest` in the bundle.
    pub fn patch_offset(&self, manifest: &Manifest, index: usize) -> u64 {
        let head = (LENGTHS + self.signature.len() + self.manifest.len()) as u64;
        let before = manifest.patches.iter().take(index);
        head + before.map(|patch| u64::from(patch.stored)).sum::<u64>()
    }

    /// The size of a bundle with this head.
    pub fn size(&self, manifest: &Manifest) -> u64 {
        let head = self.patch_offset(manifest, manifest.patches.len());
        head + manifest.files.all().map(|(_, file)| file.stored()).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_it_should() {
        let head = BundleHead { signature: b"signature".to_vec(), manifest: b"{}".to_vec() };
        let bytes = head.render().unwrap();
        assert_eq!(BundleHead::parse(&bytes), Ok(head.clone()));
        assert_eq!(BundleHead::parse(&[&bytes[..], b"files"].concat()), Ok(head.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(BundleHead::parse(&bytes[..cut]), Err(HeadError::CutOff), "{cut}");
        }
        assert_eq!(BundleHead::parse(b"MZ"), Err(HeadError::Magic));
        assert_eq!(BundleHead::parse(&[0; 100]), Err(HeadError::Magic));
        let unsigned = BundleHead { signature: vec![], ..head.clone() };
        assert_eq!(unsigned.render(), Err(HeadError::Unsigned));
        let long = BundleHead { manifest: vec![b' '; MAX_MANIFEST + 1], ..head };
        assert_eq!(long.render(), Err(HeadError::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), real: bool) {
            let bytes = if real { [&MAGIC[..], &bytes].concat() } else { bytes };
            if let Ok(head) = BundleHead::parse(&bytes) {
                prop_assert!(bytes.starts_with(&head.render().unwrap()));
            }
        }
    }
}

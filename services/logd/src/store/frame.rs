//! Compression: one zstd frame (RFC 8878) for each block, by pure Rust in both directions, so that
//! the appliance has no C compiler's work in it. Any zstd can read the frames.

use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// The window that ruzstd's encoder writes into its frames, in bytes; memory for no more than that
/// is taken at the word of a frame.
const WINDOW: u64 = 128 << 10;

/// `raw` as a frame. One that cannot be made smaller grows by a few bytes.
pub fn compress(raw: &[u8]) -> Vec<u8> {
    // The fastest level is the only one that ruzstd has.
    compress_to_vec(raw, CompressionLevel::Fastest)
}

/// What is in `frame`, if that is just `length` bytes.
pub fn decompress(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut raw = vec![0; length];
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW);
    let count = decoder.decode_all(frame, &mut raw).ok()?;
    (count == length).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contents::MAX_RAW;
    use proptest::prelude::*;

    #[test]
    fn logs_become_much_smaller() {
        let line =
            |n: u32| format!("lan: lease of 10.1.{}.{} renewed for 3600 s\n", n % 8, n % 251);
        let raw: String = (0..1400).map(line).collect();
        let frame = compress(raw.as_bytes());
        assert!(frame.len() * 4 < raw.len(), "{} of {}", frame.len(), raw.len());
        assert_eq!(decompress(&frame, raw.len()).unwrap(), raw.as_bytes());
        assert_eq!(decompress(&frame, raw.len() - 1), None);
        assert_eq!(decompress(&frame, raw.len() + 1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever it is, it comes back, and does not grow beyond the bound of a block.
        #[test]
        fn comes_back(
            raw in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..3000),
                    (any::<u8>(), 0usize..20_000).prop_map(|(byte, count)| vec![byte; count]),
                    Just(b"a line that comes again and again\n".to_vec()),
                ],
                0..24,
            ).prop_map(|parts| parts.concat()),
        ) {
            let raw = &raw[..raw.len().min(MAX_RAW)];
            let frame = compress(raw);
            prop_assert!(frame.len() <= raw.len() + 64, "{} of {}", frame.len(), raw.len());
            let back = decompress(&frame, raw.len());
            prop_assert_eq!(back.as_deref(), Some(raw));
        }

        /// Damage is refused or gives other bytes, but never more than asked for, and no panic. (The
        /// checksum of a block keeps it from here; this is the second wall.)
        #[test]
        fn survives_damage(
            text in "[a-z ]{0,400}", at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>(),
        ) {
            let raw = text.repeat(3);
            let mut frame = compress(raw.as_bytes());
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            if cut {
                frame.truncate(at);
            }
            decompress(&frame, raw.len());
        }

        #[test]
        fn never_panics(frame in prop::collection::vec(any::<u8>(), 0..200), length in 0usize..2000) {
            decompress(&frame, length);
            decompress(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &frame].concat(), length);
        }
    }
}

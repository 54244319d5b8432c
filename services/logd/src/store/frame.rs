//! Compression: one zstd frame (RFC 8878) per block. Both directions are pure Rust, because the
//! appliance contains no C code. Any zstd can read the frames.

use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// The window size of ruzstd's encoder, in bytes; the decoder refuses frames that demand more
/// memory.
const WINDOW: u64 = 128 << 10;

/// Compresses `raw` to a frame. Incompressible data grows by a few bytes.
pub fn compress(raw: &[u8]) -> Vec<u8> {
    // This is the only level that ruzstd implements.
    compress_to_vec(raw, CompressionLevel::Fastest)
}

/// Decompresses `frame`; `None` unless the result has exactly `length` bytes.
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

        /// Any content survives a round trip, and the frame stays within the limit of a block.
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

        /// A damaged frame is refused or decompresses to other bytes, but never to more than
        /// requested, and without a panic. (Damage is normally detected by the block's checksum
        /// before.)
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

//! NTP packets (RFC 5905, 7.3) and timestamps.

use std::time::Duration;

/// The size of a packet without extensions, in bytes.
pub const LENGTH: usize = 48;

/// The seconds from the start of NTP's first era, 1900, to 1970.
const TO_1970: u64 = 2_208_988_800;

/// The length of an era, in seconds.
const ERA: u64 = 1 << 32;

/// An NTP timestamp: seconds within an era, and their fraction, 32 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp(pub u64);

/// A packet; only the fields in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpPacket {
    /// The leap indicator; 3 means that the clock is not synchronised.
    pub leap: u8,
    pub version: u8,
    /// 3 for a client's request, 4 for a server's answer.
    pub mode: u8,
    /// The distance from a reference clock: 1 to 15.
    pub stratum: u8,
    /// The client's interval, as a power of two in seconds.
    pub poll: u8,
    /// The source that the clock is synchronised to.
    pub reference: [u8; 4],
    /// When the clock was last set.
    pub set: Stamp,
    /// In an answer, the request's `transmit`.
    pub origin: Stamp,
    pub receive: Stamp,
    pub transmit: Stamp,
}

impl Stamp {
    /// The timestamp of a time since 1970.
    pub fn of(time: Duration) -> Self {
        let seconds = (time.as_secs() + TO_1970) % ERA;
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The time since 1970 that is nearest to `near`, because eras repeat after 136 years.
    pub fn near(self, near: Duration) -> Duration {
        let (seconds, fraction) = (self.0 >> 32, self.0 & u64::from(u32::MAX));
        let nanos = ((fraction * 1_000_000_000) >> 32) as u32;
        let base = near.as_secs() + TO_1970;
        // The candidates are in the era of `near`, and in the previous and the next one.
        let candidates = [(base / ERA).saturating_sub(1), base / ERA, base / ERA + 1];
        let times = candidates.iter().filter_map(|era| (era * ERA + seconds).checked_sub(TO_1970));
        let nearest = times.min_by_key(|seconds| seconds.abs_diff(near.as_secs()));
        Duration::new(nearest.unwrap_or_default(), nanos)
    }
}

impl NtpPacket {
    /// A client's request. The secret `transmit` authenticates the answer.
    pub fn request(transmit: Stamp) -> Self {
        Self {
            leap: 0,
            version: 4,
            mode: 3,
            stratum: 0,
            poll: 0,
            reference: [0; 4],
            set: Stamp::default(),
            origin: Stamp::default(),
            receive: Stamp::default(),
            transmit,
        }
    }

    pub fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = self.leap << 6 | (self.version & 7) << 3 | self.mode & 7;
        (bytes[1], bytes[2]) = (self.stratum, self.poll);
        // The precision is about a microsecond (2 to the power of -20).
        bytes[3] = 0xec;
        bytes[12..16].copy_from_slice(&self.reference);
        for (at, stamp) in
            [(16, self.set), (24, self.origin), (32, self.receive), (40, self.transmit)]
        {
            bytes[at..at + 8].copy_from_slice(&stamp.0.to_be_bytes());
        }
        bytes
    }

    /// Parses a packet; extensions are ignored.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.first_chunk()?;
        let stamp = |at: usize| bytes[at..].first_chunk().map(|it| Stamp(u64::from_be_bytes(*it)));
        Some(Self {
            leap: bytes[0] >> 6,
            version: bytes[0] >> 3 & 7,
            mode: bytes[0] & 7,
            stratum: bytes[1],
            poll: bytes[2],
            reference: *bytes[12..].first_chunk()?,
            set: stamp(16)?,
            origin: stamp(24)?,
            receive: stamp(32)?,
            transmit: stamp(40)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eras_turn() {
        // RFC 5905, figure 4: the second era begins on 2036-02-07, 06:28:16.
        let turn = Duration::from_secs(2_085_978_496);
        assert_eq!(Stamp::of(turn), Stamp(0));
        for near in [turn - Duration::from_secs(9), turn + Duration::from_secs(9)] {
            assert_eq!(Stamp(0).near(near), turn);
            assert_eq!(Stamp::of(near).near(turn), near);
        }
    }

    proptest! {
        #[test]
        fn times_come_back(seconds in 0u64..20_000_000_000, nanos in 0u32..1_000_000_000, off in -60_000_000i64..60_000_000) {
            let time = Duration::new(seconds, nanos);
            let near = Duration::from_secs(seconds.saturating_add_signed(off));
            let back = Stamp::of(time).near(near);
            prop_assert!(back.abs_diff(time) <= Duration::from_nanos(1), "{back:?} {time:?}");
        }

        #[test]
        fn packets_come_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(packet) = NtpPacket::parse(&bytes) {
                prop_assert_eq!(NtpPacket::parse(&packet.bytes()), Some(packet));
            } else {
                prop_assert!(bytes.len() < LENGTH);
            }
        }
    }
}

//! The SNTP server.

use std::time::Duration;

use super::packet::{LENGTH, NtpPacket, Stamp};

/// The stratum while the clock is not synchronised: the nodes of a box at least agree with each
/// other.
const OWN: u8 = 10;

/// The source that the clock was set from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeReference {
    /// The source's stratum.
    pub stratum: u8,
    /// When it was set, as a time since 1970.
    pub at: Duration,
}

/// The answer to the request `bytes`, received at `received`; `None` if it is not a request. The
/// caller fills in the time of sending as late as possible ([`sent`]).
pub fn answer(
    bytes: &[u8],
    set_by: Option<TimeReference>,
    received: Duration,
) -> Option<NtpPacket> {
    let question = NtpPacket::parse(bytes)?;
    if question.mode != 3 || !(1..=4).contains(&question.version) {
        return None;
    }
    let (stratum, set) = match set_by {
        Some(TimeReference { stratum, at }) => (stratum.saturating_add(1).min(OWN), at),
        None => (OWN, received),
    };
    Some(NtpPacket {
        leap: 0,
        version: question.version,
        mode: 4,
        stratum,
        poll: question.poll,
        reference: *b"LOCL",
        set: Stamp::of(set),
        origin: question.transmit,
        receive: Stamp::of(received),
        transmit: Stamp::default(),
    })
}

/// The encoded answer, sent at `now`.
pub fn encode(answer: NtpPacket, now: Duration) -> [u8; LENGTH] {
    NtpPacket { transmit: Stamp::of(now), ..answer }.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_and_nothing_else() {
        let now = Duration::from_secs(1_800_000_000);
        let asked = NtpPacket::request(Stamp(77));
        let told = answer(&asked.bytes(), None, now).unwrap();
        assert_eq!((told.mode, told.version, told.stratum, told.leap), (4, 4, OWN, 0));
        assert_eq!((told.origin, told.receive.near(now)), (Stamp(77), now));
        let set_by = Some(TimeReference { stratum: 2, at: now });
        assert_eq!(answer(&asked.bytes(), set_by, now).unwrap().stratum, 3);
        // Answers are not answered, or two servers would never stop.
        assert_eq!(answer(&encode(told, now), set_by, now), None);
        for mode in [0, 1, 2, 5, 6, 7] {
            assert_eq!(answer(&NtpPacket { mode, ..asked }.bytes(), set_by, now), None, "{mode}");
        }
        assert_eq!(answer(&asked.bytes()[..47], set_by, now), None);
    }
}

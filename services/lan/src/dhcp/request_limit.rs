//! Rate limits of DHCP requests, per link and per device. Pure: they have no clock and no socket.

use std::collections::BTreeMap;
use std::time::Duration;

use octet_appliance::Mac;

use super::message::ClientRequest;

/// The maximum number of requests per link and second.
const MAX_PER_LINK: usize = 20;

/// The maximum of these from unknown devices, so that invented devices cannot block others.
const MAX_OF_UNKNOWN: usize = 12;

/// The maximum of one device: a discover and a request, each of which may be lost once.
const MAX_PER_DEVICE: usize = 4;

const SECOND: Duration = Duration::from_secs(1);

/// The recent requests by interface index: the start of the second, and the devices.
#[derive(Debug, Default)]
pub struct DhcpRateLimiter(BTreeMap<u32, (Duration, Vec<Mac>)>);

impl DhcpRateLimiter {
    /// Parses a request on `link`; `None` if it is invalid or above a limit. Invalid requests, and
    /// those above one device's limit, do not count for others. `is_known` tells whether a device
    /// is known.
    pub fn admit(
        &mut self,
        bytes: &[u8],
        link: u32,
        now: Duration,
        is_known: impl Fn(Mac) -> bool,
    ) -> Option<ClientRequest> {
        let request = ClientRequest::parse(bytes).ok()?;
        let (start, recent) = self.0.entry(link).or_insert_with(|| (now, vec![]));
        if now.saturating_sub(*start) >= SECOND {
            *start = now;
            recent.clear();
        }
        let own = recent.iter().filter(|mac| **mac == request.mac).count();
        let unknown = recent.iter().filter(|mac| !is_known(**mac)).count();
        let is_one_too_many = unknown >= MAX_OF_UNKNOWN && !is_known(request.mac);
        if is_one_too_many || recent.len() >= MAX_PER_LINK || own >= MAX_PER_DEVICE {
            return None;
        }
        recent.push(request.mac);
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::ClientMessageType;

    const NOW: Duration = Duration::from_secs(9);

    fn ask(last: u8) -> Vec<u8> {
        ClientMessageType::Discover(None).bytes(1, Mac::new([2, 0, 0, 0, 0, last]).unwrap())
    }

    /// The number of `count` identical requests that are accepted.
    fn recent(limiter: &mut DhcpRateLimiter, bytes: &[u8], now: Duration) -> usize {
        (0..100).filter(|_| limiter.admit(bytes, 3, now, is_known).is_some()).count()
    }

    fn is_known(mac: Mac) -> bool {
        mac.bytes()[5] > 100
    }

    #[test]
    fn what_is_no_question_takes_nothing() {
        let mut limiter = DhcpRateLimiter::default();
        let mut answer = ask(1);
        answer[0] = 2;
        for bytes in [&[][..], &[0; 300], &ask(1)[..200], &answer] {
            assert_eq!(recent(&mut limiter, bytes, NOW), 0);
        }
        assert!(limiter.admit(&ask(1), 3, NOW, is_known).is_some());
    }

    #[test]
    fn each_device_has_a_share() {
        let mut limiter = DhcpRateLimiter::default();
        assert_eq!(recent(&mut limiter, &ask(1), NOW), MAX_PER_DEVICE);
        let of_each: Vec<usize> =
            (2..6).map(|last| recent(&mut limiter, &ask(last), NOW)).collect();
        assert_eq!(of_each, [4, 4, 0, 0]);
        // The rest is reserved for known devices.
        let of_each: Vec<usize> =
            (101..105).map(|last| recent(&mut limiter, &ask(last), NOW)).collect();
        assert_eq!(of_each, [4, 4, 0, 0]);
        // Another link, and the next second, have their own limits.
        let mut hear = |link, now| limiter.admit(&ask(9), link, now, is_known);
        assert!(hear(4, NOW).is_some());
        assert!(hear(3, NOW + SECOND - Duration::from_millis(1)).is_none());
        assert!(hear(3, NOW + SECOND).is_some());
    }
}

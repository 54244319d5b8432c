//! Addresses for the owner's devices: the same device gets the same one, as long as there are any.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use octet_appliance::Mac;

/// The hosts of a network of 24 bits that devices can be: 1 is the router.
const FIRST: u8 = 2;
const LAST: u8 = 254;

/// How long an address is kept for whom it was offered to.
const OFFERED: Duration = Duration::from_secs(60);

/// Who has which host number, and until when.
#[derive(Debug, Default)]
pub struct Pool(BTreeMap<u8, (Mac, Duration)>);

impl Pool {
    /// The host for `mac`, which would like to be `wish`; `None` if there is none. It is kept for it for a
    /// minute.
    pub fn offer(&mut self, mac: Mac, wish: Option<u8>, now: Duration) -> Option<u8> {
        self.0.retain(|_, (_, until)| *until > now);
        let own = self.0.iter().find(|(_, (who, _))| *who == mac).map(|(host, _)| *host);
        if let Some(host) = own {
            let (_, until) = self.0.get_mut(&host)?;
            *until = (*until).max(now + OFFERED);
            return Some(host);
        }
        let is_free = |host: &u8| (FIRST..=LAST).contains(host) && !self.0.contains_key(host);
        // From where its address leads, so that it is the same again after everything was forgotten.
        let span = u32::from(LAST - FIRST) + 1;
        let start = mac
            .bytes()
            .iter()
            .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
            % span;
        let from_start = (0..span).map(|step| FIRST + ((start + step) % span) as u8);
        let host = wish.into_iter().chain(from_start).find(is_free)?;
        self.0.insert(host, (mac, now + OFFERED));
        Some(host)
    }

    /// Gives `mac` the host for `seconds`. Returns whether it may have it.
    pub fn take(&mut self, mac: Mac, host: u8, seconds: u32, now: Duration) -> bool {
        if self.offer(mac, Some(host), now) != Some(host) {
            return false;
        }
        self.0.insert(host, (mac, now + Duration::from_secs(seconds.into())));
        true
    }

    /// `mac` does not need it any more.
    pub fn release(&mut self, mac: Mac) {
        self.0.retain(|_, (who, _)| *who != mac);
    }

    /// Everybody who has one.
    pub fn all(&self, now: Duration) -> impl Iterator<Item = (Mac, u8)> {
        self.0
            .iter()
            .filter(move |(_, (_, until))| *until > now)
            .map(|(host, (mac, _))| (*mac, *host))
    }
}

/// The last byte of an address.
pub fn host(address: Ipv4Addr) -> u8 {
    address.octets()[3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mac(number: u16) -> Mac {
        let [a, b] = number.to_be_bytes();
        Mac::new([2, 0, 0, 0, a, b]).unwrap()
    }

    #[test]
    fn the_same_for_the_same() {
        let mut pool = Pool::default();
        let now = Duration::from_secs(9);
        let first = pool.offer(mac(1), None, now).unwrap();
        assert!(pool.take(mac(1), first, 3600, now));
        assert!(!pool.take(mac(2), first, 3600, now));
        assert_eq!(Pool::default().offer(mac(1), None, now), Some(first));
        let later = now + Duration::from_secs(3601);
        assert!(pool.take(mac(2), first, 3600, later));
        pool.release(mac(2));
        assert_eq!(pool.all(later).count(), 0);
    }

    proptest! {
        /// However many ask: no two have one address, and as many as there are have one.
        #[test]
        fn nobody_shares(all in prop::collection::vec((0u16..400, prop::option::of(any::<u8>())), 1..600)) {
            let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
            let mut given = BTreeMap::new();
            for (number, wish) in all {
                let Some(host) = pool.offer(mac(number), wish, now) else {
                    prop_assert_eq!(given.len(), usize::from(LAST - FIRST) + 1);
                    continue;
                };
                prop_assert!((FIRST..=LAST).contains(&host));
                prop_assert!(pool.take(mac(number), host, 60, now));
                let before = given.insert(host, number);
                prop_assert!(before.is_none_or(|before| before == number));
            }
        }
    }
}

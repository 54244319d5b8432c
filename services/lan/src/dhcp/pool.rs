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

/// How long an address is given to nobody that somebody else was found to have, and how many of them there are; then
/// the oldest is given again. A device can say that of each that it gets.
const DECLINED: Duration = Duration::from_secs(60 * 60);
const MOST_DECLINED: usize = 16;

/// A host number of somebody.
#[derive(Debug, Clone, Copy)]
struct Held {
    by: Mac,
    until: Duration,
    /// It was offered, and not taken yet.
    is_offer: bool,
}

/// Who has which host number, and until when.
#[derive(Debug, Default)]
pub struct Pool {
    held: BTreeMap<u8, Held>,
    /// Those that somebody else was found to have, and until when that counts.
    declined: BTreeMap<u8, Duration>,
}

impl Pool {
    /// The host for `mac`, which would like to be `wish`; `None` if there is none. It is kept for it for a
    /// minute, or until all are taken or offered and somebody else asks: offers cost nothing to who invents devices.
    pub fn offer(&mut self, mac: Mac, wish: Option<u8>, now: Duration) -> Option<u8> {
        self.expire(now);
        if let Some(host) = self.host_of(mac) {
            let held = self.held.get_mut(&host)?;
            held.until = held.until.max(now + OFFERED);
            return Some(host);
        }
        // From where its address leads, so that it is the same again after everything was forgotten.
        let span = u32::from(LAST - FIRST) + 1;
        let start = mac
            .bytes()
            .iter()
            .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
            % span;
        let from_start = (0..span).map(|step| FIRST + ((start + step) % span) as u8);
        let free = wish.into_iter().chain(from_start).find(|host| self.is_free(*host));
        let host = free.or_else(|| self.oldest_offer())?;
        self.held.insert(host, Held { by: mac, until: now + OFFERED, is_offer: true });
        Some(host)
    }

    /// Gives `mac` the host for `seconds`. Returns whether it may have it.
    pub fn take(&mut self, mac: Mac, host: u8, seconds: u32, now: Duration) -> bool {
        self.expire(now);
        let may = self.host_of(mac).map_or_else(|| self.is_free(host), |own| own == host);
        if may {
            let until = now + Duration::from_secs(seconds.into());
            self.held.insert(host, Held { by: mac, until, is_offer: false });
        }
        may
    }

    /// `mac` does not need `host` any more.
    pub fn release(&mut self, mac: Mac, host: u8) {
        if self.host_of(mac) == Some(host) {
            self.held.remove(&host);
        }
    }

    /// `mac`, which was given `host`, has found that somebody else has it: nobody gets it for an hour (RFC 2131, 4.3.3).
    pub fn decline(&mut self, mac: Mac, host: u8, now: Duration) {
        if self.host_of(mac) != Some(host) {
            return;
        }
        self.held.remove(&host);
        if self.declined.len() >= MOST_DECLINED {
            let oldest = self.declined.iter().min_by_key(|(_, until)| **until);
            oldest.map(|(host, _)| *host).map(|host| self.declined.remove(&host));
        }
        self.declined.insert(host, now + DECLINED);
    }

    fn expire(&mut self, now: Duration) {
        self.held.retain(|_, held| held.until > now);
        self.declined.retain(|_, until| *until > now);
    }

    fn host_of(&self, mac: Mac) -> Option<u8> {
        self.held.iter().find(|(_, held)| held.by == mac).map(|(host, _)| *host)
    }

    fn is_free(&self, host: u8) -> bool {
        (FIRST..=LAST).contains(&host)
            && !self.held.contains_key(&host)
            && !self.declined.contains_key(&host)
    }

    fn oldest_offer(&self) -> Option<u8> {
        let offers = self.held.iter().filter(|(_, held)| held.is_offer);
        offers.min_by_key(|(_, held)| held.until).map(|(host, _)| *host)
    }

    /// Everybody who has one.
    pub fn all(&self, now: Duration) -> impl Iterator<Item = (Mac, u8)> {
        let now_held = self.held.iter().filter(move |(_, held)| held.until > now);
        now_held.map(|(host, held)| (held.by, *host))
    }

    /// The hosts that somebody else was found to have.
    pub fn declined(&self, now: Duration) -> impl Iterator<Item = u8> {
        self.declined.iter().filter(move |(_, until)| **until > now).map(|(host, _)| *host)
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
        // Nobody gives back what another has.
        pool.release(mac(1), first);
        assert_eq!(pool.all(later).count(), 1);
        pool.release(mac(2), first);
        assert_eq!(pool.all(later).count(), 0);
    }

    /// Who invents devices has offers, until somebody else asks.
    #[test]
    fn offers_do_not_empty_it() {
        let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
        let (first, second) = (pool.offer(mac(1), None, now), pool.offer(mac(2), None, now));
        assert!(pool.take(mac(1), first.unwrap(), 3600, now));
        let later = now + Duration::from_secs(1);
        for number in 3..=253 {
            assert!(pool.offer(mac(number), None, later).is_some());
        }
        // The oldest of the offers is another's now; who took an address has it.
        assert_eq!(pool.offer(mac(300), None, later), second);
        assert!(!pool.take(mac(2), second.unwrap(), 3600, later));
        assert!(pool.take(mac(300), second.unwrap(), 3600, later));
        assert_eq!(pool.offer(mac(1), None, later), first);
        // What is requested and was not offered makes no offer.
        assert!(!pool.take(mac(301), first.unwrap(), 3600, later));
        assert_eq!(pool.all(later).count(), 253);
        // Nobody asked for the rest in time.
        assert_eq!(pool.all(later + OFFERED).count(), 2);
    }

    #[test]
    fn what_was_declined_is_given_to_nobody_for_an_hour() {
        let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
        let host = pool.offer(mac(1), None, now).unwrap();
        assert!(pool.take(mac(1), host, 3600, now));
        pool.decline(mac(2), host, now);
        assert_eq!(pool.declined(now).count(), 0, "it is not theirs");
        pool.decline(mac(1), host, now);
        assert_eq!(
            (pool.declined(now).collect::<Vec<_>>(), pool.all(now).count()),
            (vec![host], 0)
        );
        assert_ne!(pool.offer(mac(1), Some(host), now), Some(host));
        assert!(!pool.take(mac(2), host, 3600, now));
        let later = now + DECLINED;
        assert_eq!(pool.declined(later).count(), 0);
        assert!(pool.take(mac(2), host, 3600, later));
        // One device takes few out of it.
        for second in 0..300 {
            let now = later + Duration::from_secs(second);
            let host = pool.offer(mac(3), None, now).unwrap();
            pool.decline(mac(3), host, now);
            assert!(pool.declined(now).count() <= MOST_DECLINED);
        }
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

//! The address pool for the owner's devices: a device gets the same address again, as long as there
//! are any.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use octet_appliance::Mac;

/// The assignable hosts of a /24; host 1 is the router.
const FIRST: u8 = 2;
const LAST: u8 = 254;

/// How long an offer is reserved.
const OFFERED: Duration = Duration::from_secs(60);

/// How long a declined address is not assigned, and how many there can be; above it, the oldest is
/// assigned again. A device can decline every address that it gets.
const DECLINED: Duration = Duration::from_secs(60 * 60);
const MAX_DECLINED: usize = 16;

/// The number of the 253 addresses that are reserved for known devices. An attacker with invented
/// devices can only exhaust the others.
const FOR_KNOWN: usize = 64;
const FOR_STRANGERS: usize = (LAST - FIRST) as usize + 1 - FOR_KNOWN;

/// A device is known once it renews after at least a third of its lease time: clients do after half
/// (RFC 2131, 4.4.5). An attacker has to keep up each invented device for that long.
const KNOWN_AFTER: u32 = 3;

/// How long a silent device stays known, and the maximum number of known devices.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_KNOWN: usize = FOR_KNOWN;

/// The holder of a host number.
#[derive(Debug, Clone, Copy)]
struct HostLease {
    mac: Mac,
    /// The time of the offer or lease.
    since: Duration,
    expires: Duration,
    /// Whether it is only offered.
    is_offer: bool,
}

/// The host numbers with their holders and expiry.
#[derive(Debug, Default)]
pub struct Pool {
    leases: BTreeMap<u8, HostLease>,
    /// The declined hosts, with the end of their quarantine.
    declined: BTreeMap<u8, Duration>,
    /// The known devices, with the end of that state if they stay silent.
    known: BTreeMap<Mac, Duration>,
}

impl Pool {
    /// The host for `mac`, which requests `requested`; `None` if there is none. It is reserved for a
    /// minute, or until the pool is exhausted and another device asks, because offers cost an
    /// attacker nothing. Unknown devices never exhaust the addresses for known ones.
    pub fn offer(&mut self, mac: Mac, requested: Option<u8>, now: Duration) -> Option<u8> {
        self.expire(now);
        if let Some(host) = self.host_of(mac) {
            let held = self.leases.get_mut(&host)?;
            held.expires = held.expires.max(now + OFFERED);
            return Some(host);
        }
        // Derived from the MAC address, so that it is stable across restarts.
        let span = u32::from(LAST - FIRST) + 1;
        let start = mac
            .bytes()
            .iter()
            .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
            % span;
        let from_start = (0..span).map(|step| FIRST + ((start + step) % span) as u8);
        let may_have_another = self.may_have_another(mac);
        let free = requested.into_iter().chain(from_start).find(|host| self.is_free(*host));
        let host = free.filter(|_| may_have_another).or_else(|| self.oldest_offer())?;
        let until = now + OFFERED;
        self.leases.insert(host, HostLease { mac, since: now, expires: until, is_offer: true });
        Some(host)
    }

    /// Leases the host to `mac` for `seconds`. Returns whether it is available.
    pub fn lease(&mut self, mac: Mac, host: u8, seconds: u32, now: Duration) -> bool {
        self.expire(now);
        let (time, own) = (Duration::from_secs(seconds.into()), self.host_of(mac));
        let may = match own {
            Some(own) => own == host,
            None => self.is_free(host) && self.may_have_another(mac),
        };
        if !may {
            return false;
        }
        let before = self.leases.get(&host).filter(|held| !held.is_offer);
        let since = before.map_or(now, |held| held.since);
        let is_known = self.is_known(mac)
            || now.saturating_sub(since) >= time / KNOWN_AFTER && self.known.len() < MAX_KNOWN;
        if is_known {
            self.known.insert(mac, now + FORGOTTEN_AFTER);
        }
        self.leases.insert(host, HostLease { mac, since, expires: now + time, is_offer: false });
        true
    }

    /// Whether the device is known.
    pub fn is_known(&self, mac: Mac) -> bool {
        self.known.contains_key(&mac)
    }

    /// Whether `mac`, which has no address, may get one. Declined addresses reduce the share of
    /// unknown devices.
    fn may_have_another(&self, mac: Mac) -> bool {
        let strangers = self.leases.values().filter(|held| !self.is_known(held.mac)).count();
        self.is_known(mac) || strangers + self.declined.len() < FOR_STRANGERS
    }

    /// Releases `host`.
    pub fn release(&mut self, mac: Mac, host: u8) {
        if self.host_of(mac) == Some(host) {
            self.leases.remove(&host);
        }
    }

    /// Declines `host`: it is in use by another device, and not assigned for an hour (RFC 2131,
    /// 4.3.3).
    pub fn decline(&mut self, mac: Mac, host: u8, now: Duration) {
        if self.host_of(mac) != Some(host) {
            return;
        }
        self.leases.remove(&host);
        if self.declined.len() >= MAX_DECLINED {
            let oldest = self.declined.iter().min_by_key(|(_, until)| **until);
            oldest.map(|(host, _)| *host).map(|host| self.declined.remove(&host));
        }
        self.declined.insert(host, now + DECLINED);
    }

    fn expire(&mut self, now: Duration) {
        self.leases.retain(|_, held| held.expires > now);
        self.declined.retain(|_, until| *until > now);
        self.known.retain(|_, until| *until > now);
    }

    fn host_of(&self, mac: Mac) -> Option<u8> {
        self.leases.iter().find(|(_, held)| held.mac == mac).map(|(host, _)| *host)
    }

    fn is_free(&self, host: u8) -> bool {
        (FIRST..=LAST).contains(&host)
            && !self.leases.contains_key(&host)
            && !self.declined.contains_key(&host)
    }

    fn oldest_offer(&self) -> Option<u8> {
        let offers = self.leases.iter().filter(|(_, held)| held.is_offer);
        offers.min_by_key(|(_, held)| held.expires).map(|(host, _)| *host)
    }

    pub fn all(&self, now: Duration) -> impl Iterator<Item = (Mac, u8)> {
        let now_held = self.leases.iter().filter(move |(_, held)| held.expires > now);
        now_held.map(|(host, held)| (held.mac, *host))
    }

    /// The declined hosts.
    pub fn declined(&self, now: Duration) -> impl Iterator<Item = u8> {
        self.declined.iter().filter(move |(_, until)| **until > now).map(|(host, _)| *host)
    }
}

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
        assert!(pool.lease(mac(1), first, 3600, now));
        assert!(!pool.lease(mac(2), first, 3600, now));
        assert_eq!(Pool::default().offer(mac(1), None, now), Some(first));
        let later = now + Duration::from_secs(3601);
        assert!(pool.lease(mac(2), first, 3600, later));
        // Only the holder can release an address.
        pool.release(mac(1), first);
        assert_eq!(pool.all(later).count(), 1);
        pool.release(mac(2), first);
        assert_eq!(pool.all(later).count(), 0);
    }

    /// Invented devices get offers, until another device asks.
    #[test]
    fn offers_do_not_empty_it() {
        let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
        let (first, second) = (pool.offer(mac(1), None, now), pool.offer(mac(2), None, now));
        assert!(pool.lease(mac(1), first.unwrap(), 3600, now));
        let later = now + Duration::from_secs(1);
        for number in 3..=FOR_STRANGERS as u16 {
            assert!(pool.offer(mac(number), None, later).is_some());
        }
        // The oldest offer is reassigned; a lease is kept.
        assert_eq!(pool.offer(mac(300), None, later), second);
        assert!(!pool.lease(mac(2), second.unwrap(), 3600, later));
        assert!(pool.lease(mac(300), second.unwrap(), 3600, later));
        assert_eq!(pool.offer(mac(1), None, later), first);
        // A request without an offer reserves nothing.
        assert!(!pool.lease(mac(301), first.unwrap(), 3600, later));
        assert_eq!(pool.all(later).count(), FOR_STRANGERS);
        // The other offers have expired.
        assert_eq!(pool.all(later + OFFERED).count(), 2);
    }

    /// Invented devices take no address from known ones.
    #[test]
    fn known_devices_have_addresses_whoever_else_asks() {
        let (mut pool, mut now) = (Pool::default(), Duration::from_secs(1));
        let (home, hour) = (1..=3u16, Duration::from_secs(3600));
        let take = |pool: &mut Pool, number, now| {
            let host = pool.offer(mac(number), None, now);
            host.filter(|host| pool.lease(mac(number), *host, 3600, now))
        };
        for number in home.clone() {
            let host = take(&mut pool, number, now).unwrap();
            // An early renewal proves nothing.
            assert!(pool.lease(mac(number), host, 3600, now + hour / 4));
            assert!(!pool.is_known(mac(number)));
            // Clients renew at about half of the lease time.
            let half = now + hour / 2 - Duration::from_secs(2);
            assert!(pool.lease(mac(number), host, 3600, half));
        }
        assert!(home.clone().all(|number| pool.is_known(mac(number))));
        // The devices leave, and a week later an attacker has all addresses for unknown devices.
        now += hour * 24 * 7;
        let invented: Vec<u16> = (1000..2000).collect();
        let given = |pool: &mut Pool, now| {
            invented.iter().filter(|number| take(pool, **number, now).is_some()).count()
        };
        assert_eq!(given(&mut pool, now), FOR_STRANGERS);
        assert_eq!(take(&mut pool, 4, now), None, "a stranger");
        // The same without offers, and by declining.
        assert!((FIRST..=LAST).all(|host| !pool.lease(mac(4), host, 3600, now)));
        let first = pool.host_of(mac(1000)).unwrap();
        pool.decline(mac(1000), first, now);
        assert_eq!(take(&mut pool, 4, now), None, "a stranger");
        for number in home.clone() {
            assert!(take(&mut pool, number, now).is_some(), "{number}");
        }
        // The number of known devices is limited, even if invented devices renew.
        for part in 1..9 {
            let now = now + hour * part / 2;
            given(&mut pool, now);
            assert!(home.clone().all(|number| take(&mut pool, number, now).is_some()));
            assert!(pool.known.len() <= MAX_KNOWN);
        }
        assert_eq!(pool.known.len(), MAX_KNOWN);
        assert!(home.clone().all(|number| pool.is_known(mac(number))));
        // A device that is away for long becomes unknown.
        pool.expire(now + FORGOTTEN_AFTER * 2);
        assert!(pool.known.is_empty());
    }

    #[test]
    fn what_was_declined_is_given_to_nobody_for_an_hour() {
        let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
        let host = pool.offer(mac(1), None, now).unwrap();
        assert!(pool.lease(mac(1), host, 3600, now));
        pool.decline(mac(2), host, now);
        assert_eq!(pool.declined(now).count(), 0, "it is not theirs");
        pool.decline(mac(1), host, now);
        assert_eq!(
            (pool.declined(now).collect::<Vec<_>>(), pool.all(now).count()),
            (vec![host], 0)
        );
        assert_ne!(pool.offer(mac(1), Some(host), now), Some(host));
        assert!(!pool.lease(mac(2), host, 3600, now));
        let later = now + DECLINED;
        assert_eq!(pool.declined(later).count(), 0);
        assert!(pool.lease(mac(2), host, 3600, later));
        // One device can only decline a few addresses.
        for second in 0..300 {
            let now = later + Duration::from_secs(second);
            let host = pool.offer(mac(3), None, now).unwrap();
            pool.decline(mac(3), host, now);
            assert!(pool.declined(now).count() <= MAX_DECLINED);
        }
    }

    proptest! {
        /// However many devices ask, no address has two holders, and all addresses are used.
        #[test]
        fn nobody_shares(all in prop::collection::vec((0u16..400, prop::option::of(any::<u8>())), 1..600)) {
            let (mut pool, now) = (Pool::default(), Duration::from_secs(1));
            let mut given = BTreeMap::new();
            for (number, wish) in all {
                let Some(host) = pool.offer(mac(number), wish, now) else {
                    prop_assert_eq!(given.len(), FOR_STRANGERS);
                    continue;
                };
                prop_assert!((FIRST..=LAST).contains(&host));
                prop_assert!(pool.lease(mac(number), host, 60, now));
                let before = given.insert(host, number);
                prop_assert!(before.is_none_or(|before| before == number));
            }
        }
    }
}

//! Renews the names of this node: it publishes them again, long before they expire.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use octet_node::say;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{NameCache, NameEntry, NameRecord, NameStoreError, OwnName, Unresolved, broken, now};

/// The maximum time between two looks at the names: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);

/// The minimum time between two records of a name, in seconds. A name that expires earlier is not renewed in time.
const MIN_AGE: u64 = 10;

impl NameCache {
    /// Renews names as long as the process runs.
    pub async fn renew_forever(self: Arc<Self>) -> Infallible {
        let mut certified = self.certified.clone();
        loop {
            let wait = match self.renew(now()).await {
                Ok(next) => next.map_or(LOOK, |next| {
                    Duration::from_secs(next.saturating_sub(now()).max(1)).min(LOOK)
                }),
                Err(error) => {
                    // Without a key there is nothing to sign with yet.
                    if !matches!(error, Unresolved::NoKey) {
                        say!("names are not renewed: {error}");
                    }
                    LOOK
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                // What is published may have to be renewed earlier.
                () = self.published.notified() => {}
                Ok(()) = certified.changed() => {}
            }
        }
    }

    /// Publishes again what is due at the time `now`, in seconds since 1970. Returns when the next one is.
    ///
    /// # Errors
    /// This node has no key yet, or writing fails.
    async fn renew(&self, now: u64) -> Result<Option<u64>, Unresolved> {
        let Some(own) = self.certified.borrow().clone() else { return Err(Unresolved::NoKey) };
        let _publishing = self.publishing.lock().await;
        let store = Arc::clone(&self.store);
        let renew = move || {
            let mut next = None;
            for OwnName { record, ttl } in store.own(&own.certificate.body().node)? {
                let Some(ttl) = ttl else { continue };
                let mut due = due(record.entry(), ttl);
                if due <= now {
                    let NameEntry { path, hash, sequence, .. } = record.entry().clone();
                    let (sequence, expires) = (sequence.saturating_add(1), now.saturating_add(ttl));
                    let entry = NameEntry { path, hash, sequence, expires };
                    due = self::due(&entry, ttl);
                    let certificate = own.certificate.clone();
                    let record = NameRecord::sign(entry, certificate, &own.key)
                        .map_err(|error| Unresolved::Broken(error.to_string()))?;
                    match store.publish(&record, Some(ttl)) {
                        // A key that was replaced since has signed a newer one.
                        Ok(()) | Err(NameStoreError::Older) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                next = Some(next.map_or(due, |next: u64| next.min(due)));
            }
            Ok(next)
        };
        spawn_blocking(renew).await.map_err(broken)?
    }
}

/// When a name is to be published again: once half of its time is over.
fn due(entry: &NameEntry, ttl: u64) -> u64 {
    entry.expires.saturating_sub(ttl).saturating_add((ttl / 2).max(MIN_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CacheLimits;
    use crate::peers::UNIT;
    use iroh_blobs::Hash;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use octet_node::sub_key::Certified;
    use tokio::sync::watch;

    fn certified(node: &PrivateKey, epoch: u64) -> Certified {
        let key = PrivateKey::generate().unwrap();
        let unit = UNIT.parse().unwrap();
        let statement =
            KeyStatement { node: node.public(), unit, key: key.public(), epoch, issued: 1 };
        let certificate = Certificate::sign(statement, node).unwrap();
        Certified { key: Arc::new(key), certificate }
    }

    #[tokio::test]
    async fn what_is_due_is_published_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = PrivateKey::generate().unwrap();
        let (keys, own) = watch::channel(None);
        let (endpoint, peers) = (watch::channel(None).1, watch::channel(vec![]).1);
        let file = folder.path().join("names.db");
        let names = NameCache::open(&file, CacheLimits::default(), own, endpoint, peers).unwrap();
        assert!(matches!(names.renew(now()).await, Err(Unresolved::NoKey)));
        keys.send_replace(Some(certified(&node, 1)));
        assert_eq!(names.renew(now()).await.unwrap(), None);

        let (hash, day) = (Hash::new(b"it"), Duration::from_secs(86_400));
        let path = |text: &str| text.parse::<octet_appliance::NamePath>().unwrap();
        let begin = now();
        for (text, is_renewed) in [("always", true), ("once", false), ("ended", true)] {
            names.publish(path(text), hash, day, is_renewed).await.unwrap();
        }
        names.publish(path("ended"), hash, day, false).await.unwrap();
        let known = |text: &str| names.store.get(&node.public(), &path(text)).unwrap().unwrap();
        let sequences = || ["always", "once", "ended"].map(|text| known(text).entry().sequence);
        assert_eq!(sequences(), [1, 1, 2]);

        // Nothing happens in the first half of its time, or while the clock is behind.
        let due = names.renew(begin).await.unwrap().unwrap();
        assert!((begin + 43_200..=now() + 43_200).contains(&due), "{due}");
        assert_eq!(names.renew(due - 1).await.unwrap(), Some(due));
        assert_eq!(names.renew(0).await.unwrap(), Some(due));
        assert_eq!(sequences(), [1, 1, 2]);
        // A newer key signs it from now on.
        keys.send_replace(Some(certified(&node, 2)));
        assert_eq!(names.renew(due).await.unwrap(), Some(due + 43_200));
        assert_eq!(sequences(), [2, 1, 2]);
        let renewed = known("always");
        assert_eq!((renewed.entry().hash, renewed.entry().expires), (hash, due + 86_400));
        assert!(renewed.version() > known("once").version());
        // After a long time without power as well.
        assert_eq!(names.renew(due + 500_000).await.unwrap(), Some(due + 543_200));
        assert_eq!(sequences(), [3, 1, 2]);
        // Another node has other names.
        keys.send_replace(Some(certified(&PrivateKey::generate().unwrap(), 1)));
        assert_eq!(names.renew(due + 900_000).await.unwrap(), None);
    }
}

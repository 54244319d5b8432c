//! What nodes say of their links: this one's own, and what is handed on of others.

use octet_node::say;
use std::time::{Duration, Instant};

use super::{Daemon, milliseconds, seconds};
use crate::announcement::{self, Announcement, LIFETIME, SignedAnnouncement};
use crate::control::LinkMessage;
use crate::engine::LinkNumber;
use crate::topology::{AnnouncementResult, Topology};

/// After how many seconds this node says again what its links are, and after how many at the earliest:
/// others take no two within [`MIN_INTERVAL`](crate::topology::MIN_INTERVAL).
const AGAIN: u64 = 1200;
const EARLIEST: u64 = 3;

/// After how many seconds each neighbour is told one more of the announcements that are known, in turn: what
/// was lost on its way comes once more.
const TURN: u64 = 5;

/// The pause before a neighbour is told all once more.
const RETRY_DELAY: Duration = Duration::from_secs(10);

impl Daemon {
    /// A neighbour hands on what some node says of its links.
    pub(super) async fn announced(&mut self, from: LinkNumber, bytes: &[u8]) {
        let Some(topology) = &mut self.topology else { return };
        let Some(neighbour) = self.open.get(&from).map(|open| open.neighbour.address()) else {
            return;
        };
        if topology.knows(bytes) || !topology.may_read(neighbour, seconds()) {
            return;
        }
        let Ok(announcement) = SignedAnnouncement::from_bytes(bytes) else { return };
        if topology.hear(announcement, seconds(), Some(neighbour)) == AnnouncementResult::New {
            self.flood(bytes, Some(from)).await;
        }
    }

    async fn flood(&mut self, bytes: &[u8], but: Option<LinkNumber>) {
        let up = self.open.iter().filter(|(_, it)| it.is_up).map(|(link, _)| *link);
        for link in up.filter(|link| Some(*link) != but) {
            self.say(link, &LinkMessage::Announcement(bytes.to_vec())).await;
        }
    }

    /// Tells a neighbour all that is known, but not more often than it can have forgotten it.
    pub(super) async fn tell_all(&mut self, link: LinkNumber) {
        let Some(open) = self.open.get_mut(&link) else { return };
        let now = Instant::now();
        if open.told.is_some_and(|last| now.saturating_duration_since(last) < RETRY_DELAY) {
            return;
        }
        open.told = Some(now);
        for bytes in self.announcements() {
            self.say(link, &LinkMessage::Announcement(bytes)).await;
        }
    }

    fn announcements(&self) -> Vec<Vec<u8>> {
        self.topology.iter().flat_map(Topology::iter).map(SignedAnnouncement::to_bytes).collect()
    }

    /// Forgets what does not count any more, and tells all neighbours one of the rest, when it is time for the next.
    pub(super) async fn tell_in_turn(&mut self, now: u64) {
        if let Some(topology) = &mut self.topology {
            topology.expire(now);
        }
        if now.is_multiple_of(TURN) {
            let all = self.announcements();
            self.turns = self.turns.wrapping_add(1);
            if let Some(bytes) = all.get(self.turns % all.len().max(1)) {
                self.flood(bytes, None).await;
            }
        }
    }

    /// Says which links this node has, if that is another answer than the last time, or long ago.
    pub(super) async fn announce(&mut self, now: u64) {
        let Some(own) = &self.own else { return };
        let up = self.open.iter().filter(|(_, it)| it.is_up);
        // How much a link carries is known later than that it is up, and as soon as it is, all are told.
        let up: Vec<_> = up.map(|(link, it)| (*link, it.trains.capacity().is_some())).collect();
        let due = match &self.told {
            None => true,
            Some((at, links)) => now >= at + AGAIN || *links != up && now >= at + EARLIEST,
        };
        if !due {
            return;
        }
        let mut links: Vec<_> = up
            .iter()
            .filter_map(|(link, _)| self.open.get(link))
            .map(|open| {
                let capacity = open.trains.capacity().unwrap_or(0);
                open.probes.quality().announced(open.neighbour.address(), capacity)
            })
            .collect();
        links.sort_unstable_by_key(|link| link.neighbour);
        links.truncate(announcement::LINKS);
        let said = Announcement {
            sequence: milliseconds(),
            issued: now,
            lifetime: LIFETIME,
            onion_key: *self.onion.public(),
            relays: true,
            exit: false,
            price: 0,
            links,
        };
        match SignedAnnouncement::sign(said, own.certificate.clone(), &own.key) {
            Ok(announcement) => {
                let bytes = announcement.to_bytes();
                self.told = Some((now, up));
                if let Some(topology) = &mut self.topology {
                    topology.hear(announcement, now, None);
                }
                self.flood(&bytes, None).await;
            }
            Err(error) => say!("this node's links are not told: {error}"),
        }
    }
}

//! Announcements: this node's own, and the flooding of others.

use octet_node::say;
use std::time::{Duration, Instant};

use super::{Daemon, milliseconds, seconds};
use crate::announcement::{self, Announcement, LIFETIME, SignedAnnouncement};
use crate::control::LinkMessage;
use crate::engine::LinkNumber;
use crate::topology::{AnnouncementResult, Topology};

/// The interval of repeated announcements, and the minimum interval, both in seconds. Receivers drop
/// announcements that follow within [`MIN_INTERVAL`](crate::topology::MIN_INTERVAL).
const AGAIN: u64 = 1200;
const EARLIEST: u64 = 3;

/// The interval in seconds at which each neighbour is sent one more known announcement, in turn. This repairs
/// losses.
const TURN: u64 = 5;

/// The pause before all announcements are sent to a neighbour again.
const RETRY_DELAY: Duration = Duration::from_secs(10);

impl Daemon {
    /// Handles an announcement that a neighbour has forwarded.
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

    /// Sends all known announcements to a neighbour, at most once in [`RETRY_DELAY`].
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

    /// Expires announcements, and sends the next one in turn to all neighbours if it is due.
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

    /// Announces this node's links if they have changed, or if the last announcement is old.
    pub(super) async fn announce(&mut self, now: u64) {
        let Some(own) = &self.own else { return };
        let up = self.open.iter().filter(|(_, it)| it.is_up);
        // The capacity of a link is known later than its state, and is announced as soon as it is known.
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

//! Announcements: this node's own, and the flooding of others.

use octet_node::address::NodeAddress;
use octet_node::say;
use octet_node::sub_key::Certified;
use std::time::{Duration, Instant};

use super::neighbour_links::NeighbourLinks;
use super::{milliseconds, seconds};
use crate::announcement::{self, Announcement, LIFETIME, SignedAnnouncement};
use crate::control::LinkMessage;
use crate::engine::LinkNumber;
use crate::onion::OnionSecret;
use crate::topology::{AnnouncementResult, Topology};

/// The interval of repeated announcements, and the minimum interval, both in seconds. Receivers drop
/// announcements that follow within [`MIN_INTERVAL`](crate::topology::MIN_INTERVAL).
const REFRESH_INTERVAL: u64 = 1200;
const MIN_ANNOUNCE_INTERVAL: u64 = 3;

/// The interval in seconds at which each neighbour is sent one more known announcement, in turn. This repairs
/// losses.
const REPEAT_INTERVAL: u64 = 5;

/// The pause before all announcements are sent to a neighbour again.
const RESEND_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the network, and what this node has announced of itself.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// The known network, once this node's own key is known.
    pub topology: Option<Topology>,
    /// How many announcements were repeated in turn.
    turns: usize,
    /// When this node last announced its links, which ones, and whether their capacity was known.
    last: Option<(u64, Vec<(LinkNumber, bool)>)>,
}

impl Announcements {
    /// Those of a node that knows no other yet.
    pub fn new(node: NodeAddress) -> Self {
        Self { topology: Some(Topology::new(node)), ..Self::default() }
    }

    /// Handles an announcement that a neighbour has forwarded.
    pub async fn handle_announcement(
        &mut self,
        from: LinkNumber,
        bytes: &[u8],
        links: &NeighbourLinks,
    ) {
        let Some(topology) = &mut self.topology else { return };
        let Some(neighbour) = links.open.get(&from).map(|open| open.neighbour.address()) else {
            return;
        };
        if topology.knows(bytes) || !topology.allow(neighbour, seconds()) {
            return;
        }
        let Ok(announcement) = SignedAnnouncement::from_bytes(bytes) else { return };
        if topology.insert(announcement, seconds(), Some(neighbour)) == AnnouncementResult::New {
            links.flood(bytes, Some(from)).await;
        }
    }

    /// Sends all known announcements to a neighbour, at most once in [`RESEND_INTERVAL`].
    pub async fn send_all(&self, link: LinkNumber, links: &mut NeighbourLinks) {
        let Some(open) = links.open.get_mut(&link) else { return };
        let now = Instant::now();
        if open
            .announced_at
            .is_some_and(|last| now.saturating_duration_since(last) < RESEND_INTERVAL)
        {
            return;
        }
        open.announced_at = Some(now);
        for bytes in self.all() {
            links.send(link, &LinkMessage::Announcement(bytes)).await;
        }
    }

    fn all(&self) -> Vec<Vec<u8>> {
        self.topology.iter().flat_map(Topology::iter).map(SignedAnnouncement::to_bytes).collect()
    }

    /// Expires announcements, and sends the next one in turn to all neighbours if it is due.
    pub async fn send_next(&mut self, now: u64, links: &NeighbourLinks) {
        if let Some(topology) = &mut self.topology {
            topology.expire(now);
        }
        if now.is_multiple_of(REPEAT_INTERVAL) {
            let all = self.all();
            self.turns = self.turns.wrapping_add(1);
            if let Some(bytes) = all.get(self.turns % all.len().max(1)) {
                links.flood(bytes, None).await;
            }
        }
    }

    /// Announces this node's links if they have changed, or if the last announcement is old.
    pub async fn announce(
        &mut self,
        own: &Certified,
        onion: &OnionSecret,
        now: u64,
        links: &NeighbourLinks,
    ) {
        // The capacity of a link is known later than its state, and is announced as soon as it is known.
        let up = links.up().map(|(link, it)| (link, it.trains.capacity().is_some()));
        let up: Vec<_> = up.collect();
        let due = match &self.last {
            None => true,
            Some((at, links)) => {
                now >= at + REFRESH_INTERVAL || *links != up && now >= at + MIN_ANNOUNCE_INTERVAL
            }
        };
        if !due {
            return;
        }
        let announced = links.up().map(|(_, open)| {
            let capacity = open.trains.capacity().unwrap_or(0);
            open.probes.quality().announcement(open.neighbour.address(), capacity)
        });
        let mut announced: Vec<_> = announced.collect();
        announced.sort_unstable_by_key(|link| link.neighbour);
        announced.truncate(announcement::LINKS);
        let said = Announcement {
            sequence: milliseconds(),
            issued: now,
            lifetime: LIFETIME,
            onion_key: *onion.public(),
            relays: true,
            exit: false,
            price: 0,
            links: announced,
        };
        match SignedAnnouncement::sign(said, own.certificate.clone(), &own.key) {
            Ok(announcement) => {
                let bytes = announcement.to_bytes();
                self.last = Some((now, up));
                if let Some(topology) = &mut self.topology {
                    topology.insert(announcement, now, None);
                }
                links.flood(&bytes, None).await;
            }
            Err(error) => say!("this node's links are not announced: {error}"),
        }
    }
}

//! Announcements of nodes.

use octet_forward::announcement::{LIFETIME, LINKS, LONGEST, SignedAnnouncement};
use octet_forward::topology::{AnnouncementResult, Topology};

/// Bytes are refused, or are the canonical encoding of a valid announcement. The topology
/// recognises the same bytes, and accepts an announcement once.
pub fn announcement(bytes: &[u8]) {
    let Ok(signed) = SignedAnnouncement::from_bytes(bytes) else { return };
    assert!(bytes.len() <= LONGEST);
    assert_eq!(signed.to_bytes(), bytes);
    let announcement = signed.announcement();
    assert!((1..=LIFETIME).contains(&announcement.lifetime));
    assert!(announcement.links.len() <= LINKS);
    for link in &announcement.links {
        assert_ne!(link.neighbour, signed.address());
        assert_eq!(announcement.link(link.neighbour), Some(link));
    }
    let now = announcement.issued;
    let mut topology = Topology::new(signed.address());
    assert_eq!(
        topology.insert(signed.clone(), now, Some(signed.address())),
        AnnouncementResult::Own
    );
    assert!(!topology.knows(bytes));
    let heard = topology.insert(signed.clone(), now, None);
    // An announcement that is issued at the maximum time has expired before.
    if heard == AnnouncementResult::New {
        assert!(topology.knows(bytes));
        assert_eq!(topology.insert(signed, now, None), AnnouncementResult::Known);
    } else {
        assert_eq!(heard, AnnouncementResult::Expired);
    }
}

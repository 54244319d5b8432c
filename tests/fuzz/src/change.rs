//! Changes of paths from neighbours, and the session by which a hop authenticates them.

use octet_forward::onion::{CHANGE, HopChange, HopSession, PLAIN, SESSION};

/// The input is a session and then a change. The encoding of a session is canonical. A refused
/// change leaves the session unchanged, an accepted one is not accepted again. The content of a
/// change has one encoding.
pub fn change(bytes: &[u8]) {
    if let Some(plain) = bytes.first_chunk::<PLAIN>()
        && let Some(change) = HopChange::from_bytes(plain)
    {
        assert_eq!(change.to_bytes(), *plain);
    }
    let Some((kept, rest)) = bytes.split_first_chunk::<SESSION>() else { return };
    let Some(mut session) = HopSession::from_bytes(kept) else { return };
    assert_eq!(session.to_bytes(), *kept);
    let Some(message) = rest.first_chunk::<CHANGE>() else { return };
    let before = session.clone();
    if session.change(message).is_ok() {
        let after = session.clone();
        assert_ne!(after, before);
        assert!(session.change(message).is_err());
        assert_eq!(session, after);
    } else {
        assert_eq!(session, before);
    }
}

//! Changes of paths, as neighbours send them, and what a hop keeps to tell whose they are.

use octet_forward::onion::{CHANGE, HopChange, HopSession, PLAIN, SESSION};

/// The input is a session, then a change. A session that is read is written the same; a change that is refused
/// leaves it as it was; one that is taken is not taken again. What a change says has one encoding.
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

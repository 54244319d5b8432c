//! The keys and mailboxes that people publish, and invites.

use octet_messages::card::ContactCard;
use octet_messages::invite::Invite;
use octet_messages::prekey::{Bundle, Prekey, check};

/// Bytes are refused, or are the canonical encoding of a bundle, a card or a prekey, all signed by
/// the card's owner. Text is refused, or equals the invite that is encoded again.
pub fn bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::from_bytes(bytes) {
        assert_eq!(bundle.to_bytes(), bytes);
        let (name, card) = (bundle.card.name(), bundle.card.to_bytes());
        for prekey in &bundle.prekeys {
            let found = check(&card, &prekey.to_bytes(), &name);
            assert_eq!(found, Some((bundle.card.clone(), prekey.clone())));
            assert_eq!(check(&card, &prekey.to_bytes(), &bundle.card.key()), None);
        }
    }
    if let Ok(card) = ContactCard::from_bytes(bytes) {
        assert_eq!(card.to_bytes(), bytes);
    }
    if let Some(prekey) = Prekey::from_bytes(bytes) {
        assert_eq!(prekey.to_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(invite) = text.parse::<Invite>()
    {
        assert!(!invite.places.is_empty());
        assert_eq!(invite.to_string().parse(), Ok(invite));
    }
}

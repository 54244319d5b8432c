//! Requests to mailboxes, and envelopes.

use octet_messages::envelope::{Seal, is_size, seal};
use octet_messages::letter::Letter;
use octet_messages::record::PersonRecord;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_node::key::PrivateKey;

/// The secret to which the inputs in `corpus/` are sealed, and the seed of the receiver's name key.
const SECRET: [u8; 32] = [1; 32];
const NAME: [u8; 32] = [2; 32];

/// Bytes are refused, or decode to what they were encoded from. An envelope opens for the name that
/// it was sealed for, and for no other.
pub fn envelope(bytes: &[u8]) {
    if let Some(request) = SignedRequest::from_bytes(bytes) {
        assert_eq!(SignedRequest::from_bytes(&request.to_bytes()), Some(request));
    }
    if let Some(answer) = MailboxReply::from_bytes(bytes) {
        assert_eq!(MailboxReply::from_bytes(&answer.to_bytes()), Some(answer));
    }
    if let Some(record) = PersonRecord::from_bytes(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
    if let Some(letter) = Letter::from_bytes(bytes) {
        let again = Letter::from_bytes(&letter.to_bytes()).map(|it| (it.card, it.number));
        assert_eq!(again, Some((letter.card, letter.number)));
    }
    let own = Seal::new(SECRET).expect("32 bytes");
    let [name, other] =
        [NAME, SECRET].map(|seed| PrivateKey::from_seed(seed).expect("32 bytes").public());
    if own.open(bytes, &name).is_some() {
        assert!(is_size(bytes.len()) && own.open(bytes, &other).is_none());
    }
    // Every sealed envelope has a valid size, and opens.
    if let Some(sealed) = seal(bytes, &name, &own.public()) {
        assert!(is_size(sealed.len()));
        assert_eq!(own.open(&sealed, &name).as_deref(), Some(bytes));
        assert_eq!(own.open(&sealed, &other), None);
    }
}

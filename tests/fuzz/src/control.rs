//! Messages about paths between neighbours.

use octet_forward::control::{LONGEST, LinkMessage};
use octet_forward::label::Label;

/// Bytes are refused, or are the canonical encoding of a message, which fits into a packet and has
/// valid labels.
pub fn control(bytes: &[u8]) {
    let Some(message) = LinkMessage::from_bytes(bytes) else { return };
    assert!(bytes.len() <= LONGEST);
    assert_eq!(message.to_bytes(), bytes);
    if let LinkMessage::SetUp { reverse_label: label, .. }
    | LinkMessage::Answer { label: Some(label), .. } = message
    {
        assert_eq!(Label::new(label.get()), Some(label));
    }
}

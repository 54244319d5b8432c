//! Messages between the ends of a path within it.

use std::net::Ipv6Addr;

use octet_forward::exchange::public;
use octet_forward::introduction::{About, EndRole, Inner, is_at_the_other_end};
use octet_node::address::NodeAddress;

/// The path secrets with which the inputs in `corpus/` were signed: of the speaker, and of the
/// listener.
const SECRETS: ([u8; 32], [u8; 32]) = ([1; 32], [2; 32]);

/// The address of the listener.
const LISTENS: Ipv6Addr = Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 2);

/// Bytes are refused, or are the canonical encoding of a message. An introduction proves the
/// speaker's identity on this path and to this listener only.
pub fn introduction(bytes: &[u8]) {
    let Some(message) = Inner::from_bytes(bytes) else { return };
    assert_eq!(message.to_bytes(), bytes);
    let Inner::Introduction { certificate, signature, .. } = message else { return };
    let speaks = NodeAddress::of(&certificate.statement().node).ip();
    let keys = (public(&SECRETS.0), public(&SECRETS.1));
    let about = About { role: EndRole::Source, nodes: (speaks, LISTENS), keys };
    let is = |about: &About| is_at_the_other_end(&certificate, &signature, about);
    if is(&about) {
        assert_eq!(certificate.statement().unit.as_str(), "forward");
        assert!(!is(&About { role: EndRole::End, ..about }));
        assert!(!is(&About { nodes: (speaks, speaks), ..about }));
        assert!(!is(&About { nodes: (LISTENS, LISTENS), ..about }));
        assert!(!is(&About { keys: (keys.1, keys.0), ..about }));
        assert!(!is(&About { keys: (keys.0, [3; 32]), ..about }));
    }
}

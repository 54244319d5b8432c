//! Messages between the ends of a path within it.

use std::net::Ipv6Addr;

use octet_forward::exchange::public;
use octet_forward::introduction::{EndRole, Inner, IntroductionContext, verify_introduction};
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
    let speaks = NodeAddress::of(&certificate.body().node).ip();
    let keys = (public(&SECRETS.0), public(&SECRETS.1));
    let about = IntroductionContext { role: EndRole::Source, nodes: (speaks, LISTENS), keys };
    let is = |about: &IntroductionContext| verify_introduction(&certificate, &signature, about);
    if is(&about) {
        assert_eq!(certificate.body().unit.as_str(), "forward");
        assert!(!is(&IntroductionContext { role: EndRole::End, ..about }));
        assert!(!is(&IntroductionContext { nodes: (speaks, speaks), ..about }));
        assert!(!is(&IntroductionContext { nodes: (LISTENS, LISTENS), ..about }));
        assert!(!is(&IntroductionContext { keys: (keys.1, keys.0), ..about }));
        assert!(!is(&IntroductionContext { keys: (keys.0, [3; 32]), ..about }));
    }
}

//! Certificates of services' keys, node descriptors, which are such certificates, and a gate's
//! first frame, which contains one.

use octet_appliance::{InvalidPeerDescriptor, PeerDescriptor};
use octet_node::certificate::Certificate;
use octet_node::hello::Hello;

/// The unit whose key a descriptor certifies.
const UNIT: &str = "forward";

/// Bytes are refused, or are the canonical encoding of a certificate. Both decoders of descriptors
/// agree. A decoded hello is the same after it was encoded again.
pub fn certificate(bytes: &[u8]) {
    let (certificate, descriptor) =
        (Certificate::from_bytes(bytes), PeerDescriptor::from_bytes(bytes));
    if let Ok(certificate) = &certificate {
        assert_eq!(certificate.to_bytes(), bytes);
        let text = String::from(certificate.clone());
        assert_eq!(Certificate::try_from(text), Ok(certificate.clone()));
        // A weak key can be certified.
        let is_ours = certificate.statement().unit.as_str() == UNIT;
        assert_eq!(
            is_ours,
            matches!(descriptor, Ok(_) | Err(InvalidPeerDescriptor::Key)),
            "{descriptor:?}"
        );
    }
    if let Ok(descriptor) = descriptor {
        let certificate = certificate.expect("a descriptor is a certificate");
        let statement = certificate.statement();
        assert_eq!((descriptor.node(), descriptor.key()), (statement.node, statement.key));
        assert_eq!(descriptor.to_string(), String::from(certificate));
        assert_eq!(descriptor.to_string().parse(), Ok(descriptor));
    }
    if let Ok(hello) = serde_json::from_slice::<Hello>(bytes) {
        let json = serde_json::to_vec(&hello).expect("a hello is JSON");
        assert_eq!(serde_json::from_slice::<Hello>(&json).ok(), Some(hello));
    }
}

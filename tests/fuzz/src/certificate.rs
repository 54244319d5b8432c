//! Certificates of services' keys, and a gate's first frame, which carries one.

use octet_node::certificate::Certificate;
use octet_node::hello::Hello;

/// Bytes are refused, or are the one encoding of a certificate; a hello that is read says the same
/// again.
///
/// # Panics
/// It is not so.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
        let text = String::from(certificate.clone());
        assert_eq!(Certificate::try_from(text), Ok(certificate));
    }
    if let Ok(hello) = serde_json::from_slice::<Hello>(bytes) {
        let json = serde_json::to_vec(&hello).expect("a hello is JSON");
        assert_eq!(serde_json::from_slice::<Hello>(&json).ok(), Some(hello));
    }
}

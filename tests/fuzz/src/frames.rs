//! Frames of the control protocol, and the JSON in them.

use octet_control::{ClientMessage, Connection, Decoder, Reply, encode};

/// A bound that no answer to these inputs reaches, in bytes.
const MAX: usize = 1 << 20;

/// Bytes give the same payloads however they are split into pieces. A payload survives encoding and
/// decoding. The answer of a server is bounded.
pub fn frames(bytes: &[u8]) {
    let whole = payloads(bytes, bytes.len().max(1));
    assert_eq!(whole, payloads(bytes, 1));
    assert_eq!(whole, payloads(bytes, 7));
    for payload in &whole {
        let mut framed = Vec::new();
        encode(payload, &mut framed).expect("it was in a frame");
        assert_eq!(payloads(&framed, framed.len()), std::slice::from_ref(payload));
        if let Ok(message) = serde_json::from_slice::<ClientMessage>(payload) {
            let json = serde_json::to_vec(&message).expect("a message is JSON");
            assert_eq!(serde_json::from_slice::<ClientMessage>(&json).ok(), Some(message));
        }
        if let Ok(reply) = serde_json::from_slice::<Reply>(payload) {
            serde_json::to_vec(&reply).expect("a reply is JSON");
        }
    }
    for closable in [false, true] {
        let mut connection = Connection::default();
        for piece in bytes.chunks(64) {
            let messages = connection.received(piece, closable);
            assert!(messages.len() <= piece.len().max(1));
        }
        assert!(connection.pending().len() < MAX);
        connection.sent(MAX);
        assert!(!closable || !connection.has_pending());
    }
}

/// All payloads in `bytes`, which arrive in pieces of `size`; invalid frames are skipped.
fn payloads(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next_payload() {
                Ok(None) => break,
                Ok(Some(payload)) => found.push(payload),
                Err(_) => decoder.resynchronise(),
            }
        }
    }
    found
}

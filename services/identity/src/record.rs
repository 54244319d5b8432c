//! The persisted registry: a line of JSON, and a line with the node's signature, so that damage and
//! the registries of other nodes are detected.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use octet_node::key::{Domain, PrivateKey, verify};
use serde::{Deserialize, Serialize};

use crate::registry::KeyRegistry;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    book: KeyRegistry,
}

pub fn encode(book: &KeyRegistry, node: &PrivateKey) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_string(&Record { version: VERSION, book: book.clone() })?;
    let signature = STANDARD.encode(node.sign(Domain::Book, json.as_bytes()));
    Ok(format!("{json}\n{signature}\n").into_bytes())
}

/// Decodes a registry; `None` if it is damaged, or not signed by `node`.
pub fn decode(bytes: &[u8], node: &PrivateKey) -> Option<KeyRegistry> {
    let (json, signature) = lines(bytes)?;
    let signature = STANDARD.decode(signature).ok()?;
    if !verify(&node.public(), Domain::Book, json.as_bytes(), &signature) {
        return None;
    }
    parse(json)
}

/// Whether the registry is empty, whoever has signed it.
pub fn is_empty(bytes: &[u8]) -> bool {
    lines(bytes).and_then(|(json, _)| parse(json)).is_some_and(|book| book.is_empty())
}

fn lines(bytes: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once('\n')
}

fn parse(json: &str) -> Option<KeyRegistry> {
    let record: Record = serde_json::from_str(json).ok()?;
    (record.version == VERSION).then_some(record.book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn book(key: &PrivateKey) -> KeyRegistry {
        let mut book = KeyRegistry::default();
        book.accept(&"gate".parse().unwrap(), key.public(), 7).unwrap();
        book
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let (node, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let book = book(&other);
        let whole = encode(&book, &node).unwrap();
        assert_eq!(decode(&whole, &node), Some(book.clone()));
        assert_eq!(decode(&whole, &other), None);
        assert!(!is_empty(&whole) && is_empty(&encode(&KeyRegistry::default(), &node).unwrap()));
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed, &node), None, "bit {bit}");
        }
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length], &node), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let node = PrivateKey::generate().unwrap();
            prop_assert_eq!(decode(&bytes, &node), None);
            is_empty(&bytes);
        }
    }
}

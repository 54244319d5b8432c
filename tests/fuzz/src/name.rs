//! Name records of `cache`.

use octet_appliance::NamePath;
use octet_cache::names::NameRecord;

/// Bytes are refused, or are the canonical encoding of a record. A parsed path is the same after
/// formatting.
pub fn name(bytes: &[u8]) {
    if let Ok(record) = NameRecord::from_bytes(bytes) {
        assert_eq!(record.to_bytes(), bytes);
        let path = record.entry().path.as_str();
        assert_eq!(path.parse(), Ok(record.entry().path.clone()));
        assert!(path.split('/').all(|part| !part.is_empty() && part != ".."));
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(path) = text.parse::<NamePath>()
    {
        assert_eq!(path.as_str(), text);
    }
}

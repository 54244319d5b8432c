//! Updates: the head of a bundle, the manifest, and entries of the boot loader.

use octet_bundle::{BundleHead, EntryName, Manifest, ParsedEntry, without_trial};

/// A head decodes to what it was encoded from. A manifest is the same after encoding and decoding,
/// and its chunks are contiguous. Entries are parsed from any text.
pub fn update(bytes: &[u8]) {
    if let Ok(head) = BundleHead::parse(bytes) {
        assert!(bytes.starts_with(&head.render().expect("it was parsed")));
        manifest(&head.manifest);
    }
    manifest(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for name in text.lines() {
        if let Some(parsed) = EntryName::parse(name) {
            assert_eq!(EntryName::parse(&parsed.to_string()), Some(parsed));
        }
    }
    let listed = ParsedEntry::parse(text);
    assert!(listed.files.iter().all(|path| !path.starts_with('/')));
    assert_eq!(ParsedEntry::parse(&without_trial(text)).files.len(), listed.files.len());
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert_eq!(Manifest::parse(&manifest.render()).expect("it was parsed"), manifest);
    assert!(!manifest.slot.as_str().contains(['/', '\\']) && manifest.slot.as_str() != "..");
    assert!(manifest.floor <= manifest.sequence && manifest.data.can_follow(&manifest.data));
    for (_, file) in manifest.files.all() {
        let mut next = (0, 0);
        for place in file.positions() {
            assert_eq!((place.at, place.stored_at), next);
            assert!(place.chunk.size > 0 && place.chunk.stored > 0);
            assert!(place.chunk.stored <= place.chunk.size && place.chunk.size <= 1 << 16);
            next.0 += u64::from(place.chunk.size);
            next.1 += u64::from(place.chunk.stored);
        }
        assert_eq!(next, (file.size, file.stored()));
    }
}

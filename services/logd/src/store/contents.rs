//! The content of a block: the names of units, then the entries.
//!
//! It starts with the number of names, and the length and bytes of each. Each entry has the
//! differences of its sequence number, time and uptime to the previous entry, the index of the
//! unit's name, the source (one byte), and the length and bytes of the text. Numbers are
//! [varints](super::varint).

use std::sync::Arc;

use crate::entry::{Entry, LONGEST, LogSource};

use super::varint::{put, put_step, take, take_step};

/// The size at which a block is closed, in bytes.
pub const TARGET: usize = 64 << 10;

/// The maximum size of a block's content, in bytes.
pub const MAX_RAW: usize = 72 << 10;

/// The maximum length of a unit's name, in bytes.
const LONGEST_NAME: usize = 64;

/// The maximum size of an entry without text and unit name, in bytes.
const OVERHEAD: usize = 48;

/// The number of `entries`, from the first, that fit into one block, at least one.
pub fn fit<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    let mut size = 0;
    let mut names: Vec<&str> = vec![];
    let fits = entries.take_while(|entry| {
        let more = size < TARGET;
        size += OVERHEAD + entry.text.len();
        if !names.contains(&&*entry.unit) {
            names.push(&entry.unit);
            size += LONGEST_NAME;
        }
        more
    });
    fits.count().max(1)
}

/// Encodes `entries` as the content of a block.
pub fn encode<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
    let mut names: Vec<&str> = vec![];
    let mut body = vec![];
    let (mut sequence, mut wall, mut uptime) = (None, 0, 0);
    for entry in entries {
        let known = names.iter().position(|name| **name == *entry.unit);
        let unit = known.unwrap_or_else(|| {
            names.push(&entry.unit);
            names.len() - 1
        });
        put(&mut body, entry.sequence.wrapping_sub(sequence.unwrap_or(entry.sequence)));
        put_step(&mut body, wall, entry.wall);
        put_step(&mut body, uptime, entry.uptime);
        (sequence, wall, uptime) = (Some(entry.sequence), entry.wall, entry.uptime);
        put(&mut body, unit as u64);
        body.push(entry.source.to_byte());
        let text = &entry.text[..entry.text.len().min(LONGEST)];
        put(&mut body, text.len() as u64);
        body.extend_from_slice(text);
    }
    let mut out = vec![];
    put(&mut out, names.len() as u64);
    for name in names {
        let name = &name.as_bytes()[..name.len().min(LONGEST_NAME)];
        put(&mut out, name.len() as u64);
        out.extend_from_slice(name);
    }
    out.append(&mut body);
    out
}

/// Decodes the entries in `raw`, which start with sequence number `first`; `None` if `raw` is
/// invalid.
pub fn decode(mut raw: &[u8], first: u64) -> Option<Vec<Entry>> {
    let bytes = &mut raw;
    let mut names: Vec<Arc<str>> = vec![];
    for _ in 0..take(bytes)? {
        names.push(String::from_utf8_lossy(take_bytes(bytes)?).into());
    }
    let mut entries: Vec<Entry> = vec![];
    let (mut sequence, mut wall, mut uptime) = (first, 0, 0);
    while !bytes.is_empty() {
        sequence = sequence.checked_add(take(bytes)?)?;
        wall = take_step(bytes, wall)?;
        uptime = take_step(bytes, uptime)?;
        let unit = names.get(usize::try_from(take(bytes)?).ok()?)?.clone();
        let (&source, rest) = bytes.split_first()?;
        *bytes = rest;
        let source = LogSource::from_byte(source)?;
        let text = take_bytes(bytes)?.into();
        entries.push(Entry { sequence, wall, uptime, unit, source, text });
    }
    Some(entries)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..300), first: u64) {
            decode(&raw, first);
        }

        #[test]
        fn come_back_within_the_bound(
            lines in prop::collection::vec(
                ("[a-z-]{1,64}", prop::collection::vec(any::<u8>(), 0..4096), any::<u32>(), any::<u64>()),
                1..100,
            ),
        ) {
            let mut sequence = 7;
            let entries: Vec<Entry> = lines.iter().map(|(unit, text, step, wall)| {
                sequence += 1 + u64::from(*step);
                Entry {
                    sequence, wall: *wall, uptime: wall.reverse_bits(), unit: unit.as_str().into(),
                    source: LogSource::Kernel(3), text: text.clone().into(),
                }
            }).collect();
            let count = fit(entries.iter());
            prop_assert!(count >= 1);
            let raw = encode(entries[..count].iter());
            prop_assert!(raw.len() <= MAX_RAW, "{}", raw.len());
            prop_assert_eq!(decode(&raw, entries[0].sequence).unwrap(), &entries[..count]);
        }
    }
}

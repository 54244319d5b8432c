//! Changing single values of the lock's text: comments, order and all else stay.

use std::collections::BTreeMap;
use std::ops::Range;

use octet_appliance::{FileError, parse};
use serde::Deserialize;
use toml::{Spanned, Value};

use super::{Input, Toolchain};
use crate::store::Fetched;

/// Where the values are. The lock was parsed and checked before.
#[derive(Debug, Deserialize)]
struct ValueSpans {
    epoch: Spanned<u32>,
    toolchain: BTreeMap<String, Spanned<String>>,
    input: Vec<BTreeMap<String, Spanned<Value>>>,
}

/// The lock's text, and what is to be changed in it.
pub struct Edit {
    text: String,
    spans: ValueSpans,
    changes: Vec<(Range<usize>, String)>,
}

impl Edit {
    /// Nothing is changed yet in `text`, the content of `file`.
    pub fn new(file: &str, text: &str) -> Result<Self, Box<FileError>> {
        let spans = parse(file, text)?;
        Ok(Self { text: text.to_owned(), spans, changes: vec![] })
    }

    pub fn epoch(&mut self, epoch: u32) {
        self.changes.push((self.spans.epoch.span(), epoch.to_string()));
    }

    pub fn toolchain(&mut self, toolchain: &Toolchain) {
        let rustc = format!("\"\"\"\n{}\"\"\"", toolchain.rustc);
        for (key, value) in [
            ("rustc", rustc),
            ("linker", quoted(&toolchain.linker)),
            ("libc", quoted(&toolchain.libc)),
        ] {
            if let Some(place) = self.spans.toolchain.get(key) {
                self.changes.push((place.span(), value));
            }
        }
    }

    /// Sets what is locked as `input` to what was fetched.
    pub fn input(&mut self, input: &Input, fetched: &Fetched) {
        // Two inputs of one name differ in their digests, and so in the places of these.
        let at = input.sha256.span();
        let is_it = |places: &&BTreeMap<String, Spanned<Value>>| {
            places.get("sha256").is_some_and(|place| place.span() == at)
        };
        let Some(places) = self.spans.input.iter().find(is_it) else { return };
        for (key, value) in [
            ("version", quoted(&fetched.version)),
            ("file", quoted(&fetched.file)),
            ("size", fetched.size.to_string()),
            ("sha256", quoted(&fetched.sha256.to_string())),
        ] {
            if let Some(place) = places.get(key) {
                self.changes.push((place.span(), value));
            }
        }
    }

    /// The text with all changes.
    pub fn finish(mut self) -> String {
        // From the end, so that the places before stay where they are.
        self.changes.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
        for (at, value) in self.changes {
            self.text.replace_range(at, &value);
        }
        self.text
    }
}

/// `text` as TOML writes it.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::lock::Lock;
    use crate::lock::tests::SMALL;
    use proptest::prelude::*;

    fn fetched(version: &str, size: u64) -> Fetched {
        let file = format!("a_{version}.deb");
        Fetched { version: version.into(), file, size, sha256: Sha256::of(b"other") }
    }

    #[test]
    fn comments_stay() {
        let text =
            SMALL.replace("[[input]]", "# why\n[[input]]").replace("size = 3", "size=3 # small");
        let lock = Lock::parse("appliance.lock", text.clone()).unwrap();
        let mut edit = Edit::new("appliance.lock", &text).unwrap();
        edit.input(&lock.content.input[0], &fetched("2", 77));
        edit.epoch(8);
        let rustc = "r 2\nhost\n".to_owned();
        edit.toolchain(&Toolchain { rustc, linker: "l \"2\"".into(), libc: "m".into() });
        let new = edit.finish();
        assert!(new.contains("# why\n[[input]]") && new.contains("size=77 # small"), "{new}");
        let lock = Lock::parse("appliance.lock", new).unwrap().content;
        assert_eq!((lock.epoch, lock.toolchain.rustc.as_str()), (8, "r 2\nhost\n"));
        assert_eq!(lock.toolchain.linker, "l \"2\"");
        let input = &lock.input[0];
        assert_eq!((input.version.as_str(), input.file.as_str(), input.size), ("2", "a_2.deb", 77));
        assert_eq!(*input.sha256.get_ref(), Sha256::of(b"other"));
        assert_eq!(input.name.get_ref(), "a");
    }

    proptest! {
        #[test]
        fn what_is_set_is_read(version in "[ -~]{0,20}", size in 0..1u64 << 62, epoch: u32) {
            let lock = Lock::parse("appliance.lock", SMALL.into()).unwrap();
            let mut edit = Edit::new("appliance.lock", SMALL).unwrap();
            edit.epoch(epoch);
            edit.input(&lock.content.input[0], &fetched(&version, size));
            let new = Lock::parse("appliance.lock", edit.finish()).unwrap().content;
            prop_assert_eq!((new.epoch, new.input[0].size), (epoch, size));
            prop_assert_eq!(&new.input[0].version, &version);
            prop_assert_eq!(new.toolchain, lock.content.toolchain);
        }
    }
}

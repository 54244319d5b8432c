//! Whether two folders hold the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The first file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDifference {
    /// Only one of the two has it.
    Missing {
        file: PathBuf,
        /// Whether the first one lacks it, rather than the second.
        in_first: bool,
    },
    Content {
        file: PathBuf,
        /// The first byte that differs, counted from 0; where the shorter one ends, if it is the
        /// beginning of the other.
        at: u64,
    },
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct ComparedTotals {
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Compares all files below two folders, by name, but for those that are `left_out`. Links are no part of an image.
///
/// # Errors
/// One of them cannot be read.
pub fn compare(
    first: &Path,
    second: &Path,
    left_out: &[&str],
) -> io::Result<Result<ComparedTotals, FileDifference>> {
    let files = |folder| {
        let mut files = files(folder)?;
        files.retain(|file| left_out.iter().all(|name| file != Path::new(name)));
        io::Result::Ok(files)
    };
    let (ours, theirs) = (files(first)?, files(second)?);
    let mut same = ComparedTotals::default();
    for file in ours.union(&theirs) {
        let file = file.clone();
        if !ours.contains(&file) || !theirs.contains(&file) {
            let in_first = !ours.contains(&file);
            return Ok(Err(FileDifference::Missing { file, in_first }));
        }
        match first_difference(&first.join(&file), &second.join(&file))? {
            Ok(bytes) => same = ComparedTotals { files: same.files + 1, bytes: same.bytes + bytes },
            Err(at) => return Ok(Err(FileDifference::Content { file, at })),
        }
    }
    Ok(Ok(same))
}

fn files(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned());
            }
        }
    }
    Ok(found)
}

/// The files' length, or where they begin to differ.
fn first_difference(first: &Path, second: &Path) -> io::Result<Result<u64, u64>> {
    let mut files = [File::open(first)?, File::open(second)?];
    let mut pieces = [vec![0; 1 << 18], vec![0; 1 << 18]];
    let mut at = 0;
    loop {
        let mut sizes = [0; 2];
        for ((file, piece), size) in files.iter_mut().zip(&mut pieces).zip(&mut sizes) {
            // Both are filled as far as they go, so that they can be laid side by side.
            while *size < piece.len() {
                match file.read(&mut piece[*size..])? {
                    0 => break,
                    count => *size += count,
                }
            }
        }
        let [ours, theirs] = [&pieces[0][..sizes[0]], &pieces[1][..sizes[1]]];
        if ours != theirs {
            let differ = ours.iter().zip(theirs).position(|(a, b)| a != b);
            return Ok(Err(at + differ.unwrap_or(sizes[0].min(sizes[1])) as u64));
        }
        if sizes[0] == 0 {
            return Ok(Ok(at));
        }
        at += sizes[0] as u64;
    }
}

/// The paths in the image that differ, by the `manifest.json` of both: which list, path, what.
pub fn paths(first: &[u8], second: &[u8]) -> Vec<String> {
    let (ours, theirs) = (items(first), items(second));
    let all: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let say = |key: &(String, String)| {
        let (list, path) = key;
        let what = match (ours.get(key), theirs.get(key)) {
            (Some(a), Some(b)) if a == b => return None,
            (Some(a), Some(b)) => fields(a, b),
            (None, _) => "only in the second build".into(),
            (_, None) => "only in the first build".into(),
        };
        Some(format!("{list}: {path}: {what}"))
    };
    all.into_iter().filter_map(say).collect()
}

/// Everything in a manifest that has a path, by its list and path.
fn items(manifest: &[u8]) -> BTreeMap<(String, String), Value> {
    let Ok(Value::Object(lists)) = serde_json::from_slice(manifest) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (list, content) in lists {
        let Value::Array(content) = content else { continue };
        for item in content {
            if let Some(path) = item["path"].as_str().map(str::to_owned) {
                found.insert((list.clone(), path), item);
            }
        }
    }
    found
}

/// The names of the fields that differ.
fn fields(a: &Value, b: &Value) -> String {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return "it differs".into() };
    let names: BTreeSet<_> =
        a.keys().chain(b.keys()).filter(|name| a.get(*name) != b.get(*name)).collect();
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two folders with the same three files.
    fn folders() -> (tempfile::TempDir, [PathBuf; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let both = ["a", "b"].map(|name| folder.path().join(name));
        for path in &both {
            fs::create_dir_all(path.join("boot")).unwrap();
            fs::write(path.join("SHA256SUMS"), "sums").unwrap();
            fs::write(path.join("boot/initrd"), vec![7; 700_000]).unwrap();
            fs::write(path.join("boot/linux"), vec![8; 10]).unwrap();
        }
        (folder, both)
    }

    #[test]
    fn a_flipped_byte_is_found() {
        let (_folder, [first, second]) = folders();
        let same = ComparedTotals { files: 3, bytes: 700_014 };
        assert_eq!(compare(&first, &second, &[]).unwrap(), Ok(same));
        for at in [0, 262_143, 262_144, 699_999] {
            let mut bytes = vec![7; 700_000];
            bytes[at] ^= 1;
            fs::write(second.join("boot/initrd"), bytes).unwrap();
            // A later one too: the first is told.
            fs::write(second.join("boot/linux"), [9; 10]).unwrap();
            let difference = FileDifference::Content { file: "boot/initrd".into(), at: at as u64 };
            assert_eq!(compare(&first, &second, &[]).unwrap(), Err(difference));
        }
    }

    #[test]
    fn what_is_left_out_may_be_there() {
        let (_folder, [first, second]) = folders();
        fs::write(first.join("update.json"), "signed").unwrap();
        let missing = FileDifference::Missing { file: "update.json".into(), in_first: false };
        assert_eq!(compare(&first, &second, &[]).unwrap(), Err(missing));
        let same = ComparedTotals { files: 3, bytes: 700_014 };
        assert_eq!(compare(&first, &second, &["update.json"]).unwrap(), Ok(same));
        // One of that name elsewhere is another file.
        fs::write(first.join("boot/update.json"), "").unwrap();
        assert!(compare(&first, &second, &["update.json"]).unwrap().is_err());
    }

    #[test]
    fn a_shorter_or_missing_file_is_found() {
        let (_folder, [first, second]) = folders();
        fs::write(second.join("boot/initrd"), vec![7; 300_000]).unwrap();
        let shorter = FileDifference::Content { file: "boot/initrd".into(), at: 300_000 };
        assert_eq!(compare(&first, &second, &[]).unwrap(), Err(shorter.clone()));
        assert_eq!(compare(&second, &first, &[]).unwrap(), Err(shorter));
        fs::remove_file(second.join("boot/initrd")).unwrap();
        let missing =
            |in_first| Err(FileDifference::Missing { file: "boot/initrd".into(), in_first });
        assert_eq!(compare(&first, &second, &[]).unwrap(), missing(false));
        assert_eq!(compare(&second, &first, &[]).unwrap(), missing(true));
    }

    #[test]
    fn the_manifests_tell_which_path() {
        let manifest = |sha256: &str, more: &str| {
            format!(
                r#"{{"target": "x", "root": [{{"path": "/bin/a", "sha256": "{sha256}", "mode": "0755"}}{more}],
                "initrd": [{{"path": "/init", "sha256": "1"}}]}}"#
            )
            .into_bytes()
        };
        let first = manifest("1", "");
        assert_eq!(paths(&first, &first), Vec::<String>::new());
        assert_eq!(paths(&first, &manifest("2", "")), ["root: /bin/a: sha256"]);
        let more = manifest("1", r#", {"path": "/etc/b"}"#);
        assert_eq!(paths(&first, &more), ["root: /etc/b: only in the second build"]);
        assert_eq!(paths(&more, &first), ["root: /etc/b: only in the first build"]);
    }

    proptest! {
        #[test]
        fn any_manifest_is_read(text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            paths(text.as_bytes(), b"{}");
        }

        #[test]
        fn finds_where(bytes in prop::collection::vec(0u8..3, 1..50), at in any::<prop::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let files = ["a", "b"].map(|name| folder.path().join(name));
            let at = at.index(bytes.len());
            let mut other = bytes.clone();
            other[at] ^= 4;
            fs::write(&files[0], &bytes).unwrap();
            fs::write(&files[1], &bytes).unwrap();
            prop_assert_eq!(first_difference(&files[0], &files[1]).unwrap(), Ok(bytes.len() as u64));
            fs::write(&files[1], &other).unwrap();
            prop_assert_eq!(first_difference(&files[0], &files[1]).unwrap(), Err(at as u64));
        }
    }
}

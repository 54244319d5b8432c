//! A folder: an object that says which objects are at which paths, in the format of iroh-blobs' collections.
//!
//! The object is a sequence of hashes. The first one is of an object with the paths, the others are of the files, in the
//! order of their paths.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use iroh_blobs::Hash;
use iroh_blobs::format::collection::{Collection, CollectionMeta};
use iroh_blobs::hashseq::HashSeq;

/// The maximum number of files of a folder.
pub const MAX_FILES: usize = 65_536;

/// The maximum length of a path in bytes.
pub const MAX_PATH: usize = 1024;

/// The maximum size of the object with the paths, in bytes.
pub const MAX_PATHS: u64 = 4 << 20;

/// The maximum size of the object with the hashes, in bytes.
pub const MAX_HASHES: u64 = 32 * (1 + MAX_FILES as u64);

/// Why something is not a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFolder {
    #[error("a folder is a list of hashes of 32 bytes, of at most {MAX_FILES} files")]
    Hashes,
    #[error(
        "its first hash is not that of a list of paths, one for each other hash, of at most {MAX_PATHS} bytes"
    )]
    Paths,
}

/// Why a file cannot be in a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFolderPath {
    #[error(
        "`{0}` is not a path of a folder: it is relative, of at most {MAX_PATH} bytes of UTF-8, and has no empty part, `.` or `..`"
    )]
    Form(String),
    #[error("`{0}` comes twice")]
    Twice(String),
    #[error("`{0}` is a file and a folder")]
    Both(String),
    #[error("a folder has at most {MAX_FILES} files, whose paths have at most {MAX_PATHS} bytes")]
    TooMany,
}

/// Files by their paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectFolder(BTreeMap<Box<str>, Hash>);

/// What is at a path of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderEntry {
    File(Hash),
    /// The names of what is in it, sorted; those of folders end with `/`.
    Folder(Vec<String>),
}

impl ObjectFolder {
    /// Checks whether a file can be added.
    ///
    /// # Errors
    /// The path is not valid or there already, or there are too many.
    pub fn check(&self, path: &str) -> Result<(), InvalidFolderPath> {
        if !is_path(path) {
            return Err(InvalidFolderPath::Form(path.to_owned()));
        }
        if self.0.contains_key(path) {
            return Err(InvalidFolderPath::Twice(path.to_owned()));
        }
        let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(parent) = parents.find(|parent| self.0.contains_key(*parent)) {
            return Err(InvalidFolderPath::Both(parent.to_owned()));
        }
        let below = format!("{path}/");
        if self.from(&below).next().is_some_and(|(other, _)| other.starts_with(&below)) {
            return Err(InvalidFolderPath::Both(path.to_owned()));
        }
        match self.0.len() < MAX_FILES {
            true => Ok(()),
            false => Err(InvalidFolderPath::TooMany),
        }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// As [`check`](Self::check) says.
    pub fn add(&mut self, path: &str, hash: Hash) -> Result<(), InvalidFolderPath> {
        self.check(path)?;
        self.0.insert(path.into(), hash);
        Ok(())
    }

    /// The objects of the folder itself: the paths, and the hashes.
    ///
    /// # Errors
    /// The paths are too long together.
    pub fn to_objects(&self) -> Result<[Bytes; 2], InvalidFolderPath> {
        let files = self.0.iter().map(|(path, hash)| (path.to_string(), *hash));
        let mut objects = files.collect::<Collection>().to_blobs();
        let (Some(paths), Some(hashes)) = (objects.next(), objects.next()) else {
            return Err(InvalidFolderPath::TooMany); // it always makes two
        };
        match paths.len() as u64 <= MAX_PATHS {
            true => Ok([paths, hashes]),
            false => Err(InvalidFolderPath::TooMany),
        }
    }

    /// The hash of the object with the paths, which the first 32 bytes of the other one are.
    ///
    /// # Errors
    /// It is not a folder.
    pub fn paths_of(hashes: &[u8]) -> Result<Hash, InvalidFolder> {
        let is_list = hashes.len().is_multiple_of(32) && hashes.len() as u64 <= MAX_HASHES;
        let first = hashes.first_chunk().filter(|_| is_list);
        first.map(|first| Hash::from_bytes(*first)).ok_or(InvalidFolder::Hashes)
    }

    /// Reads the objects of a folder, whoever has made them. Of two files with the same path the first one counts.
    ///
    /// # Errors
    /// It is not a folder.
    pub fn from_objects(paths: &[u8], hashes: Bytes) -> Result<Self, InvalidFolder> {
        Self::paths_of(&hashes)?;
        let hashes = HashSeq::new(hashes).ok_or(InvalidFolder::Hashes)?;
        if paths.len() as u64 > MAX_PATHS {
            return Err(InvalidFolder::Paths);
        }
        let paths: CollectionMeta =
            postcard::from_bytes(paths).map_err(|_| InvalidFolder::Paths)?;
        if !paths.check_header() || paths.names().len() + 1 != hashes.len() {
            return Err(InvalidFolder::Paths);
        }
        let mut files = BTreeMap::new();
        for (path, hash) in paths.names().iter().zip(hashes.iter().skip(1)) {
            files.entry(path.as_str().into()).or_insert(hash);
        }
        Ok(Self(files))
    }

    /// What is at `path`; a folder's path is empty or ends with `/`.
    pub fn find(&self, path: &str) -> Option<FolderEntry> {
        if let Some(hash) = self.0.get(path) {
            return Some(FolderEntry::File(*hash));
        }
        if !path.is_empty() && !path.ends_with('/') {
            return None;
        }
        let below = self.from(path).map_while(|(it, _)| it.strip_prefix(path));
        let mut names: Vec<String> = vec![];
        for rest in below {
            let name = rest.split_inclusive('/').next().unwrap_or_default();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        (!names.is_empty()).then_some(FolderEntry::Folder(names))
    }

    /// The files whose paths do not come before this one.
    fn from(&self, path: &str) -> impl Iterator<Item = (&Box<str>, &Hash)> {
        self.0.range::<str, _>((Bound::Included(path), Bound::Unbounded))
    }

    /// The hashes of the files.
    pub fn files(&self) -> impl Iterator<Item = Hash> {
        self.0.values().copied()
    }

    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> u64 {
        self.0.keys().map(|path| path.len() as u64 + 64).sum()
    }
}

/// Whether it can be the path of a file in a folder.
fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder(paths: &[&str]) -> ObjectFolder {
        let mut folder = ObjectFolder::default();
        for path in paths {
            folder.add(path, Hash::new(path)).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_where() {
        let folder = folder(&["film/1.ts", "film/2.ts", "film/low/1.ts", "film.m3u8", "a"]);
        let names = |path| match folder.find(path) {
            Some(FolderEntry::Folder(names)) => names.join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(folder.find("film/2.ts"), Some(FolderEntry::File(Hash::new("film/2.ts"))));
        assert_eq!(names(""), "a film.m3u8 film/");
        assert_eq!(names("film/"), "1.ts 2.ts low/");
        assert_eq!(names("film/low/"), "1.ts");
        for nothing in ["film", "film/low", "film/3.ts", "/", "fil/", "a/", "../a", "film//1.ts"] {
            assert_eq!(folder.find(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn paths_that_no_folder_has() {
        let mut folder = folder(&["a/b"]);
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "./a", &"a".repeat(1025)] {
            let added = folder.add(bad, Hash::EMPTY);
            assert_eq!(added, Err(InvalidFolderPath::Form(bad.to_owned())), "{bad}");
        }
        assert_eq!(folder.add("a/b", Hash::EMPTY), Err(InvalidFolderPath::Twice("a/b".to_owned())));
        for (bad, both) in [("a", "a"), ("a/b/c", "a/b"), ("a/b/c/d", "a/b")] {
            let added = folder.add(bad, Hash::EMPTY);
            assert_eq!(added, Err(InvalidFolderPath::Both(both.to_owned())), "{bad}");
        }
        folder.add("a.b", Hash::EMPTY).unwrap();
    }

    /// The object that another program would make of the same files.
    #[test]
    fn it_is_a_collection() {
        let [paths, hashes] = folder(&["b", "a/c"]).to_objects().unwrap();
        assert_eq!(paths[..], *b"CollectionV0.\x02\x03a/c\x01b");
        let wanted = [Hash::new(&paths), Hash::new("a/c"), Hash::new("b")];
        assert_eq!(hashes[..], wanted.map(|it| *it.as_bytes()).concat());
        assert_eq!(ObjectFolder::paths_of(&hashes), Ok(Hash::new(&paths)));
    }

    #[test]
    fn what_is_no_folder() {
        let [paths, hashes] = folder(&["a", "b"]).to_objects().unwrap();
        let read = |paths: &[u8], hashes: &[u8]| {
            ObjectFolder::from_objects(paths, Bytes::copy_from_slice(hashes))
        };
        assert!(read(&paths, &hashes).is_ok());
        for bad in [&hashes[..95], &[], &[hashes.as_ref(), &[0; 32]].concat(), &hashes[..64]] {
            assert!(read(&paths, bad).is_err(), "{}", bad.len());
        }
        let long = vec![0; MAX_HASHES as usize + 32];
        assert_eq!(ObjectFolder::paths_of(&long), Err(InvalidFolder::Hashes));
        for bad in [
            &b"CollectionV1.\x02\x01a\x01b"[..],
            b"CollectionV0.",
            b"CollectionV0.\x02\x01a\x01\xff",
        ] {
            assert_eq!(read(bad, &hashes), Err(InvalidFolder::Paths));
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(paths in prop::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0..20)) {
            let mut folder = ObjectFolder::default();
            for path in &paths {
                let is_both = paths.iter().any(|other| {
                    let (one, other) = (format!("{path}/"), format!("{other}/"));
                    other < one && one.starts_with(&other)
                });
                prop_assert_eq!(folder.add(path, Hash::new(path)).is_err(), is_both);
            }
            let [names, hashes] = folder.to_objects().unwrap();
            prop_assert_eq!(ObjectFolder::from_objects(&names, hashes).unwrap(), folder);
        }

        #[test]
        fn whatever_another_node_has_written(paths: Vec<u8>, hashes: Vec<u8>) {
            let _ = ObjectFolder::from_objects(&paths, hashes.into());
        }
    }
}

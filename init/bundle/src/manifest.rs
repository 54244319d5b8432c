//! The signed part of an update: what a slot is, and what a box must know before it installs it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::file::ChunkedFile;
use crate::text::{Architecture, CommandLine, SlotName, TargetName, Version};

/// The version of this format.
const FORMAT: u32 = 1;

const MAX_PATCHES: usize = 32;

/// Memory in bytes needed to unpack a patch.
pub const PATCH_WINDOW: u64 = 1 << 20;

/// The range of the trial's time limit, in seconds.
const TRIAL: std::ops::RangeInclusive<u32> = 10..=24 * 60 * 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// The kind of machine that it is for.
    pub target: TargetName,
    /// The CPU architecture, for the boot loader.
    pub architecture: Architecture,
    /// Its name: Octet's version and a digest of its files.
    pub slot: SlotName,
    pub version: Version,
    /// Increases with every release: the boot loader prefers the highest, and a box installs only
    /// one that is higher than what it runs.
    pub sequence: u64,
    /// A box that has found this slot good no longer installs one below this sequence, nor boots
    /// one again.
    pub floor: u64,
    /// The data formats that it supports.
    pub data: Data,
    /// Seconds that it may take to become good.
    pub trial: u32,
    /// The kernel's command line, except the slot's name.
    pub command_line: CommandLine,
    pub files: SlotFiles,
    /// Patches that make its files from those of other slots, for boxes that have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}

/// A patch: one frame of zstd with a window of at most [`PATCH_WINDOW`] bytes, with output of the
/// crate `bidiff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub makes: SlotFile,
    /// The digest of the file that it is applied to.
    pub from: Digest,
    /// Its size in the bundle in bytes.
    pub stored: u32,
}

/// Formats of the data partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The lowest and the highest format that it can read.
    pub reads: (u32, u32),
    /// The format that it writes.
    pub writes: u32,
}

/// The files of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotFiles {
    /// The kernel, as UEFI starts it.
    pub linux: ChunkedFile,
    pub initrd: ChunkedFile,
    /// Device trees of boards for U-Boot, behind an index (docs/disk.md, "Device trees").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtb: Option<ChunkedFile>,
}

/// Identifies a file of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotFile {
    Linux,
    Initrd,
    Dtb,
}

impl SlotFile {
    /// In the order of the bundle.
    pub const ALL: [Self; 3] = [Self::Linux, Self::Initrd, Self::Dtb];

    /// Its name in the slot's folder, and its key in an entry or in the file of a place.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Initrd => "initrd",
            Self::Dtb => "dtb",
        }
    }
}

impl SlotFiles {
    pub fn get(&self, kind: SlotFile) -> Option<&ChunkedFile> {
        match kind {
            SlotFile::Linux => Some(&self.linux),
            SlotFile::Initrd => Some(&self.initrd),
            SlotFile::Dtb => self.dtb.as_ref(),
        }
    }

    /// Those that there are, in the order of the bundle.
    pub fn all(&self) -> impl Iterator<Item = (SlotFile, &ChunkedFile)> {
        SlotFile::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }

    /// The same, to be changed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (SlotFile, &mut ChunkedFile)> {
        let Self { linux, initrd, dtb } = self;
        let always = [(SlotFile::Linux, linux), (SlotFile::Initrd, initrd)];
        always.into_iter().chain(dtb.as_mut().map(|dtb| (SlotFile::Dtb, dtb)))
    }
}

/// Bytes that are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of this structure.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the manifest has format {0}, and this version knows {FORMAT} alone")]
    Format(u32),
    #[error("the manifest contradicts itself: {0}")]
    Inconsistent(&'static str),
}

impl Manifest {
    /// Parses and checks `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Any {
            format: u32,
        }
        let Any { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check().map_err(ManifestError::Inconsistent)?;
        Ok(manifest)
    }

    /// Sets the format that this version writes, and checks the manifest.
    pub fn validated(mut self) -> Result<Self, ManifestError> {
        self.format = FORMAT;
        self.check().map_err(ManifestError::Inconsistent)?;
        Ok(self)
    }

    /// The encoding that is signed and stored: JSON, one line for each chunk.
    pub fn render(&self) -> Vec<u8> {
        // The types have no maps and no floats, so serialisation cannot fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn check(&self) -> Result<(), &'static str> {
        let (low, high) = self.data.reads;
        if low > high || !(low..=high).contains(&self.data.writes) {
            return Err("it cannot read the data that it writes");
        }
        if self.floor > self.sequence {
            return Err("its floor is above its own sequence");
        }
        if !TRIAL.contains(&self.trial) {
            return Err("a trial takes ten seconds at least and a day at most");
        }
        for (_, file) in self.files.all() {
            file.check()?;
        }
        if self.patches.len() > MAX_PATCHES {
            return Err("it has too many patches");
        }
        Ok(())
    }
}

impl Data {
    /// Whether a box whose data is used by `old` now can switch to `self`, and back again as long
    /// as `self` is not good: each can read what the other writes.
    pub fn can_follow(&self, old: &Self) -> bool {
        let reads = |one: &Self, other: &Self| (one.reads.0..=one.reads.1).contains(&other.writes);
        reads(self, old) && reads(old, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FileChunk;
    use proptest::prelude::*;

    fn file(content: &[u8]) -> ChunkedFile {
        let mut chunks: Vec<_> = content.chunks(4).map(FileChunk::plain).collect();
        chunks[0].stored = 3;
        ChunkedFile { size: content.len() as u64, sha256: Digest::of(content), chunks }
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            target: "qemu-x86_64".parse().unwrap(),
            architecture: "x64".parse().unwrap(),
            slot: "0.1.0-1a2b3c4d".parse().unwrap(),
            version: "0.1.0".parse().unwrap(),
            sequence: 7,
            floor: 3,
            data: Data { reads: (1, 2), writes: 1 },
            trial: 300,
            command_line: "quiet".parse().unwrap(),
            files: SlotFiles { linux: file(b"linux"), initrd: file(b"an initramfs"), dtb: None },
            patches: vec![Patch { makes: SlotFile::Initrd, from: Digest::of(b"old"), stored: 9 }],
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let bytes = manifest().render();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest());
        let places =
            manifest().files.linux.positions().map(|it| (it.at, it.stored_at)).collect::<Vec<_>>();
        assert_eq!((places, manifest().files.linux.stored()), (vec![(0, 0), (4, 3)], 4));
    }

    /// Boxes of before read the manifests of slots without device trees.
    #[test]
    fn device_trees_are_named_only_if_there_are_some() {
        let text = String::from_utf8(manifest().render()).unwrap();
        assert!(!text.contains("dtb"), "{text}");
        let mut with = manifest();
        with.files.dtb = Some(file(b"trees"));
        let bytes = with.render();
        assert_eq!(Manifest::parse(&bytes).unwrap(), with);
        let kinds: Vec<_> = with.files.all().map(|(kind, file)| (kind.name(), file.size)).collect();
        assert_eq!(kinds, [("linux", 5), ("initrd", 12), ("dtb", 5)]);
        let damaged = String::from_utf8(bytes).unwrap();
        let at = damaged.rfind("\"size\": 5").unwrap();
        let damaged = format!("{}\"size\": 6{}", &damaged[..at], &damaged[at + 9..]);
        assert!(Manifest::parse(damaged.as_bytes()).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let text = String::from_utf8(manifest().render()).unwrap();
        assert!(Manifest::parse(text.as_bytes()).is_ok());
        for (from, to) in [
            ("\"format\": 1", "\"format\": 2"),
            ("\"sequence\": 7", "\"sequence\": 2"),
            ("\"trial\": 300", "\"trial\": 9"),
            ("\"writes\": 1", "\"writes\": 3"),
            ("\"size\": 5", "\"size\": 6"),
            ("\"size\": 5", "\"size\": 0"),
            ("\"4 3 ", "\"5 3 "),
            ("\"4 3 ", "\"4 4 "),
            ("\"4 3 ", "\"4 0 "),
            ("\"4 3 ", "\"04 3 "),
            ("\"4 3 ", "\"+4 3 "),
            ("\"4 3 ", "\"65537 3 "),
            ("\"4 3 ", "\"4 3 3 "),
            ("0.1.0-1a2b3c4d", "../../EFI"),
            ("quiet", "quiet\\ninitrd /x"),
            ("\"floor\"", "\"flour\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Manifest::parse(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn each_reads_what_the_other_writes() {
        let data = |low, high, writes| Data { reads: (low, high), writes };
        assert!(data(1, 2, 1).can_follow(&data(1, 1, 1)));
        assert!(data(1, 2, 2).can_follow(&data(1, 2, 1)));
        assert!(!data(1, 2, 2).can_follow(&data(1, 1, 1)), "the old one cannot go back");
        assert!(!data(2, 3, 2).can_follow(&data(1, 2, 1)), "the new one cannot read the old");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn never_panics_near_the_truth(at: prop::sample::Index, with in "\\PC{0,3}") {
            let text = String::from_utf8(manifest().render()).unwrap();
            let at = at.index(text.len());
            let _ = Manifest::parse(format!("{}{with}{}", &text[..at], &text[at + 1..]).as_bytes());
        }
    }
}

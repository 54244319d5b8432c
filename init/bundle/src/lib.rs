//! The format of an update (docs/updates.md): the signed [manifest](Manifest), the
//! [bundle](BundleHead) that carries it and the files, and the [entries](BootEntry) by which the
//! boot loader knows a slot, or the [files](SlotEnv) by which U-Boot does. The builder writes them,
//! `update` reads them, and PID 1 ends the counting.

mod digest;
mod entry;
mod entry_name;
mod file;
mod head;
mod manifest;
mod slot_env;
mod text;

pub use digest::{Digest, Hasher, InvalidDigest};
pub use entry::{BootEntry, ParsedEntry, without_trial};
pub use entry_name::{EntryName, SlotState};
pub use file::{ChunkPosition, ChunkedFile, FileChunk, MAX_CHUNK, MAX_FILE};
pub use head::{BundleHead, HeadError, LENGTHS, Lengths, MAX_HEAD};
pub use manifest::{Data, Manifest, ManifestError, PATCH_WINDOW, Patch, SlotFile, SlotFiles};
pub use slot_env::SlotEnv;
pub use text::{Architecture, CommandLine, InvalidText, SlotName, TargetName, Version};

/// The folder of the boot loader's entries on the EFI system partition.
pub const ENTRIES: &str = "loader/entries";

/// The folder of the slots there; each slot has a sub-folder of its name.
pub const SLOTS: &str = "octet";

/// The name of a slot's manifest in its folder.
pub const MANIFEST: &str = "manifest.json";

/// The key on the kernel's command line, after `octet.`, for the number of seconds a slot may take
/// to become good before PID 1 restarts the machine. Only an entry on trial has it.
pub const TRIAL: &str = "trial";

/// The format of the data partition that this version reads and writes.
pub const DATA: Data = Data { reads: (1, 1), writes: 1 };

/// How often a new slot is tried before the boot loader boots another: the number in an entry's
/// name (Automatic Boot Assessment).
pub const TRIES: u32 = 3;

//! What an update is as bytes (docs/updates.md): the [manifest](Manifest) that is signed, the
//! [bundle](Head) that carries it and the files, and the [entries](Entry) by which the boot loader
//! knows a slot. The builder writes them, `update` reads them, and PID 1 ends the counting.

mod digest;
mod entry;
mod entry_name;
mod file;
mod head;
mod manifest;
mod text;

pub use digest::{Digest, Hasher, InvalidDigest};
pub use entry::{BootEntry, ParsedEntry, settled};
pub use entry_name::{EntryName, SlotState};
pub use file::{ChunkPosition, ChunkedFile, FileChunk, MAX_CHUNK, MAX_FILE};
pub use head::{BundleHead, HeadError, LENGTHS, Lengths, MAX_HEAD};
pub use manifest::{Data, Manifest, ManifestError, PATCH_WINDOW, Patch, SlotFile, SlotFiles};
pub use text::{Architecture, CommandLine, InvalidText, SlotName, TargetName, Version};

/// Where the boot loader has its entries, on the EFI system partition.
pub const ENTRIES: &str = "loader/entries";

/// The folder of the slots there, each a folder of its name.
pub const SLOTS: &str = "octet";

/// The name of a slot's manifest in its folder.
pub const MANIFEST: &str = "manifest.json";

/// The word of the kernel's command line, after `octet.`, that says how many seconds a slot may take
/// to become good before PID 1 restarts the machine. Only an entry that is tried has it.
pub const TRIAL: &str = "trial";

/// The format of what is on the data partition, as this version reads and writes it.
pub const DATA: Data = Data { reads: (1, 1), writes: 1 };

/// How often a new slot is tried before the boot loader takes another: the number in an entry's
/// name (Automatic Boot Assessment).
pub const TRIES: u32 = 3;

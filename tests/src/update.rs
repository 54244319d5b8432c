//! Updates to modified images, signed by a key of the test. Only the formats are those of the
//! builder: chunks are cut in another way, and independent tools write them to a disk.

use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use minisign::KeyPair;
use octet_bundle::{
    BootEntry, BundleHead, ChunkedFile, DATA, Digest, EntryName, FileChunk, Manifest, SlotFile,
    SlotFiles, SlotName, SlotState,
};
use octet_control::file::{FileArg, Source};

use crate::disk::DiskFile;
use crate::image::Image;

const CHUNK: usize = 32 << 10;

/// A new key.
pub struct SigningKey(KeyPair);

impl SigningKey {
    #[expect(clippy::new_without_default, reason = "every one is another")]
    pub fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().expect("randomness"))
    }

    /// Its public half, in the format of `[trust] update_keys`.
    pub fn public(&self) -> String {
        self.0.pk.to_base64()
    }

    /// Writes the secret half into `folder`, in minisign's format. Returns the file.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("key");
        let text = self.0.sk.to_box(None).expect("a key").into_string();
        fs::write(&path, text).expect("room for a file");
        path
    }

    /// A signature of `bytes`, in minisign's format.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signed = minisign::sign(None, &self.0.sk, Cursor::new(bytes), Some("test"), None);
        signed.expect("a signature").into_string().into_bytes()
    }
}

/// A slot with its files.
#[derive(Debug, Clone)]
pub struct Release {
    /// The manifest; tests may change it.
    pub manifest: Manifest,
    linux: Vec<u8>,
    initrd: Vec<u8>,
}

impl Release {
    /// The release that boots as `image`, with the number `sequence`.
    pub fn of(image: &Image, sequence: u64) -> Self {
        let read = |path: &str| fs::read(image.file(path)).expect("a file of the image");
        let (linux, initrd) = (read("boot/linux"), read("boot/initrd"));
        let digest = Digest::of(&initrd).to_string();
        let word = "a plain word";
        let manifest = Manifest {
            format: 0,
            target: "qemu-x86_64".parse().expect(word),
            architecture: "x64".parse().expect(word),
            slot: format!("0.1.0-{}", &digest[..8]).parse().expect(word),
            version: "0.1.0".parse().expect(word),
            sequence,
            floor: 0,
            data: DATA,
            trial: 300,
            command_line: "console=ttyS0 quiet no_timer_check panic=3 rdinit=/init"
                .parse()
                .expect(word),
            files: SlotFiles { linux: file(&linux), initrd: file(&initrd), dtb: None },
            patches: vec![],
        };
        Self { manifest: manifest.validated().expect("a manifest"), linux, initrd }
    }

    /// The same release with another kernel.
    #[must_use]
    pub fn with_kernel(mut self, linux: Vec<u8>) -> Self {
        self.manifest.files.linux = file(&linux);
        Self { linux, ..self }
    }

    pub fn slot(&self) -> &SlotName {
        &self.manifest.slot
    }

    /// The size of all its files, in bytes.
    pub fn size(&self) -> u64 {
        (self.linux.len() + self.initrd.len()) as u64
    }

    /// The content of one of its files.
    pub fn content(&self, kind: SlotFile) -> &[u8] {
        match kind {
            SlotFile::Linux => &self.linux,
            SlotFile::Initrd => &self.initrd,
            SlotFile::Dtb => &[],
        }
    }

    /// The bundle, signed by `key`.
    pub fn signed(&self, key: &SigningKey) -> Bytes {
        let manifest = self.manifest.render();
        let head = BundleHead { signature: key.sign(&manifest), manifest };
        let head = head.render().expect("a head");
        Bytes([head, self.linux.clone(), self.initrd.clone()].concat())
    }

    /// Writes the slot to `disk`, with an entry in this state; a counted one is on trial.
    pub fn put_on(&self, disk: &DiskFile, standing: SlotState) {
        let slot = self.slot();
        for (kind, _) in self.manifest.files.all() {
            disk.esp_put(&slot.file(kind), self.content(kind));
        }
        self.put_entry_on(disk, standing, slot);
    }

    /// The same for a slot that has the same kernel as the slot `of`.
    pub fn put_beside(&self, disk: &DiskFile, standing: SlotState, of: &SlotName) {
        disk.esp_put(&self.slot().file(SlotFile::Initrd), &self.initrd);
        self.put_entry_on(disk, standing, of);
    }

    fn put_entry_on(&self, disk: &DiskFile, standing: SlotState, linux_of: &SlotName) {
        let slot = self.slot();
        disk.esp_put(&slot.manifest(), &self.manifest.render());
        let linux = format!("/{}", linux_of.file(SlotFile::Linux));
        let initrd = format!("/{}", slot.file(SlotFile::Initrd));
        let on_trial = standing != SlotState::Good;
        let (manifest, linux, initrd) = (&self.manifest, linux.as_str(), initrd.as_str());
        let entry = BootEntry { manifest, linux, initrd, dtb: None, on_trial };
        let name = EntryName { slot: slot.clone(), state: standing };
        disk.esp_put(&format!("loader/entries/{name}"), entry.render().as_bytes());
    }
}

fn file(content: &[u8]) -> ChunkedFile {
    let chunks = content.chunks(CHUNK).map(FileChunk::plain).collect();
    ChunkedFile { size: content.len() as u64, sha256: Digest::of(content), chunks }
}

/// A file in memory that is sent as an argument.
#[derive(Debug, Clone)]
pub struct Bytes(pub Vec<u8>);

impl Source for Bytes {
    fn describe(&self) -> FileArg {
        FileArg { size: Some(self.0.len() as u64), sha256: None }
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let count = buffer.len().min(self.0.len() - at);
        buffer[..count].copy_from_slice(&self.0[at..at + count]);
        Ok(count)
    }
}

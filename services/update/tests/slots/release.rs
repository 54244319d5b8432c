//! Releases that are signed by keys of the test, and boxes that install them.

use std::io::Cursor;
use std::sync::OnceLock;

use minisign::KeyPair;
use octet_appliance::Trust;
use octet_bundle::{
    BundleHead, ChunkedFile, Data, Digest, FileChunk, Manifest, Patch, SlotFile, SlotFiles,
};
use octet_node::control::{Failure, FailureCode};
use octet_update::install::{InstallCounts, OfferedUpdate, install};
use octet_update::plan::RunningSystem;
use octet_update::source::BundleReader;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::flash::Flash;

/// The size of a chunk in these tests, in bytes.
const CHUNK: usize = 1000;

/// A new key pair.
pub struct Key(KeyPair);

impl Key {
    pub fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signed = minisign::sign(None, &self.0.sk, Cursor::new(bytes), Some("test"), None);
        signed.unwrap().into_string().into_bytes()
    }

    pub fn public(&self) -> octet_appliance::UpdateKey {
        self.0.pk.to_base64().try_into().unwrap()
    }
}

/// The key that the boxes trust.
pub fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(Key::new)
}

pub fn trust() -> Trust {
    Trust { update_keys: vec![key().public()], revoked: vec![] }
}

#[derive(Debug, Clone)]
pub struct Release {
    pub manifest: Manifest,
    pub patches: Vec<u8>,
    pub linux: Vec<u8>,
    pub initrd: Vec<u8>,
    pub dtb: Option<Vec<u8>>,
}

/// Pseudorandom bytes that are determined by `seed`.
pub fn noise(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

fn file(content: &[u8]) -> ChunkedFile {
    let chunks = content.chunks(CHUNK).map(FileChunk::plain).collect();
    ChunkedFile { size: content.len() as u64, sha256: Digest::of(content), chunks }
}

impl Release {
    /// A release with the number `sequence` and these files.
    pub fn new(sequence: u64, linux: Vec<u8>, initrd: Vec<u8>) -> Self {
        let digest = Digest::of(&[linux.clone(), initrd.clone()].concat()).to_string();
        let manifest = Manifest {
            format: 1,
            target: "qemu-x86_64".parse().unwrap(),
            architecture: "x64".parse().unwrap(),
            slot: format!("1.0-{}", &digest[..8]).parse().unwrap(),
            version: "1.0".parse().unwrap(),
            sequence,
            floor: 0,
            data: Data { reads: (1, 1), writes: 1 },
            trial: 60,
            command_line: "quiet".parse().unwrap(),
            files: SlotFiles { linux: file(&linux), initrd: file(&initrd), dtb: None },
            patches: vec![],
        };
        Self { manifest, patches: vec![], linux, initrd, dtb: None }
    }

    /// The same with device trees.
    pub fn with_trees(mut self, dtb: Vec<u8>) -> Self {
        self.manifest.files.dtb = Some(file(&dtb));
        Self { dtb: Some(dtb), ..self }
    }

    /// A release with the number `sequence` of a series: the kernel is the same, and a chunk of the
    /// initramfs changes.
    pub fn number(sequence: u64) -> Self {
        let mut initrd = noise(2, 9500);
        initrd[4100..4120].copy_from_slice(&noise(sequence as u32 + 100, 20));
        Self::new(sequence, noise(1, 7300), initrd)
    }

    pub fn name(&self) -> &str {
        self.manifest.slot.as_str()
    }

    pub fn signed(&self, key: &Key) -> Vec<u8> {
        let manifest = self.manifest.render();
        let head = BundleHead { signature: key.sign(&manifest), manifest };
        let patches = self.patches.clone();
        let dtb = self.dtb.clone().unwrap_or_default();
        [head.render().unwrap(), patches, self.linux.clone(), self.initrd.clone(), dtb].concat()
    }

    /// Adds a patch from the initramfs of `old`.
    pub fn patch_from(&mut self, old: &Self) {
        let mut patch = vec![];
        bidiff::simple_diff(&old.initrd, &self.initrd, &mut patch).unwrap();
        let bytes = compress_to_vec(patch.as_slice(), CompressionLevel::Fastest);
        let (makes, from) = (SlotFile::Initrd, old.manifest.files.initrd.sha256);
        self.manifest.patches.push(Patch { makes, from, stored: bytes.len() as u32 });
        self.patches.extend(bytes);
    }

    /// Writes the slot to `flash` as the builder does, with this counter in its entry (`+3`, or
    /// none).
    pub fn flash(&self, flash: &mut Flash, counter: &str) {
        let name = self.name();
        flash.put(&format!("octet/{name}/linux"), &self.linux);
        flash.put(&format!("octet/{name}/initrd"), &self.initrd);
        if let Some(dtb) = &self.dtb {
            flash.put(&format!("octet/{name}/dtb"), dtb);
        }
        flash.put(&format!("octet/{name}/manifest.json"), &self.manifest.render());
        let entry = format!(
            "title x\nversion {}-{name}\nsort-key octet\nlinux /octet/{name}/linux\n\
             initrd /octet/{name}/initrd\noptions quiet octet.slot={name}\n",
            self.manifest.sequence
        );
        flash.put(&format!("loader/entries/octet-{name}{counter}.conf"), entry.as_bytes());
    }
}

/// A bundle in memory, which counts the bytes read, and can end early.
pub struct Bytes {
    pub bytes: Vec<u8>,
    pub read: u64,
    pub says_size: bool,
}

impl Bytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, read: 0, says_size: true }
    }
}

impl BundleReader for Bytes {
    fn size(&self) -> Option<u64> {
        self.says_size.then_some(self.bytes.len() as u64)
    }

    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>, Failure> {
        assert!((1..=65536).contains(&length), "{length}");
        if at > self.bytes.len() as u64 {
            return Err(Failure::new(FailureCode::Failed, "there is nothing", ""));
        }
        let rest = &self.bytes[at as usize..];
        let part = rest[..rest.len().min(length as usize)].to_vec();
        self.read += part.len() as u64;
        Ok(part)
    }
}

/// Installs `bundle` on a box that runs `running`.
pub fn take(
    flash: &mut Flash,
    running: &str,
    bundle: &mut Bytes,
) -> Result<InstallCounts, Failure> {
    take_with(flash, RunningSystem { running, floor: 0 }, bundle, &trust())
}

/// The same with all parameters of a box.
pub fn take_with(
    flash: &mut Flash,
    this: RunningSystem<'_>,
    bundle: &mut Bytes,
    trust: &Trust,
) -> Result<InstallCounts, Failure> {
    let offer = OfferedUpdate::read(bundle, trust)?;
    install(flash, bundle, this, &offer)
}

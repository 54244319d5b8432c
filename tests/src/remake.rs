//! Modifies the released image: it is unpacked, extended and packed again, which takes a second
//! instead of a build.
//!
//! The builder gives each unit a user of its own, and restricts additional units. Tests create
//! units by the hundred, so these checks are left out here: units may share users, and run as any
//! user of the fixed table, including root. Each unit file itself is still validated.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Cursor};
use std::path::Path;
use std::sync::Arc;

use backhand::compression::{CompressionAction, Compressor};
use backhand::kind::Kind;
use backhand::{
    BackhandError, FilesystemCompressor, FilesystemReader, FilesystemWriter, InnerNode, NodeHeader,
    Squashfs, SuperBlock,
};
use octet_appliance::{UNITS, UnitSource};
use serde_json::{Value, json};
use zstd::bulk;

use crate::image::Image;
use crate::initrd;

/// The folder of units' programs in an image.
const PROGRAMS: &str = "/usr/lib/octet";

#[derive(Debug)]
pub struct Remake {
    shipped: Image,
    init: Option<Vec<u8>>,
    /// The new and replaced files of the root: path, permissions and content.
    files: BTreeMap<String, (u16, Vec<u8>)>,
    units: Vec<Value>,
    change: fn(&mut Value),
}

/// Existing data is copied as it is; new data is compressed with the fastest method.
struct Fast;

impl CompressionAction for Fast {
    type Compressor = Compressor;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;
    type Error = BackhandError;

    fn decompress(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        _: Compressor,
    ) -> Result<(), BackhandError> {
        *out = bulk::decompress(bytes, out.capacity())?;
        Ok(())
    }

    fn compress(
        &self,
        bytes: &[u8],
        _: FilesystemCompressor,
        _: u32,
    ) -> Result<Vec<u8>, BackhandError> {
        Ok(bulk::compress(bytes, 1)?)
    }
}

impl Remake {
    pub fn of(image: &Image) -> Self {
        let (files, units) = (BTreeMap::new(), vec![]);
        Self { shipped: image.clone(), init: None, files, units, change: |_| {} }
    }

    /// Replaces `/init`.
    #[must_use]
    pub fn init(mut self, program: &Path) -> Self {
        self.init = Some(fs::read(program).expect("a program"));
        self
    }

    /// Adds the program `name` for units, at `/usr/lib/octet/NAME`.
    #[must_use]
    pub fn program(self, name: &str, program: &Path) -> Self {
        let content = fs::read(program).expect("a program");
        self.file(&format!("{PROGRAMS}/{name}"), 0o755, content)
    }

    /// Adds a file of root in an existing folder.
    #[must_use]
    pub fn file(mut self, path: &str, mode: u16, content: Vec<u8>) -> Self {
        self.files.insert(path.to_owned(), (mode, content));
        self
    }

    /// Adds a unit; `text` is its unit file.
    #[must_use]
    pub fn unit(mut self, text: &str) -> Self {
        let source = UnitSource::parse("unit.toml".into(), text.to_owned());
        let source = source.unwrap_or_else(|error| panic!("{error}: {}\n{text}", error.hint));
        self.units.push(json!(source.unit));
        self
    }

    /// Applies `change` to every unit, including those of the released image.
    #[must_use]
    pub fn change_units(mut self, change: fn(&mut Value)) -> Self {
        self.change = change;
        self
    }

    /// The image. It is deleted with the last copy of the value.
    ///
    /// # Panics
    /// The released image does not have the builder's layout.
    pub fn image(self) -> Image {
        let mut initrd = fs::read(self.shipped.file("boot/initrd")).expect("an initramfs");
        let root = initrd::find(&initrd, "root.squashfs").expect("its root").to_vec();
        let root = self.root(root);
        let mut files = vec![("root.squashfs", root.as_slice())];
        files.extend(self.init.iter().map(|init| ("init", init.as_slice())));
        initrd::append(&mut initrd, &files);

        let folder = tempfile::tempdir().expect("a folder");
        let boot = folder.path().join("boot");
        fs::create_dir(&boot).expect("a folder");
        fs::write(boot.join("initrd"), initrd).expect("room for an image");
        fs::copy(self.shipped.file("boot/linux"), boot.join("linux")).expect("the kernel");
        Image {
            folder: folder.path().to_owned(),
            architecture: self.shipped.architecture,
            temporary: Some(Arc::new(folder)),
        }
    }

    fn root(&self, shipped: Vec<u8>) -> Vec<u8> {
        let reader = BufReader::new(Cursor::new(shipped));
        let reader = Squashfs::from_reader_with_offset_and_kind(reader, 0, Kind::new_v4(&Fast));
        let reader = reader.expect("a squashfs");
        let reader = reader.into_filesystem_reader().expect("its files");
        let units = self.units(&content(&reader, UNITS));
        let mut writer = FilesystemWriter::from_fs_reader(&reader).expect("the same files");
        let compressor = FilesystemCompressor::new(Compressor::Zstd, None);
        writer.set_compressor(compressor.expect("zstd"));
        writer.replace_file(UNITS, Cursor::new(units)).expect("the list of units");
        for (path, (mode, content)) in &self.files {
            let content = Cursor::new(content.as_slice());
            if writer.mut_file(path).is_some() {
                writer.replace_file(path, content).expect("a file");
            } else {
                writer.push_file(content, path, NodeHeader::new(*mode, 0, 0, 0)).expect("a file");
            }
        }
        let mut root = Cursor::new(vec![]);
        writer.write(&mut root).expect("a squashfs");
        root.into_inner()
    }

    /// The list of all units, each after those that it needs.
    fn units(&self, shipped: &[u8]) -> Vec<u8> {
        let mut all: Vec<Value> = serde_json::from_slice(shipped).expect("a list of units");
        let of_shipped = all.clone();
        all.extend(self.units.iter().cloned());
        for unit in &mut all {
            (self.change)(unit);
            if unit.get("filters").is_some() {
                unit["filters"] = filters(unit, &of_shipped);
            }
        }
        serde_json::to_vec(&ordered(all)).expect("JSON")
    }
}

/// The system call filters that `unit` needs. Only the builder can compile some of them, so they
/// are taken from a unit of the image with the same system calls.
fn filters(unit: &Value, shipped: &[Value]) -> Value {
    let calls = &unit["sandbox"]["system_calls"];
    if calls == &json!(["all"]) || unit["type"] == "target" || unit["unit_type"] == "target" {
        return json!([]);
    }
    let same = |other: &&Value| {
        &other["sandbox"]["system_calls"] == calls && other["filters"] != json!([])
    };
    let found = shipped.iter().find(same).map(|other| other["filters"].clone());
    found.unwrap_or_else(|| panic!("no unit that ships has the system calls {calls}"))
}

/// `units` in an order in which each follows the units that it needs or is ordered after, and
/// otherwise unchanged.
fn ordered(mut waiting: Vec<Value>) -> Vec<Value> {
    let mut order: Vec<Value> = vec![];
    while !waiting.is_empty() {
        let names: Vec<Value> = waiting.iter().map(|unit| unit["name"].clone()).collect();
        let is_free = |unit: &Value| {
            let before = ["needs", "after"].map(|key| unit[key].as_array().into_iter().flatten());
            !before.into_iter().flatten().any(|name| names.contains(name))
        };
        let (free, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        assert!(!free.is_empty(), "units wait for each other: {names:?}");
        order.extend(free);
        waiting = rest;
    }
    order
}

fn content(reader: &FilesystemReader<'_>, path: &str) -> Vec<u8> {
    let node = reader.files().find(|node| node.fullpath == Path::new(path));
    let Some(InnerNode::File(file)) = node.map(|node| &node.inner) else {
        panic!("the image has no {path}");
    };
    let mut bytes = vec![];
    std::io::Read::read_to_end(&mut reader.file(file).reader(), &mut bytes).expect("its content");
    bytes
}

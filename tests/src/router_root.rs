//! Converts the root file system of a router that does not run Octet into an initramfs for Octet's
//! kernel.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

use crate::image::Image;
use crate::initrd::{end, entry};
use crate::programs::guest;

/// The files that are added to a root; an original root has none of them.
const FIRST: &str = "octet/first";
const MODULES: &str = "octet/modules";

/// The file that describes its ports to OpenWrt at the first start (`/bin/board_detect`), and its
/// content.
const BOARD: &str = "etc/board.json";
const PORTS: &str = r#"{
    "model": { "id": "octet,guest", "name": "Guest with eight ports and one that leads out" },
    "network": {
        "lan": {
            "ports": ["lan1", "lan2", "lan3", "lan4", "lan5", "lan6", "lan7", "lan8"],
            "protocol": "static"
        },
        "wan": { "device": "wan", "protocol": "dhcp" }
    }
}
"#;

/// The path prefixes of the modules in the image that are needed: for a switch, a firewall, and
/// network cards.
const WANTED: [&str; 3] = ["net/", "drivers/net/virtio_net", "drivers/net/net_failover"];

/// Modules that a router does not need.
const UNWANTED: [&str; 2] = ["net/mpls/", "net/sched/"];

/// The names of busybox in the double's root: for the commands of users, and for the double itself.
const BUSYBOX: [&str; 9] = [
    "bin/sh",
    "bin/cat",
    "usr/bin/head",
    "usr/bin/sha256sum",
    "usr/bin/cut",
    "bin/echo",
    "bin/grep",
    "sbin/ip",
    "bin/true",
];

/// The other names of the double.
const DOUBLE: [&str; 7] = [
    "sbin/uci",
    "usr/sbin/uhttpd",
    "etc/init.d/rpcd",
    "etc/init.d/network",
    "etc/init.d/firewall",
    "sbin/pass",
    "sbin/leak",
];

/// The folders and files of the image that the double's root contains: busybox, and nft with its
/// libraries.
const OF_IMAGE: [&str; 7] = [
    "bin/busybox",
    "lib/ld-musl-x86_64.so.1",
    "lib/libc.musl-x86_64.so.1",
    "lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/sbin/nft",
];

/// Writes an initramfs to `initrd`: the root in `archive`, a `.tar.gz`, with the modules of
/// `image`, the ports of a guest in OpenWrt's board description, and the first program of a guest.
/// Returns the path of that program. Device nodes are left out, because the kernel creates them.
///
/// # Panics
/// The archive is invalid, or the host refuses.
pub fn router_initrd(image: &Image, archive: &Path, initrd: &Path) -> &'static str {
    let name = archive.display();
    let opened = File::open(archive).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut out = Tree::default();
    let mut archive = Archive::new(GzDecoder::new(opened));
    for file in archive.entries().unwrap_or_else(|error| panic!("{name}: {error}")) {
        let mut file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = file.path().expect("a path").to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let mode = file.header().mode().expect("a mode") & 0o7777;
        let link = || {
            let link = file.link_name().expect("a path");
            link.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
        };
        match file.header().entry_type() {
            _ if path.is_empty() => {}
            EntryType::Directory => out.folder(&path, mode),
            EntryType::Symlink => out.add(&path, 0o120_777, link().as_bytes()),
            // A hard link is written as a copy of its target.
            EntryType::Link => {
                let to = format!("/{}", link().trim_start_matches("./"));
                out.add(&path, 0o120_777, to.as_bytes());
            }
            EntryType::Regular => {
                let mut content = vec![];
                file.read_to_end(&mut content).unwrap_or_else(|error| panic!("{name}: {error}"));
                out.add(&path, 0o100_000 | mode, &content);
            }
            _ => {}
        }
    }
    out.add(BOARD, 0o100_644, PORTS.as_bytes());
    out.add(FIRST, 0o100_755, &fs::read(guest("first")).expect("a program"));
    let folder = tempfile::tempdir().expect("a folder");
    for module in modules(&image.root(folder.path())) {
        let path = format!("{MODULES}/{}", module.file_name().expect("a name").to_string_lossy());
        out.add(&path, 0o100_644, &fs::read(module).expect("a module"));
    }
    end(&mut out.bytes);
    fs::write(initrd, out.bytes).expect("room for an initramfs");
    "/octet/first"
}

/// An initramfs that is being written.
#[derive(Default)]
struct Tree {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
}

impl Tree {
    /// Adds a file, and its folder if the archive has left that out.
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        if let Some((folder, _)) = path.rsplit_once('/')
            && !self.folders.contains(folder)
        {
            self.folder(folder, 0o755);
        }
        entry(&mut self.bytes, path, mode, content);
        // A path may lead through a symbolic link to a folder.
        if mode >> 12 == 0o12 {
            self.folders.insert(path.to_owned());
        }
    }

    fn folder(&mut self, path: &str, mode: u32) {
        if self.folders.insert(path.to_owned()) {
            self.add(path, 0o040_000 | mode, &[]);
        }
    }
}

/// The modules of the image with this root that a router needs.
fn modules(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![root.join("lib/modules")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = file.path();
            let text = path.to_string_lossy();
            let below = text.split_once("/kernel/").map_or("", |(_, below)| below);
            let is_of = |all: &[&str]| all.iter().any(|it| below.starts_with(it));
            if file.file_type().is_ok_and(|it| it.is_dir()) {
                folders.push(path);
            } else if is_of(&WANTED) && !is_of(&UNWANTED) {
                found.push(path);
            }
        }
    }
    found
}

/// Writes a root to `archive`: busybox and `nft` of `image`, and the double of a router as its
/// userland.
pub fn double_root(image: &Image, archive: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = image.root(folder.path());
    let file = File::create(archive).expect("room for a file");
    let mut tar = Builder::new(GzEncoder::new(file, Compression::fast()));
    tar.follow_symlinks(false);
    for path in OF_IMAGE {
        let from = root.join(path);
        match from.is_dir() {
            true => tar.append_dir_all(path, from).expect("room for files"),
            false => tar.append_path_with_name(from, path).expect("room for a file"),
        }
    }
    tar.append_path_with_name(
        guest("openwrt-double").canonicalize().expect("a program"),
        "sbin/init",
    )
    .expect("room for a file");
    let links = BUSYBOX.iter().map(|it| (it, "/bin/busybox"));
    for (path, to) in links.chain(DOUBLE.iter().map(|it| (it, "/sbin/init"))) {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, path, to).expect("room for a link");
    }
    for folder in ["run", "tmp", "usr/share/rpcd/acl.d"] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, folder, &[][..]).expect("room for a folder");
    }
    tar.into_inner().and_then(GzEncoder::finish).expect("room for a file");
}

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Set by hand: the library refuses names that a damaged package may have.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(7);
        // A link's content is where it leads.
        let data = if *kind == EntryType::Symlink {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
            b""
        } else {
            *content
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        bytes.extend(format!("{name:16}{:12}{:6}{:6}{:8}{size:<10}`\n", 0, 0, 0, 644).bytes());
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

const CONTROL: &[u8] = b"Package: it\nVersion: 1:2-3\nDescription: of it\n Version: 4\n";

fn deb(kind: &str, data: &[u8]) -> Vec<u8> {
    let control = gzip(&tar(&[("./control", EntryType::Regular, CONTROL)]));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), (kind, data)])
}

#[test]
fn each_compression_is_unpacked() {
    let data = tar(&[
        ("./", EntryType::Directory, b""),
        ("./usr/bin/it", EntryType::Regular, b"program"),
        ("./usr/bin/link", EntryType::Symlink, b"../it"),
    ]);
    let zstd = zstd::stream::encode_all(&data[..], 1).unwrap();
    for (kind, data) in
        [("data.tar", &data), ("data.tar.gz/", &gzip(&data)), ("data.tar.zst", &zstd)]
    {
        let package = DebPackage::read(&deb(kind, data)).unwrap();
        assert_eq!(package.file("/usr/bin/it"), Some(&b"program"[..]));
        let it = package.entry("/usr/bin/it").unwrap();
        assert_eq!((it.mode, it.uid, it.gid), (0o644, 0, 7));
        assert_eq!(package.file("/usr/bin/link"), None);
        let link = &package.entry("/usr/bin/link").unwrap().content;
        assert_eq!(*link, DebFileContent::Link("../it".into()));
        assert_eq!(package.entry("/usr/bin"), None);
        assert_eq!((package.field("Version"), package.field("Nothing")), ("1:2-3", ""));
    }
}

#[test]
fn scripts_are_named() {
    let file = |name| (name, EntryType::Regular, &b"#!/bin/sh\n"[..]);
    let control = [file("./preinst"), file("./postrm"), file("./md5sums")];
    let control = [&control[..], &[("./control", EntryType::Regular, CONTROL)]].concat();
    let (control, data) = (tar(&control), tar(&[]));
    let members =
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)];
    assert_eq!(DebPackage::read(&ar(&members)).unwrap().scripts(), ["preinst", "postrm"]);
    assert!(DebPackage::read(&deb("data.tar", &data)).unwrap().scripts().is_empty());
}

/// The bytes are those of `printf hello | xz`.
#[test]
fn xz_is_unpacked() {
    let hello = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21,
        0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x04, 0x68, 0x65, 0x6c,
        0x6c, 0x6f, 0x00, 0x00, 0x00, 0x00, 0xb1, 0x37, 0xb9, 0xdb, 0xe5, 0xda, 0x1e, 0x9b, 0x00,
        0x01, 0x1d, 0x05, 0xb8, 0x2d, 0x80, 0xaf, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x04, 0x59, 0x5a,
    ];
    let mut text = String::new();
    unpack(".xz", &hello).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    let mut damaged = hello;
    damaged[29] ^= 1;
    assert!(unpack(".xz", &damaged).unwrap().read_to_string(&mut text).is_err());
}

#[test]
fn says_what_is_wrong() {
    let good = deb("data.tar", &tar(&[("./it", EntryType::Regular, b"1")]));
    DebPackage::read(&good).unwrap();
    let with = |name, kind| deb("data.tar", &tar(&[(name, kind, b"")]));
    for (deb, words) in [
        (with("../it", EntryType::Regular), "leave the root"),
        (with("./a/../../it", EntryType::Regular), "leave the root"),
        (with("./dev/sda", EntryType::Block), "neither regular"),
        (with("./it", EntryType::Link), "neither regular"),
        (with("./it", EntryType::Symlink), "leads nowhere"),
        (deb("data.tar.lz4", b""), "compression"),
        (ar(&[("debian-binary", b"3.0\n")]), "format 2"),
        (ar(&[("debian-binary", b"2.0\n")]), "no control.tar"),
        (good[..good.len() - 600].to_vec(), "cut off"),
        (good[1..].to_vec(), "no archive"),
    ] {
        let error = DebPackage::read(&deb).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

proptest! {
    #[test]
    fn paths_stay_inside(name in "(\\.{0,3}/|[a-c]){0,8}") {
        if let Ok(path) = path(name.as_bytes()) {
            let mut parts = path.split('/');
            prop_assert_eq!(parts.next(), Some(""));
            prop_assert!(parts.all(|part| !matches!(part, "" | "." | "..")));
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = DebPackage::read(&bytes);
        for kind in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst"] {
            let _ = DebPackage::read(&deb(kind, &bytes));
        }
    }

    #[test]
    fn never_panics_near_the_truth(at in 0usize..5000, value: u8) {
        let mut bytes = deb("data.tar", &tar(&[("./it", EntryType::Regular, b"content")]));
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = DebPackage::read(&bytes);
    }
}

//! What is inside a Debian package: deb(5), deb-control(5).

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use tar::{Archive, EntryType};

/// Bytes that a package may have unpacked. Kernels are the largest ones there are.
const MOST: u64 = 1 << 30;

/// Files that a package may have.
const MOST_FILES: usize = 100_000;

/// KiB that unpacking xz may take: what its highest level asks for, and some more.
const XZ_MEMORY: u32 = 128 << 10;

/// Bytes of a member's header in the outer archive, and where it has name, size and end.
const HEADER: usize = 60;
const NAME: std::ops::Range<usize> = 0..16;
const SIZE: std::ops::Range<usize> = 48..58;
const END: std::ops::Range<usize> = 58..60;

/// A package, unpacked.
#[derive(Debug)]
pub struct Package {
    /// The fields of its control file, by name.
    control: BTreeMap<String, String>,
    /// The content of its regular files, by absolute path.
    files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Unpacks the package `deb`; an error says what is wrong with it.
    pub fn read(deb: &[u8]) -> io::Result<Self> {
        let members = members(deb)?;
        let [(first, version), rest @ ..] = &members[..] else { return wrong("it is empty") };
        if first != "debian-binary" || !version.starts_with(b"2.") {
            return wrong("it is no Debian package of format 2");
        }
        let member = |kind: &str| {
            let found = rest.iter().find(|(name, _)| name.starts_with(kind));
            found.map(|(name, bytes)| unpack(&name[kind.len()..], bytes))
        };
        let Some(control) = member("control.tar") else { return wrong("it has no control.tar") };
        let control = files(control?)?;
        let Some(control) = control.get("/control") else { return wrong("it has no control file") };
        let Some(data) = member("data.tar") else { return wrong("it has no data.tar") };
        Ok(Self { control: fields(&String::from_utf8_lossy(control)), files: files(data?)? })
    }

    /// A field of its control file, such as `Version`.
    pub fn field(&self, name: &str) -> &str {
        self.control.get(name).map_or("", String::as_str)
    }

    /// The content of the regular file at the absolute `path`.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }
}

fn wrong<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The members of the outer archive, by name. It is `ar` at its plainest, with names of up to 16
/// bytes and no tables; the crates for `ar` know more, and allocate whatever a header asks for.
fn members(deb: &[u8]) -> io::Result<Vec<(String, &[u8])>> {
    let Some(mut rest) = deb.strip_prefix(b"!<arch>\n") else {
        return wrong("it is no archive");
    };
    let mut members = vec![];
    while !rest.is_empty() {
        let Some((header, behind)) = rest.split_at_checked(HEADER) else {
            return wrong("a header is cut off");
        };
        let text = |range: std::ops::Range<usize>| str::from_utf8(&header[range]).ok();
        let size = text(SIZE).and_then(|digits| digits.trim_end().parse::<usize>().ok());
        let (Some(name), Some(size), b"`\n") = (text(NAME), size, &header[END]) else {
            return wrong("a header is damaged");
        };
        let Some((content, behind)) = behind.split_at_checked(size) else {
            return wrong("a member is cut off");
        };
        members.push((name.trim_end().trim_end_matches('/').to_owned(), content));
        // Each member begins at an even place.
        rest = behind.get(size % 2..).unwrap_or_default();
    }
    Ok(members)
}

/// A reader of the inner archive `bytes`, whose name has this `ending`.
fn unpack<'a>(ending: &str, bytes: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match ending {
        "" => Box::new(bytes),
        ".gz" => Box::new(GzDecoder::new(bytes)),
        ".xz" => Box::new(XzReader::new_mem_limit(bytes, false, XZ_MEMORY)),
        ".zst" => Box::new(zstd::stream::Decoder::with_buffer(bytes)?),
        _ => return wrong("its compression is not known"),
    })
}

/// The regular files of an inner archive.
fn files(tar: Box<dyn Read + '_>) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut archive = Archive::new(BufReader::new(tar).take(MOST));
    let mut left = MOST;
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if count >= MOST_FILES || entry.size() > left {
            return wrong("it is too large");
        }
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Directory | EntryType::Symlink => continue,
            _ => return wrong("it has a file that is neither regular, nor a folder, nor a link"),
        }
        let path = path(&entry.path_bytes())?;
        left -= entry.size();
        let mut content = vec![];
        entry.read_to_end(&mut content)?;
        files.insert(path, content);
    }
    Ok(files)
}

/// A name of an inner archive as an absolute path, which stays inside the root.
fn path(name: &[u8]) -> io::Result<String> {
    let Ok(name) = str::from_utf8(name) else { return wrong("a name is no UTF-8") };
    let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") || name.contains('\0') {
        return wrong("a name would leave the root");
    }
    Ok(format!("/{}", parts.join("/")))
}

/// The fields of a control file; lines that belong to the field before are left out.
fn fields(text: &str) -> BTreeMap<String, String> {
    let own = text.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
    own.filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
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
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
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
            ("./usr/bin/link", EntryType::Symlink, b""),
        ]);
        let zstd = zstd::stream::encode_all(&data[..], 1).unwrap();
        for (kind, data) in
            [("data.tar", &data), ("data.tar.gz/", &gzip(&data)), ("data.tar.zst", &zstd)]
        {
            let package = Package::read(&deb(kind, data)).unwrap();
            assert_eq!(package.file("/usr/bin/it"), Some(&b"program"[..]));
            assert_eq!(package.file("/usr/bin/link"), None);
            assert_eq!((package.field("Version"), package.field("Nothing")), ("1:2-3", ""));
        }
    }

    /// The bytes are those of `printf hello | xz`.
    #[test]
    fn xz_is_unpacked() {
        let hello = [
            0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00,
            0x21, 0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x04, 0x68,
            0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00, 0x00, 0xb1, 0x37, 0xb9, 0xdb, 0xe5, 0xda,
            0x1e, 0x9b, 0x00, 0x01, 0x1d, 0x05, 0xb8, 0x2d, 0x80, 0xaf, 0x1f, 0xb6, 0xf3, 0x7d,
            0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
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
        Package::read(&good).unwrap();
        let with = |name, kind| deb("data.tar", &tar(&[(name, kind, b"")]));
        for (deb, words) in [
            (with("../it", EntryType::Regular), "leave the root"),
            (with("./a/../../it", EntryType::Regular), "leave the root"),
            (with("./dev/sda", EntryType::Block), "neither regular"),
            (with("./it", EntryType::Link), "neither regular"),
            (deb("data.tar.lz4", b""), "compression"),
            (ar(&[("debian-binary", b"3.0\n")]), "format 2"),
            (ar(&[("debian-binary", b"2.0\n")]), "no control.tar"),
            (good[..good.len() - 600].to_vec(), "cut off"),
            (good[1..].to_vec(), "no archive"),
        ] {
            let error = Package::read(&deb).unwrap_err().to_string();
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
            let _ = Package::read(&bytes);
            for kind in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst"] {
                let _ = Package::read(&deb(kind, &bytes));
            }
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..5000, value: u8) {
            let mut bytes = deb("data.tar", &tar(&[("./it", EntryType::Regular, b"content")]));
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = Package::read(&bytes);
        }
    }
}

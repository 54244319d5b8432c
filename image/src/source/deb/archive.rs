//! What is inside a Debian package: deb(5), deb-control(5).

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use tar::{Archive, EntryType};

use crate::digest::Sha256;
use crate::tree::{NodeOrigin, PackageRecord, RecordText};

/// Bytes that a package may have unpacked. Kernels are the largest ones there are.
const MAX_UNPACKED: u64 = 1 << 30;

/// Files that a package may have.
const MAX_FILES: usize = 100_000;

/// KiB that unpacking xz may take: what its highest level asks for, and some more.
const XZ_MEMORY: u32 = 128 << 10;

/// Bytes of a member's header in the outer archive, and where it has name, size and end.
const HEADER: usize = 60;
const NAME: std::ops::Range<usize> = 0..16;
const SIZE: std::ops::Range<usize> = 48..58;
const END: std::ops::Range<usize> = 58..60;

/// Programs that dpkg would run when it installs or removes a package (deb-postinst(5) and its like).
const SCRIPTS: [&str; 5] = ["config", "preinst", "postinst", "prerm", "postrm"];

#[derive(Debug)]
pub struct DebPackage {
    sha256: Sha256,
    /// The fields of its control file, by name.
    control: BTreeMap<String, String>,
    /// The control file, and the `md5sums` beside it.
    texts: [String; 2],
    /// Which of [`SCRIPTS`] it has.
    scripts: Vec<&'static str>,
    /// Its files and links, by absolute path.
    files: BTreeMap<String, DebFile>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebFile {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub content: DebFileContent,
}

/// What a file of a package is; folders are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebFileContent {
    File(Vec<u8>),
    /// A symbolic link to this target.
    Link(String),
}

impl DebPackage {
    /// Unpacks the package `deb`; an error says what is wrong with it.
    pub fn read(deb: &[u8]) -> io::Result<Self> {
        let members = members(deb)?;
        let [(first, version), rest @ ..] = &members[..] else {
            return invalid_data("it is empty");
        };
        if first != "debian-binary" || !version.starts_with(b"2.") {
            return invalid_data("it is no Debian package of format 2");
        }
        let member = |kind: &str| {
            let found = rest.iter().find(|(name, _)| name.starts_with(kind));
            found.map(|(name, bytes)| unpack(&name[kind.len()..], bytes))
        };
        let Some(control) = member("control.tar") else {
            return invalid_data("it has no control.tar");
        };
        let control = files(control?)?;
        let scripts =
            SCRIPTS.into_iter().filter(|name| control.contains_key(&format!("/{name}"))).collect();
        let text = |path: &str| match control.get(path).map(|entry| &entry.content) {
            Some(DebFileContent::File(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let Some(stanza) = text("/control") else { return invalid_data("it has no control file") };
        let texts = [stanza, text("/md5sums").unwrap_or_default()];
        let Some(data) = member("data.tar") else { return invalid_data("it has no data.tar") };
        let control = fields(&texts[0]);
        Ok(Self { sha256: Sha256::of(deb), control, texts, scripts, files: files(data?)? })
    }

    /// A package of tests, with files of root's.
    #[cfg(test)]
    pub fn made(scripts: &[&'static str], files: &[(&str, DebFileContent)]) -> Self {
        let entry = |content: &DebFileContent| DebFile {
            mode: 0o755,
            uid: 0,
            gid: 0,
            content: content.clone(),
        };
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), entry(content)));
        let control = BTreeMap::from([("Version".to_owned(), "1-2".to_owned())]);
        let (sha256, texts) = (Sha256::of(b""), Default::default());
        Self { sha256, control, texts, scripts: scripts.to_vec(), files: files.collect() }
    }

    /// The digest of the package as it is distributed.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// The kinds of scripts that it has, such as `postinst`.
    pub fn scripts(&self) -> &[&'static str] {
        &self.scripts
    }

    /// A field of its control file, such as `Version`.
    pub fn field(&self, name: &str) -> &str {
        self.control.get(name).map_or("", String::as_str)
    }

    /// What dpkg keeps of it, where it goes by `name`.
    pub fn record(&self, name: &str) -> PackageRecord {
        let [control, md5sums] = self.texts.clone();
        PackageRecord {
            name: name.to_owned(),
            version: self.field("Version").to_owned(),
            text: RecordText::Dpkg { control, md5sums },
        }
    }

    /// What is said of its files, where it goes by `name`.
    pub fn origin(&self, name: &str) -> NodeOrigin {
        NodeOrigin::Package { name: name.to_owned(), version: self.field("Version").to_owned() }
    }

    /// The content of the regular file at the absolute `path`.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match &self.files.get(path)?.content {
            DebFileContent::File(bytes) => Some(bytes),
            DebFileContent::Link(_) => None,
        }
    }

    /// The regular files whose absolute paths begin with `start`.
    pub fn files_below(&self, start: &str) -> impl Iterator<Item = (&str, &[u8])> {
        let from = self.files.range(start.to_owned()..);
        let below = from.take_while(move |(path, _)| path.starts_with(start));
        below.filter_map(|(path, file)| match &file.content {
            DebFileContent::File(bytes) => Some((path.as_str(), &bytes[..])),
            DebFileContent::Link(_) => None,
        })
    }

    /// What is at the absolute `path`, if it is no folder.
    pub fn entry(&self, path: &str) -> Option<&DebFile> {
        self.files.get(path)
    }
}

fn invalid_data<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The members of the outer archive, by name. It is `ar` at its plainest, with names of up to 16
/// bytes and no tables; the crates for `ar` know more, and allocate whatever a header asks for.
fn members(deb: &[u8]) -> io::Result<Vec<(String, &[u8])>> {
    let Some(mut rest) = deb.strip_prefix(b"!<arch>\n") else {
        return invalid_data("it is no archive");
    };
    let mut members = vec![];
    while !rest.is_empty() {
        let Some((header, behind)) = rest.split_at_checked(HEADER) else {
            return invalid_data("a header is cut off");
        };
        let text = |range: std::ops::Range<usize>| str::from_utf8(&header[range]).ok();
        let size = text(SIZE).and_then(|digits| digits.trim_end().parse::<usize>().ok());
        let (Some(name), Some(size), b"`\n") = (text(NAME), size, &header[END]) else {
            return invalid_data("a header is damaged");
        };
        let Some((content, behind)) = behind.split_at_checked(size) else {
            return invalid_data("a member is cut off");
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
        _ => return invalid_data("its compression is not known"),
    })
}

/// The regular files and symbolic links of an inner archive.
fn files(tar: Box<dyn Read + '_>) -> io::Result<BTreeMap<String, DebFile>> {
    let mut files = BTreeMap::new();
    let mut archive = Archive::new(BufReader::new(tar).take(MAX_UNPACKED));
    let mut left = MAX_UNPACKED;
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if count >= MAX_FILES || entry.size() > left {
            return invalid_data("it is too large");
        }
        let content = match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {
                left -= entry.size();
                let mut content = vec![];
                entry.read_to_end(&mut content)?;
                DebFileContent::File(content)
            }
            EntryType::Symlink => DebFileContent::Link(target(entry.link_name_bytes().as_deref())?),
            _ => {
                return invalid_data(
                    "it has a file that is neither regular, nor a folder, nor a link",
                );
            }
        };
        let header = entry.header();
        let number = |number: io::Result<u64>| {
            u32::try_from(number?).or_else(|_| invalid_data("an owner has no number that there is"))
        };
        let mode = (header.mode()? & 0o7777) as u16;
        let (uid, gid) = (number(header.uid())?, number(header.gid())?);
        files.insert(path(&entry.path_bytes())?, DebFile { mode, uid, gid, content });
    }
    Ok(files)
}

/// Where a link leads: any text that a kernel would take (symlink(2)).
fn target(name: Option<&[u8]>) -> io::Result<String> {
    let name = name.and_then(|name| str::from_utf8(name).ok());
    match name {
        Some(name) if (1..4096).contains(&name.len()) && !name.contains('\0') => {
            Ok(name.to_owned())
        }
        _ => invalid_data("a link leads nowhere"),
    }
}

/// A name of an inner archive as an absolute path, which stays inside the root.
fn path(name: &[u8]) -> io::Result<String> {
    let Ok(name) = str::from_utf8(name) else { return invalid_data("a name is no UTF-8") };
    let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") || name.contains('\0') {
        return invalid_data("a name would leave the root");
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
mod tests;

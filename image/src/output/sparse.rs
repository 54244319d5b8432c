//! A disk in memory: only the pages that are not zero are kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom as Extent, seek};

use crate::digest::{FieldHasher, Sha256};

/// Bytes of one page: a multiple of every file system's block.
const PAGE: usize = 64 << 10;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// A disk of a fixed length. What was never written is zero.
#[derive(Debug, Default)]
pub struct Sparse {
    len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
    /// Where the next read or write is.
    at: u64,
}

impl Sparse {
    /// A disk of `len` zeros.
    pub fn new(len: u64) -> Self {
        Self { len, ..Self::default() }
    }

    /// Reads `file`, of which a hole costs nothing.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut sparse = Self::new(file.metadata()?.len());
        let mut page = vec![0; PAGE];
        let mut at = 0;
        // Each turn goes at least one page further.
        while let Some(data) = next_data(file, at)?.filter(|data| *data < sparse.len) {
            at = data - data % PAGE as u64;
            let size = sparse.size(at);
            file.read_exact_at(&mut page[..size], at)?;
            if !is_zero(&page[..size]) {
                sparse.pages.insert(at / PAGE as u64, page.clone().into());
            }
            at += PAGE as u64;
        }
        Ok(sparse)
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Puts all of `part` at `at`, a multiple of the page's size, over what was there.
    pub fn write_part(&mut self, at: u64, part: Self) {
        debug_assert!(at.is_multiple_of(PAGE as u64) && at + part.len <= self.len);
        let first = at / PAGE as u64;
        self.pages.extend(part.pages.into_iter().map(|(page, bytes)| (first + page, bytes)));
    }

    /// The part of it that is at `range`, which is cut at its end.
    pub fn part(&mut self, range: Range<u64>) -> io::Result<Self> {
        self.seek(SeekFrom::Start(range.start))?;
        let mut part = Self::new(range.end.min(self.len).saturating_sub(range.start));
        let len = part.len;
        io::copy(&mut self.take(len), &mut part)?;
        Ok(part)
    }

    /// All of it, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let pages = 0..self.len.div_ceil(PAGE as u64);
        pages.map(|page| {
            let bytes = self.pages.get(&page).map_or(&ZEROS[..], |bytes| bytes);
            &bytes[..self.size(page * PAGE as u64)]
        })
    }

    /// The pages that are not zero, each with its place.
    fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let all = self.pages.iter().map(|(page, bytes)| (page * PAGE as u64, &bytes[..]));
        all.map(|(at, bytes)| (at, &bytes[..self.size(at)])).filter(|(_, bytes)| !is_zero(bytes))
    }

    /// A digest of its length and of every byte that is not zero: no other disk has the same one.
    /// It takes a tenth of the time of one over all bytes.
    pub fn digest(&self) -> Sha256 {
        let mut hasher = FieldHasher::default();
        hasher.field(self.len.to_le_bytes());
        for (at, bytes) in self.data() {
            hasher.field(at.to_le_bytes()).field(bytes);
        }
        hasher.finish()
    }

    /// Writes it into the new and empty `file`, with holes where it is zero.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        file.set_len(self.len)?;
        self.data().try_for_each(|(at, bytes)| file.write_all_at(bytes, at))
    }

    /// How many bytes the page at `at` has: the last one may be shorter.
    fn size(&self, at: u64) -> usize {
        usize::try_from(self.len.saturating_sub(at)).unwrap_or(PAGE).min(PAGE)
    }

    /// The page of the current place, the place in it, and how many of `wanted` bytes it has.
    fn locate(&self, wanted: usize) -> (u64, usize, usize) {
        let (page, inside) = (self.at / PAGE as u64, (self.at % PAGE as u64) as usize);
        let size = self.size(self.at - inside as u64).saturating_sub(inside);
        (page, inside, size.min(wanted))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &ZEROS[..bytes.len()]
}

/// Where the next data of `file` at or behind `at` is.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, Extent::Data(at)) {
        Ok(data) => Ok(Some(data)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Read for Sparse {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (page, inside, size) = self.locate(into.len());
        let bytes = self.pages.get(&page).map_or(&ZEROS[..], |bytes| bytes);
        into[..size].copy_from_slice(&bytes[inside..inside + size]);
        self.at += size as u64;
        Ok(size)
    }
}

impl Write for Sparse {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (page, inside, size) = self.locate(from.len());
        let from = &from[..size];
        if let Some(bytes) = self.pages.get_mut(&page) {
            bytes[inside..inside + size].copy_from_slice(from);
        } else if !is_zero(from) {
            let mut bytes = vec![0; PAGE];
            bytes[inside..inside + size].copy_from_slice(from);
            self.pages.insert(page, bytes.into());
        }
        self.at += size as u64;
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use std::os::unix::fs::MetadataExt;

    const LEN: usize = 5 * PAGE + 1000;

    fn whole(sparse: &Sparse) -> Vec<u8> {
        sparse.pieces().collect::<Vec<_>>().concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// It does what a disk without holes does.
        #[test]
        fn is_a_disk(steps in prop::collection::vec((0..=LEN as u64, 0usize..70_000, 0u8..3), 1..12)) {
            let mut sparse = Sparse::new(LEN as u64);
            let mut dense = Cursor::new(vec![0; LEN]);
            for (at, size, value) in steps {
                let size = size.min(LEN - at as usize);
                for disk in [&mut sparse as &mut dyn ReadWriteSeek, &mut dense] {
                    disk.seek(SeekFrom::Start(at)).unwrap();
                    disk.write_all(&vec![value; size]).unwrap();
                }
                let mut bytes = [vec![7; 300], vec![8; 300]];
                let count = 300.min(LEN - at as usize);
                sparse.seek(SeekFrom::Start(at)).unwrap();
                sparse.read_exact(&mut bytes[0][..count]).unwrap();
                bytes[1][..count].copy_from_slice(&dense.get_ref()[at as usize..][..count]);
                prop_assert!(bytes[0][..count] == bytes[1][..count]);
            }
            prop_assert!(&whole(&sparse) == dense.get_ref());
        }
    }

    trait ReadWriteSeek: Read + Write + Seek {}
    impl<T: Read + Write + Seek> ReadWriteSeek for T {}

    #[test]
    fn holes_stay_holes() {
        let mut sparse = Sparse::new(64 << 20);
        for at in [0, 5_000_000, (64 << 20) - 1] {
            sparse.seek(SeekFrom::Start(at)).unwrap();
            sparse.write_all(b"x").unwrap();
        }
        assert_eq!(sparse.write(b"beyond the end").unwrap(), 0);
        let file = tempfile::tempfile().unwrap();
        sparse.write_to(&file).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 <= 3 * PAGE as u64, "{} blocks", metadata.blocks());
        let back = Sparse::read(&file).unwrap();
        assert_eq!(back.pages.len(), 3);
        assert!(back.digest() == sparse.digest() && whole(&back) == whole(&sparse));
    }

    #[test]
    fn each_byte_counts_in_the_digest() {
        let mut disk = Sparse::new(1 << 20);
        disk.write_all(b"a").unwrap();
        let first = disk.digest();
        // A page that was written and is zero again is as one that was never written.
        disk.seek(SeekFrom::Start(700_000)).unwrap();
        disk.write_all(b"b").unwrap();
        assert_ne!(disk.digest(), first);
        disk.seek(SeekFrom::Start(700_000)).unwrap();
        disk.write_all(b"\0").unwrap();
        assert_eq!(disk.digest(), first);
        assert_ne!(Sparse::new(1 << 20).digest(), Sparse::new(2 << 20).digest());
    }

    #[test]
    fn a_part_is_put() {
        let mut part = Sparse::new(PAGE as u64);
        part.seek(SeekFrom::Start(3)).unwrap();
        part.write_all(b"part").unwrap();
        let mut disk = Sparse::new(LEN as u64);
        disk.write_part(2 * PAGE as u64, part);
        assert_eq!(&whole(&disk)[2 * PAGE + 3..][..4], b"part");
        let back = disk.part(2 * PAGE as u64 + 3..2 * PAGE as u64 + 7).unwrap();
        assert_eq!(whole(&back), b"part");
        assert_eq!(disk.part(LEN as u64 - 5..u64::MAX).unwrap().len(), 5);
    }
}

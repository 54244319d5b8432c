//! Whether a disk keeps as much as it says it has. Counterfeit cards and sticks do not: behind what they really have they
//! forget what is written, or write it over what is at their beginning.
//!
//! Before the image is written, a page of noise is written behind it every so often, as far as the end. Where a disk begins
//! anew, whatever its real size is, one of these pages comes to be where the image is going to be, and is gone when that
//! was written; where it forgets, the page is gone at once. What was in these places is put back in the end.

use std::ops::Range;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use super::buffer::{ALIGNMENT, Buffer};
use super::error::FlashFault;
use super::volume::BlockDevice;
use super::writer::HEAD;

const PAGE: u64 = ALIGNMENT as u64;

/// Of a disk that needs more places they are farther apart, and one that begins anew may not be found out.
const MAX_PAGES: u64 = 4096;

/// The places of a disk that were written to.
pub struct CapacityProbe<'a, S> {
    disk: &'a S,
    /// How many bytes it says it has.
    claimed_size: u64,
    /// Each with what was there before.
    pages: Vec<(u64, Buffer)>,
    seed: [u8; 32],
}

impl<'a, S: BlockDevice> CapacityProbe<'a, S> {
    /// Writes the pages to `disk`, which claims to have `claimed_size` bytes, behind the first `image` bytes; sees that they are
    /// there. They are different in each run, so none is there already.
    pub fn begin(disk: &'a S, image: u64, claimed_size: u64) -> Result<Self, FlashFault> {
        let mut seed = [0; 32];
        let drawn = getrandom(&mut seed, GetRandomFlags::empty());
        drawn.map_err(|why| FlashFault::Write { at: image, why: why.into() })?;
        let mut probe = Self { disk, claimed_size, pages: vec![], seed };
        for at in probe_offsets(image, claimed_size) {
            let mut before = Buffer::new(ALIGNMENT);
            disk.read(at, &mut before)?;
            probe.pages.push((at, before));
        }
        let begun = probe.write().and_then(|()| probe.check());
        // Nothing else was written yet: also on a disk that begins anew all is as it was, once this is undone.
        begun.or_else(|fault| probe.undo().and(Err(fault)))?;
        Ok(probe)
    }

    fn write(&self) -> Result<(), FlashFault> {
        for (at, _) in &self.pages {
            self.disk.write(*at, &probe_pattern(&self.seed, *at))?;
        }
        if self.pages.is_empty() { Ok(()) } else { self.disk.sync() }
    }

    /// Sees that all pages are still there.
    ///
    /// # Errors
    /// One is not: the disk has less than it says. It can also not be read.
    pub fn check(&self) -> Result<(), FlashFault> {
        let mut kept_pages = 0;
        for (at, _) in &self.pages {
            let mut there = Buffer::new(ALIGNMENT);
            self.disk.read(*at, &mut there)?;
            if *there != *probe_pattern(&self.seed, *at) {
                return Err(FlashFault::Counterfeit {
                    says: self.claimed_size,
                    has: kept_pages,
                    lost: *at,
                });
            }
            kept_pages = at + PAGE;
        }
        Ok(())
    }

    /// Puts back what was there, the last first: so also where two places are one.
    pub fn undo(&self) -> Result<(), FlashFault> {
        for (at, before) in self.pages.iter().rev() {
            self.disk.write(*at, before)?;
        }
        if self.pages.is_empty() { Ok(()) } else { self.disk.sync() }
    }
}

/// Where pages are written. Of two that follow one another, one comes to be behind the head of the image and before its
/// end, wherever between them the disk begins anew. The head is written when all is proved.
fn probe_offsets(image: u64, claimed_size: u64) -> impl Iterator<Item = u64> {
    let Range { start, end } =
        image.next_multiple_of(PAGE)..(claimed_size / PAGE * PAGE).max(PAGE) - PAGE;
    let apart = (image.saturating_sub(HEAD + PAGE) / PAGE * PAGE).max(PAGE);
    let apart = apart.max((claimed_size / MAX_PAGES).next_multiple_of(PAGE));
    let between = (start..end).step_by(usize::try_from(apart).unwrap_or(usize::MAX));
    between.chain((start..=end).contains(&end).then_some(end))
}

/// A page that is nowhere else.
fn probe_pattern(seed: &[u8; 32], at: u64) -> Buffer {
    let mut page = Buffer::new(ALIGNMENT);
    let digest = Sha256::new().chain_update(seed).chain_update(at.to_le_bytes()).finalize();
    for part in page.chunks_exact_mut(digest.len()) {
        part.copy_from_slice(&digest);
    }
    page
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const MIB: u64 = 1 << 20;
    const IMAGE: u64 = 4 * MIB;

    /// A disk of which only so many bytes are there.
    struct Disk {
        bytes: RefCell<Vec<u8>>,
        /// Whether it forgets what is written behind them, instead of beginning anew.
        forgets: bool,
    }

    impl Disk {
        fn new(has: u64, forgets: bool) -> Self {
            let pages = (0..has / PAGE).flat_map(|page| [page as u8; ALIGNMENT]);
            let bytes = pages.collect();
            Self { bytes: RefCell::new(bytes), forgets }
        }

        /// The part that is meant; nothing where it forgets.
        fn part(&self, at: u64, len: usize) -> Option<Range<usize>> {
            let has = self.bytes.borrow().len() as u64;
            let at = if self.forgets && at >= has { return None } else { (at % has) as usize };
            Some(at..at + len)
        }
    }

    impl BlockDevice for Disk {
        fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
            match self.part(at, into.len()) {
                Some(part) => into.copy_from_slice(&self.bytes.borrow()[part]),
                None => into.fill(0),
            }
            Ok(())
        }

        fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault> {
            if let Some(part) = self.part(at, bytes.len()) {
                self.bytes.borrow_mut()[part].copy_from_slice(bytes);
            }
            Ok(())
        }

        fn sync(&self) -> Result<(), FlashFault> {
            Ok(())
        }
    }

    /// As `flash` does it: the image behind its head, page by page, between both looks.
    fn flash(disk: &Disk, says: u64) -> Result<(), FlashFault> {
        let probe = CapacityProbe::begin(disk, IMAGE, says)?;
        for at in (HEAD..IMAGE).step_by(ALIGNMENT) {
            disk.write(at, &[0xa5; ALIGNMENT])?;
        }
        probe.check()?;
        probe.undo()
    }

    #[test]
    fn a_disk_that_has_what_it_says_keeps_what_is_behind_the_image() {
        for has in [IMAGE, IMAGE + PAGE, 5 * MIB + 512, 30 * MIB] {
            let disk = Disk::new(has.next_multiple_of(PAGE), false);
            let before = disk.bytes.borrow().clone();
            flash(&disk, has).unwrap();
            let behind = IMAGE as usize;
            assert!(disk.bytes.borrow()[behind..] == before[behind..], "{has}");
        }
    }

    #[test]
    fn a_disk_that_begins_anew_or_forgets_is_refused() {
        let says = 30 * MIB;
        let sizes = (IMAGE..says - 2 * MIB).step_by(3_234_944).chain([8 * MIB, 16 * MIB]);
        for has in sizes.map(|size| size / PAGE * PAGE) {
            for forgets in [false, true] {
                let disk = Disk::new(has, forgets);
                let before = forgets.then(|| disk.bytes.borrow().clone());
                let fault = flash(&disk, says).unwrap_err();
                let FlashFault::Counterfeit { says: said, has: kept, lost } = fault else {
                    panic!("{fault}");
                };
                assert_eq!(said, says);
                assert!(lost + PAGE > has, "{has}: {lost} is there");
                if let Some(before) = before {
                    assert!(kept <= has && has - kept <= 2 * IMAGE, "{has}: {kept}");
                    assert!(*disk.bytes.borrow() == before, "nothing was written");
                }
            }
        }
    }

    #[test]
    fn it_says_how_much_there_is() {
        let fault = FlashFault::Counterfeit { says: 64 << 30, has: 7 << 30, lost: 8 << 30 };
        let text = fault.to_string();
        assert!(text.contains("says that it has 65536 MiB, but"), "{text}");
        assert!(text.contains("between 7168 and 8192 MiB"), "{text}");
    }
}

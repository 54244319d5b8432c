//! The random seed of the flash: it is given to the kernel at each start, before anything random is drawn, and never
//! twice. It is replaced, and that is on the medium, before it counts as randomness.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use octet_esp::random_seed::{RANDOM_SEED_OFFSET, RandomSeed, SECTOR_SIZE};
use rustix::rand::{GetRandomFlags, getrandom};

use super::disk::at;
use crate::sys::add_randomness;

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
enum SeedUse {
    Credited,
    /// The flash has none: it was not made by `flash --hardware`, or the sector is damaged.
    Missing,
}

/// Gives the seed on the disk `device` to the kernel. Without it the box starts nevertheless.
pub fn load(device: &Path) {
    let is_ready = getrandom(&mut [0], GetRandomFlags::NONBLOCK).is_ok();
    let disk = File::options().read(true).write(true).open(device);
    let used = disk.and_then(|disk| take(&disk, &fresh(), add_randomness));
    match used.map_err(at(device)) {
        Ok(SeedUse::Credited) => {}
        // The kernel has enough by itself.
        Ok(SeedUse::Missing) if is_ready => {}
        Ok(SeedUse::Missing) => println!(
            "this flash has no random seed: keys wait until the kernel has collected enough randomness (`cargo image \
             flash --hardware` gives each flash one)"
        ),
        Err(problem) => eprintln!("the random seed does not count: {problem}"),
    }
}

/// Random bytes as good as the kernel has them now; they need not be good.
fn fresh() -> [u8; 32] {
    let mut bytes = [0; 32];
    let _ = getrandom(&mut bytes, GetRandomFlags::NONBLOCK | GetRandomFlags::INSECURE);
    bytes
}

/// Replaces the seed on `disk`, and gives the old one to `credit` once the new one is on the medium.
fn take(
    disk: &File,
    fresh: &[u8],
    credit: impl FnOnce(&[u8; 32]) -> io::Result<()>,
) -> io::Result<SeedUse> {
    let mut sector = [0; SECTOR_SIZE];
    disk.read_exact_at(&mut sector, RANDOM_SEED_OFFSET)?;
    let Some(seed) = RandomSeed::parse(&sector) else { return Ok(SeedUse::Missing) };
    disk.write_all_at(&seed.next(fresh).render(), RANDOM_SEED_OFFSET)?;
    disk.sync_all()?;
    credit(&seed.for_kernel())?;
    Ok(SeedUse::Credited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn disk(sector: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        file.as_file().write_all_at(sector, RANDOM_SEED_OFFSET).unwrap();
        file
    }

    fn on_medium(file: &File) -> [u8; SECTOR_SIZE] {
        let mut sector = [0; SECTOR_SIZE];
        file.read_exact_at(&mut sector, RANDOM_SEED_OFFSET).unwrap();
        sector
    }

    #[test]
    fn no_seed_is_used_twice() {
        let first = RandomSeed::new([7; 32]).render();
        let disk = disk(&first);
        let file = disk.as_file();
        let mut used = BTreeSet::new();
        for start in 0..10 {
            let before = on_medium(file);
            // Nothing is fresh: the seed alone makes the difference.
            let taken = take(file, &[], |bytes| {
                assert_ne!(on_medium(file), before, "the new seed is there first");
                assert!(used.insert(*bytes), "start {start}");
                Ok(())
            });
            assert_eq!(taken.unwrap(), SeedUse::Credited);
        }
        assert_eq!(used.len(), 10);
        let mut all = vec![0; 4 << 20];
        file.read_exact_at(&mut all, 0).unwrap();
        all[RANDOM_SEED_OFFSET as usize..][..SECTOR_SIZE].fill(0);
        assert!(all.iter().all(|byte| *byte == 0), "nothing else is written");
    }

    #[test]
    fn what_cannot_be_replaced_does_not_count() {
        let disk = disk(&RandomSeed::new([7; 32]).render());
        let read_only = File::open(disk.path()).unwrap();
        assert!(take(&read_only, &[], |_| panic!("it counts")).is_err());
        // A start that ends here, as by a power cut, has used it up.
        let file = disk.as_file();
        let cut = take(file, &[], |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(cut.is_err());
        let mut next = None;
        take(file, &[], |bytes| {
            next = Some(*bytes);
            Ok(())
        })
        .unwrap();
        assert_ne!(next, Some(RandomSeed::new([7; 32]).for_kernel()));
    }

    #[test]
    fn a_copied_image_has_none() {
        let mut torn = RandomSeed::new([7; 32]).render();
        torn[40] ^= 1;
        for sector in [&[0; SECTOR_SIZE], &torn] {
            let disk = disk(sector);
            let taken = take(disk.as_file(), b"x", |_| panic!("it counts"));
            assert_eq!(taken.unwrap(), SeedUse::Missing);
            assert_eq!(&on_medium(disk.as_file()), sector);
        }
    }
}

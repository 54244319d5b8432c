//! The script by which U-Boot starts a slot, as `mkimage -A arm64 -T script -C none` makes it (U-Boot,
//! include/image.h, "legacy image"). All numbers are big-endian.

/// Its path on the EFI system partition: U-Boot's distro boot looks for it there.
pub const SCRIPT: &str = "boot.scr";

const SOURCE: &str = include_str!("boot.cmd");

const MAGIC: u32 = 0x2705_1956;
const HEADER: usize = 64;

/// Operating system Linux, architecture arm64, type script, not compressed.
const KIND: [u8; 4] = [5, 22, 6, 0];

/// The script, of the time `epoch` in seconds since 1970.
pub fn script(epoch: u32) -> Vec<u8> {
    legacy_image(SOURCE.as_bytes(), epoch)
}

/// A script is the lengths of its parts, of which there is one, a zero, and that part.
fn legacy_image(script: &[u8], epoch: u32) -> Vec<u8> {
    let data = [&size(script).to_be_bytes()[..], &[0; 4], script].concat();
    let header = |checksum: u32| {
        let (load, entry) = (0, 0);
        let words = [MAGIC, checksum, epoch, size(&data), load, entry, crc32fast::hash(&data)];
        let mut header = words.map(u32::to_be_bytes).concat();
        header.extend(KIND);
        header.resize(HEADER, 0);
        header
    };
    let mut image = header(crc32fast::hash(&header(0)));
    image.extend(data);
    image
}

/// It has a few KiB.
fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

//! U-Boot where the boot ROM of an Allwinner H5 or A64 finds it: its first part, the SPL, at 128 KiB. That loads the
//! rest, a flattened image tree (FIT), from where it was itself in U-Boot's own file.
//!
//! The ROM looks at 8 KiB first; there an image has zeros.

use octet_esp::random_seed::RANDOM_SEED_OFFSET;

use super::{FirmwareDestination, FirmwareFile};

/// Where the SPL is on the medium, in bytes.
const SPL_AT: u64 = 128 << 10;

/// Bytes from the beginning of the SPL to that of the rest.
const SPL_AREA: usize = 32 << 10;

/// Bytes that the rest may have: behind it is the random seed.
const FIT_ROOM: usize = RANDOM_SEED_OFFSET as usize - (SPL_AT as usize + SPL_AREA);

/// Where the header of the SPL has what (U-Boot, include/sunxi_image.h): how it begins, its checksum, its length, its
/// version, and where the name of its device tree is.
const MAGIC: (usize, &[u8]) = (4, b"eGON.BT0");
const CHECKSUM_AT: usize = 12;
const LENGTH_AT: usize = 16;
const VERSION: (usize, &[u8]) = (20, b"SPL\x02");
const NAME_AT: usize = 32;
const HEADER: usize = 96;

/// What stands in the place of the checksum while it is computed.
const CHECKSUM_SEED: u32 = 0x5f0a_6c39;

/// A name is not longer.
const MAX_NAME: usize = 64;

/// How a FIT begins, and where it says how long it is (Devicetree Specification, 5.2; big-endian).
const FIT_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
const FIT_SIZE_AT: usize = 4;

/// Both parts as U-Boot's build joins them (`u-boot-sunxi-with-spl.bin`).
pub fn join(spl: &[u8], fit: &[u8]) -> Vec<u8> {
    let mut joined = spl.to_vec();
    joined.resize(SPL_AREA.max(spl.len()), 0);
    joined.extend_from_slice(fit);
    joined
}

/// Both parts of `u_boot`, if it is for the board with the device tree `tree`.
///
/// # Errors
/// It is not; says in words what it is.
pub fn firmware(tree: &str, u_boot: &[u8], origin: &str) -> Result<[FirmwareFile; 2], String> {
    let Some((spl, fit)) = u_boot.split_at_checked(SPL_AREA) else {
        return Err(format!(
            "it has {} bytes, and its first part alone has {SPL_AREA}",
            u_boot.len()
        ));
    };
    let name = spl_tree(spl)?;
    if name != tree {
        return Err(format!("its first part is for {name}, not for {tree}"));
    }
    check_fit(fit, tree)?;
    let file = |at, content: &[u8], part| FirmwareFile {
        destination: FirmwareDestination::Byte(at),
        content: content.to_vec(),
        origin: format!("{part} of {origin}"),
    };
    Ok([file(SPL_AT, spl, "SPL"), file(SPL_AT + SPL_AREA as u64, fit, "FIT")])
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_le_bytes).unwrap_or_default()
}

/// The name of the device tree that an SPL is for. Its checksum is what the ROM compares.
fn spl_tree(spl: &[u8]) -> Result<&str, String> {
    let has = |(at, bytes): (usize, &[u8])| spl[at..].starts_with(bytes);
    if !has(MAGIC) || !has(VERSION) {
        return Err("it does not begin with an SPL of Allwinner's format".into());
    }
    let length = number(spl, LENGTH_AT) as usize;
    if !(HEADER..=SPL_AREA).contains(&length) || !length.is_multiple_of(4) {
        return Err(format!("its SPL says that it has {length} bytes"));
    }
    let expected = number(spl, CHECKSUM_AT);
    let words = (0..length).step_by(4).filter(|at| *at != CHECKSUM_AT);
    let checksum = words.fold(CHECKSUM_SEED, |sum, at| sum.wrapping_add(number(spl, at)));
    if checksum != expected {
        return Err("the checksum of its SPL is wrong: it is damaged".into());
    }
    let name = spl.get(number(spl, NAME_AT) as usize..length).unwrap_or_default();
    let name = name.iter().take(MAX_NAME).position(|byte| *byte == 0).map(|end| &name[..end]);
    let is_plain = |name: &&[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let name = name.filter(is_plain).and_then(|name| std::str::from_utf8(name).ok());
    name.ok_or_else(|| "its SPL does not say what board it is for".into())
}

/// The SPL looks in the FIT for the configuration with the name of its device tree.
fn check_fit(fit: &[u8], tree: &str) -> Result<(), String> {
    if !fit.starts_with(&FIT_MAGIC) {
        return Err(format!("it has no FIT at its byte {SPL_AREA}"));
    }
    let size = fit.get(FIT_SIZE_AT..8).and_then(|word| word.try_into().ok());
    let size = size.map(u32::from_be_bytes).unwrap_or(u32::MAX) as usize;
    if size > fit.len() {
        return Err(format!(
            "its FIT has {size} bytes, and {} are there: it is cut short",
            fit.len()
        ));
    }
    if fit.len() > FIT_ROOM {
        return Err(format!("its FIT has {} bytes, and there is room for {FIT_ROOM}", fit.len()));
    }
    let name = [tree.as_bytes(), &[0]].concat();
    match fit.windows(name.len()).any(|part| part == name) {
        true => Ok(()),
        false => Err(format!("its FIT has nothing for {tree}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), offset in any::<u32>(), long in any::<bool>()) {
            if long {
                bytes.resize(SPL_AREA + 100, 7);
                bytes[MAGIC.0..12].copy_from_slice(MAGIC.1);
                bytes[VERSION.0..24].copy_from_slice(VERSION.1);
                bytes[LENGTH_AT..20].copy_from_slice(&(SPL_AREA as u32).to_le_bytes());
                bytes[NAME_AT..36].copy_from_slice(&offset.to_le_bytes());
                let words = (0..SPL_AREA).step_by(4).filter(|at| *at != CHECKSUM_AT);
                let sum = words.fold(CHECKSUM_SEED, |sum, at| sum.wrapping_add(number(&bytes, at)));
                bytes[CHECKSUM_AT..16].copy_from_slice(&sum.to_le_bytes());
            }
            prop_assert!(firmware("sun50i-h5-nanopi-neo2", &bytes, "x").is_err());
        }
    }
}

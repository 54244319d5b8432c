//! What a Raspberry Pi reads from its first FAT file system: its maker's firmware, and U-Boot, which that starts
//! instead of a kernel.

use std::path::Path;

use octet_bundle::SlotFile;
use octet_esp::contents::EspContents;
use octet_esp::medium::Medium;

use super::super::error::{FlashError, FlashFault};
use super::super::image::ImageFile;
use super::super::slots::Slots;
use super::super::volume::FatVolume;
use super::{FirmwareDestination, FirmwareFile, Hardware, HardwareError, read};
use crate::output::device_trees;

/// Its settings. With `upstream_kernel` it takes device trees by the names that Linux gives them; without
/// `enable_uart` the serial console of a Raspberry Pi 3 changes its speed with the processor's.
const CONFIG: &str = "\
# Written by `cargo image flash`; an update of Octet leaves it as it is.
arm_64bit=1
enable_uart=1
upstream_kernel=1
kernel=u-boot.bin
";

/// The licence of the firmware. It has to stay with the files, so it is copied if it is beside them.
const LICENCE: &str = "LICENCE.broadcom";

/// Where U-Boot's program says at which address it runs, and which that is (U-Boot, arch/arm/cpu/armv8/start.S;
/// configs/rpi_arm64_defconfig). It is another one on the boards of other makers.
const TEXT_BASE_AT: usize = 8;
const TEXT_BASE: u64 = 0x8_0000;

/// The files of the maker's from `folder`, and the settings for them.
pub fn firmware(
    hardware: Hardware,
    names: &[&str],
    folder: Option<&Path>,
) -> Result<Vec<FirmwareFile>, HardwareError> {
    let Some(folder) = folder else {
        return Err(HardwareError::NoFirmware { hardware, files: names.join(", ") });
    };
    let licence = folder.join(LICENCE).exists().then_some(LICENCE);
    let mut files = vec![];
    for name in names.iter().copied().chain(licence) {
        let path = folder.join(name);
        let content = read(hardware, &path)?;
        let what = match () {
            () if content.is_empty() => Some("it is empty"),
            () if name.ends_with(".elf") && !content.starts_with(b"\x7fELF") => {
                Some("it is not an ELF file")
            }
            () => None,
        };
        if let Some(what) = what {
            return Err(HardwareError::BadFirmware { path, what });
        }
        files.push(file(name, content, path.display().to_string()));
    }
    files.push(file("config.txt", CONFIG.into(), "settings for U-Boot".into()));
    Ok(files)
}

fn file(name: &str, content: Vec<u8>, origin: String) -> FirmwareFile {
    FirmwareFile { destination: FirmwareDestination::EspFile(name.to_owned()), content, origin }
}

/// U-Boot, if it is for a Raspberry Pi with 64 bits.
///
/// # Errors
/// It is not; in words.
pub fn u_boot(u_boot: Vec<u8>, origin: &str) -> Result<FirmwareFile, String> {
    let base = u_boot.get(TEXT_BASE_AT..TEXT_BASE_AT + 8).and_then(|base| base.try_into().ok());
    match base.map(u64::from_le_bytes) {
        Some(TEXT_BASE) => Ok(file("u-boot.bin", u_boot, origin.to_owned())),
        Some(other) => Err(format!("it runs at address {other:#x}, not at {TEXT_BASE:#x}")),
        None => Err("it is too short".into()),
    }
}

/// The device trees in the slot of `image` whose names begin with `start`, by the names that the firmware looks for.
pub fn device_trees(image: &ImageFile, start: &str) -> Result<Vec<FirmwareFile>, FlashError> {
    let bad = |what: String| FlashError::BadImage { path: image.path().to_owned(), what };
    let volume = FatVolume::open(image, image.layout()?.esp);
    let slots = Slots::new(volume.map_err(|error| bad(error.to_string()))?, 0);
    let content = EspContents::read(&slots).map_err(|error| bad(error.to_string()))?;
    let manifest = content.slots.iter().find_map(|slot| slot.manifest.as_ref());
    let Some((manifest, dtb)) = manifest.and_then(|it| Some((it, it.files.dtb.as_ref()?))) else {
        return Ok(vec![]);
    };
    let size = usize::try_from(dtb.size).unwrap_or(usize::MAX);
    if dtb.size > super::MAX_SIZE {
        return Err(bad(format!("its device trees have {size} bytes")));
    }
    let mut bytes = vec![0; size];
    let path = manifest.slot.file(SlotFile::Dtb);
    slots
        .read_at(&path, 0, &mut bytes)
        .map_err(|error| bad(FlashFault::from(error).to_string()))?;
    let trees = device_trees::parse(&bytes).map_err(|what| bad(format!("/{path}: {what}")))?;
    let ours = trees.into_iter().filter(|(name, _)| name.starts_with(start));
    let named = ours.map(|(name, tree)| {
        let (_, plain) = name.rsplit_once('/').unwrap_or(("", name));
        file(plain, tree.to_vec(), format!("slot {}", manifest.slot))
    });
    Ok(named.collect())
}

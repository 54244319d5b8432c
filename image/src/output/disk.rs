//! `octet.img`: the disk that firmware boots from, and that is written onto flash.

use std::borrow::Cow;
use std::io::{self, Seek, SeekFrom, Write};

use miette::Diagnostic;
use octet_bundle::SlotFile;
use octet_esp::boot_state::{BootState, COPY_OFFSETS, SlotPlace};
use zstd::stream::Encoder;

use super::entry::{LOADER_CONF, NamedSlot};
use super::esp::{self, EspItem};
use super::gpt::{self, DiskLayout};
use super::sparse::Sparse;
use super::u_boot;
use crate::target::Target;
use crate::tree::NodeOrigin;

/// The name of the disk's file.
pub const DISK: &str = "octet.img";

/// The name of the same, packed by zstd.
pub const PACKED: &str = "octet.img.zst";

/// The level of zstd(1). Nearly all of the content is compressed already: what is left are holes.
const LEVEL: i32 = 1;

/// Tells the first start that the data partition is to be formatted; it removes the file.
const FIRST_BOOT: &str = "octet/first-boot";

/// What goes onto the disk.
#[derive(Debug)]
pub struct DiskContents<'a> {
    pub target: Target,
    /// The one slot it has.
    pub slot: &'a NamedSlot<'a>,
    pub kernel: &'a NodeOrigin,
    /// The program systemd-boot, and whose it is.
    pub boot_loader: (&'a [u8], &'a NodeOrigin),
    /// The time of every file, in seconds since 1970.
    pub epoch: u32,
}

/// A file on the ESP.
#[derive(Debug)]
pub struct EspFile<'a> {
    /// Its path, without a leading `/`.
    pub path: String,
    pub content: Cow<'a, [u8]>,
    pub origin: &'a NodeOrigin,
    pub because: &'static str,
}

/// The disk cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DiskImageError {
    #[error("the partition table cannot be made: {0}")]
    #[diagnostic(help("this is a fault of Octet's: please report it"))]
    Table(String),
    #[error("the EFI system partition cannot be made: {0}")]
    #[diagnostic(help(
        "its {} MiB have to hold three slots: leave packages or modules out of appliance.toml",
        gpt::ESP_SIZE >> 20
    ))]
    Esp(io::Error),
    #[error("the boot state cannot be written: {0}")]
    #[diagnostic(help("this is a fault of Octet's: please report it"))]
    BootState(io::Error),
    /// A slot of which three do not fit.
    #[error("a slot of {0} MiB is too large: the EFI system partition is for three")]
    #[diagnostic(help("leave packages or modules out of appliance.toml"))]
    Slot(u64),
}

/// The whole disk. The data partition is zero: the first start makes its file system.
pub fn build(parts: &DiskContents<'_>) -> Result<Sparse, DiskImageError> {
    let slot = parts.slot;
    let size = slot.size();
    // Two slots, and one that is being written; what else is there takes less than 1 MiB.
    if 3 * size > gpt::ESP_SIZE - (8 << 20) {
        return Err(DiskImageError::Slot(size >> 20));
    }
    let layout = parts.target.layout();
    let mut disk = Sparse::new(layout.disk_size());
    gpt::write(&mut disk, layout).map_err(DiskImageError::Table)?;
    let esp = esp(parts, &files(parts)).map_err(DiskImageError::Esp)?;
    disk.write_part(layout.esp_start(), esp);
    if let Some(start) = layout.boot_state() {
        // Both copies: of one that is missing U-Boot would say that it is not valid.
        let state = BootState::initial(slot.manifest.slot.clone()).render();
        for offset in COPY_OFFSETS {
            let write = disk.seek(SeekFrom::Start(start + offset));
            write.and_then(|_| disk.write_all(&state)).map_err(DiskImageError::BootState)?;
        }
    }
    Ok(disk)
}

/// What firmware, boot loader and the first start look for on the ESP.
pub fn files<'a>(parts: &DiskContents<'a>) -> Vec<EspFile<'a>> {
    let (target, slot, (loader, of_loader)) = (parts.target, parts.slot, parts.boot_loader);
    let (name, own) = (&slot.manifest.slot, &NodeOrigin::Generated);
    let entry = slot.entry().into_bytes();
    let for_u_boot = match target.layout() {
        DiskLayout::Uefi => vec![],
        DiskLayout::Board => vec![
            (
                u_boot::SCRIPT.to_owned(),
                u_boot::script(parts.epoch).into(),
                own,
                "U-Boot starts it, and it starts the kernel",
            ),
            (
                SlotPlace::A.env_path(),
                slot.env().into_bytes().into(),
                own,
                "what U-Boot's script loads of the slot in place a",
            ),
        ],
    };
    let for_all = [
        (
            format!("EFI/BOOT/{}", target.efi_boot_name()),
            loader.into(),
            of_loader,
            "firmware starts it, and it starts the kernel",
        ),
        (
            format!("EFI/systemd/{}", target.systemd_boot_name()),
            loader.into(),
            of_loader,
            "bootctl(1) looks for it here",
        ),
        (
            "loader/loader.conf".to_owned(),
            LOADER_CONF.as_bytes().into(),
            own,
            "the boot loader's settings",
        ),
        (slot.entry_path(), entry.into(), own, "the boot loader's entry of the slot"),
        (name.file(SlotFile::Linux), slot.linux.into(), parts.kernel, "the boot loader starts it"),
        (
            name.file(SlotFile::Initrd),
            slot.initrd.into(),
            own,
            "the kernel starts PID 1 from there",
        ),
        (name.manifest(), slot.manifest.render().into(), own, "updates share what it names"),
        (FIRST_BOOT.to_owned(), [][..].into(), own, "the first start makes the data partition"),
    ];
    let trees = slot.dtb.map(|dtb| {
        let because = "U-Boot's script loads the board's device tree from there";
        (name.file(SlotFile::Dtb), dtb.into(), parts.kernel, because)
    });
    let all = for_all.into_iter().chain(trees).chain(for_u_boot);
    all.map(|(path, content, origin, because)| EspFile { path, content, origin, because }).collect()
}

fn esp(parts: &DiskContents<'_>, files: &[EspFile<'_>]) -> io::Result<Sparse> {
    let folder = parts.slot.manifest.slot.folder();
    let folders = ["EFI", "EFI/BOOT", "EFI/systemd", "loader", "loader/entries", "octet", &folder];
    let folders = folders.map(|path| EspItem { path: path.to_owned(), content: None });
    let files =
        files.iter().map(|file| EspItem { path: file.path.clone(), content: Some(&file.content) });
    let items: Vec<_> = folders.into_iter().chain(files).collect();
    esp::build(gpt::ESP_SIZE, parts.epoch, &items)
}

/// `disk` as one frame of zstd: without threads, of which the number could change the bytes.
pub fn compress(disk: &Sparse) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(vec![], LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(disk.len()))?;
    for piece in disk.pieces() {
        encoder.write_all(piece)?;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::entry::SlotProperties;
    use fatfs::{FileSystem, FsOptions};
    use std::io::Seek;

    fn slot(linux: &[u8]) -> NamedSlot<'_> {
        let of =
            SlotProperties { target: Target::QemuX86_64, version: "1.2.3", sequence: 1, trial: 60 };
        NamedSlot::new(&of, linux, b"initrd", None).unwrap()
    }

    fn disk(linux: &[u8]) -> Result<Sparse, DiskImageError> {
        let slot = slot(linux);
        let (target, own) = (Target::QemuX86_64, &NodeOrigin::Generated);
        let boot_loader = (&b"MZ"[..], own);
        let epoch = 1_795_132_800;
        build(&DiskContents { target, slot: &slot, kernel: own, boot_loader, epoch })
    }

    #[test]
    fn decompresses_to_the_same_disk() {
        let disk = disk(&vec![7; 100_000]).unwrap();
        let packed = compress(&disk).unwrap();
        assert!(packed.len() < 100_000, "{} bytes", packed.len());
        let mut unpacked = Sparse::new(disk.len());
        zstd::stream::copy_decode(&packed[..], &mut unpacked).unwrap();
        assert_eq!(unpacked.digest(), disk.digest());
    }

    #[test]
    fn has_all_that_firmware_and_boot_loader_look_for() {
        let mut disk = disk(b"linux").unwrap();
        let table = ::gpt::GptConfig::new().open_from_device(&mut disk).unwrap();
        let places = table.partitions().values().map(|it| (it.first_lba, it.last_lba));
        let places: Vec<_> = places.collect();
        let mut part = |number: usize| {
            let (first, last) = places[number];
            let range = first * gpt::SECTOR..(last + 1) * gpt::SECTOR;
            let mut part = disk.part(range).unwrap();
            part.rewind().unwrap();
            part
        };
        assert_eq!(part(1).digest(), Sparse::new(16 << 20).digest(), "data is zero");
        let fs = FileSystem::new(part(0), FsOptions::new()).unwrap();
        let mut found = vec![];
        list(&fs.root_dir(), "", &mut found);
        found.sort();
        let slot = slot(b"linux");
        let (version, entry) = (&slot.manifest.slot, slot.entry().len());
        let manifest = slot.manifest.render().len();
        assert_eq!(
            found,
            [
                "/EFI/BOOT/BOOTX64.EFI 2".to_owned(),
                "/EFI/systemd/systemd-bootx64.efi 2".to_owned(),
                format!("/loader/entries/octet-{version}+3.conf {entry}"),
                "/loader/loader.conf 20".to_owned(),
                format!("/octet/{version}/initrd 6"),
                format!("/octet/{version}/linux 5"),
                format!("/octet/{version}/manifest.json {manifest}"),
                "/octet/first-boot 0".to_owned(),
            ]
        );
    }

    fn list(folder: &fatfs::Dir<'_, Sparse>, path: &str, found: &mut Vec<String>) {
        for entry in folder.iter().map(Result::unwrap) {
            let name = entry.file_name();
            if entry.is_file() {
                found.push(format!("{path}/{name} {}", entry.len()));
            } else if !matches!(&name[..], "." | "..") {
                list(&entry.to_dir(), &format!("{path}/{name}"), found);
            }
        }
    }

    #[test]
    fn three_slots_have_to_fit() {
        let linux = vec![0; 83 << 20];
        assert!(matches!(disk(&linux), Err(DiskImageError::Slot(83))));
        // Device trees count.
        let of =
            SlotProperties { target: Target::BoardArm64, version: "1.2.3", sequence: 1, trial: 60 };
        let slot = NamedSlot::new(&of, &linux[..80 << 20], b"initrd", Some(&linux[..3 << 20]));
        let (slot, kernel) = (slot.unwrap(), &NodeOrigin::Generated);
        let (target, boot_loader) = (of.target, (&b"MZ"[..], kernel));
        let parts = DiskContents { target, slot: &slot, kernel, boot_loader, epoch: 1 };
        assert!(matches!(build(&parts), Err(DiskImageError::Slot(83))));
        let names = files(&parts).into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert!(names.contains(&slot.manifest.slot.file(SlotFile::Dtb)), "{names:?}");
    }
}

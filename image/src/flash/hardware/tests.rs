//! With Debian's packages of U-Boot, which dpkg unpacks for comparison.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::flash::{FlashTarget, Host, Unwatched, flash};
use crate::lock::Lock;
use crate::output::device_trees;
use crate::output::disk::{self, DiskContents};
use crate::output::entry::{NamedSlot, SlotProperties};
use crate::store::InputStore;
use crate::tree::NodeOrigin;

/// The trees in the slot of the image.
const TREES: [&str; 4] = [
    "allwinner/sun50i-h5-libretech.dtb",
    "broadcom/bcm2711-rpi-4-b.dtb",
    "broadcom/bcm2837-rpi-3-b-plus.dtb",
    "broadcom/bcm2837-rpi-3-b.dtb",
];

/// The first byte of the EFI system partition.
const ESP: u64 = 4 << 20;

fn image(target: Target, folder: &Path) -> ImageFile {
    let tree = |name: &str| [&[0xd0, 0x0d, 0xfe, 0xed], name.as_bytes()].concat();
    let trees = TREES.map(|name| (name, tree(name)));
    let trees: BTreeMap<_, _> = trees.iter().map(|(name, it)| (*name, &it[..])).collect();
    let trees = device_trees::render(&trees).unwrap();
    let dtb = (target == Target::BoardArm64).then_some(&trees[..]);
    let of = SlotProperties { target, version: "0.1.0", sequence: 7, trial: 60 };
    let slot = NamedSlot::new(&of, b"kernel", b"initrd", dtb).unwrap();
    let own = &NodeOrigin::Generated;
    let (boot_loader, epoch) = ((&b"MZ"[..], own), 1_795_132_800);
    let parts = DiskContents { target, slot: &slot, kernel: own, boot_loader, epoch };
    let path = folder.join(format!("{target}.img"));
    disk::build(&parts).unwrap().write_to(&fs::File::create(&path).unwrap()).unwrap();
    ImageFile::open(&path).unwrap()
}

/// The locked packages, out of the store.
fn debian() -> miette::Result<FirmwarePackages> {
    let lock_file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("appliance.lock");
    let (lock, store) = (Lock::read(&lock_file).unwrap(), InputStore::open(false).unwrap());
    Ok(FirmwarePackages { lock, lock_file, store, locked: true })
}

/// What dpkg unpacks of the same package.
fn unpacked(name: &str) -> TempDir {
    let file = debian().unwrap().file(|lock| lock.firmware(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new("dpkg-deb").arg("-x").arg(file).arg(folder.path()).status().unwrap();
    assert!(done.success());
    folder
}

fn nothing() -> miette::Result<FirmwarePackages> {
    panic!("something is fetched");
}

/// The whole of `image` as it is written for a board.
fn with(image: &ImageFile, firmware: &Firmware) -> ImageFile {
    image.copy_with(|disk| firmware.put(disk)).unwrap()
}

fn bytes(image: &ImageFile, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    image.read(range.start, &mut bytes).unwrap();
    bytes
}

/// Checks that both have the same behind byte `start`; where neither has data are zeros.
fn same_behind(start: u64, one: &ImageFile, other: &ImageFile) {
    assert_eq!(one.len(), other.len());
    for range in one.data().iter().chain(other.data()) {
        let range = range.start.max(start)..range.end.max(start);
        assert!(bytes(one, range.clone()) == bytes(other, range.clone()), "{range:?}");
    }
}

/// A folder with what looks like the firmware of a Raspberry Pi.
fn raspberry_firmware() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    for name in ["bootcode.bin", "fixup.dat", "fixup4.dat", "LICENCE.broadcom"] {
        put(name, name.as_bytes());
    }
    put("start.elf", b"\x7fELF of 3");
    put("start4.elf", b"\x7fELF of 4");
    folder
}

fn of_folder(folder: &Path) -> OwnFirmware {
    OwnFirmware { firmware: Some(folder.to_owned()), ..OwnFirmware::default() }
}

fn of_file(file: &Path) -> OwnFirmware {
    OwnFirmware { u_boot: Some(file.to_owned()), ..OwnFirmware::default() }
}

/// The error of one who has this.
fn refused(hardware: Hardware, own: &OwnFirmware) -> String {
    hardware.firmware(own, nothing).unwrap_err().to_string()
}

/// U-Boot of another board as one of `tree`, with the checksum that belongs to it (U-Boot, doc/board/allwinner/sunxi.rst:
/// the sum of all words, with 5f0a6c39 in its own place).
fn renamed(u_boot: &[u8], from: &str, tree: &str) -> Vec<u8> {
    let mut u_boot = u_boot.to_vec();
    for at in 0..u_boot.len() - from.len() {
        if u_boot[at..].starts_with(from.as_bytes()) && u_boot[at + from.len()] == 0 {
            u_boot[at..at + tree.len()].copy_from_slice(tree.as_bytes());
            u_boot[at + tree.len()] = 0;
        }
    }
    u_boot[12..16].copy_from_slice(&0x5f0a_6c39_u32.to_le_bytes());
    let words = u_boot[..32 << 10].chunks_exact(4);
    let sum = words
        .fold(0_u32, |sum, word| sum.wrapping_add(u32::from_le_bytes(word.try_into().unwrap())));
    u_boot[12..16].copy_from_slice(&sum.to_le_bytes());
    u_boot
}

/// What is written where for each board. A Raspberry Pi has what its own maker and Linux call its files.
#[test]
fn golden_list() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(Target::BoardArm64, folder.path());
    let raspberry = raspberry_firmware();
    let mut list = String::new();
    for hardware in Hardware::value_variants() {
        let own = match (hardware.package(), hardware.boot_rom()) {
            (None, BootRom::Allwinner { tree }) => {
                let file = folder.path().join(hardware.name());
                fs::write(&file, of_neo_plus2(tree)).unwrap();
                of_file(&file)
            }
            (_, BootRom::Allwinner { .. }) => OwnFirmware::default(),
            (_, BootRom::RaspberryPi { .. }) => of_folder(raspberry.path()),
        };
        let mut firmware = hardware.firmware(&own, debian).unwrap();
        firmware.complete(&image).unwrap();
        list += &format!("{hardware}:");
        for file in &firmware.files {
            list += &format!(" {}", file.destination);
        }
        list += "\n";
    }
    assert_eq!(list, GOLDEN);
}

const GOLDEN: &str = "\
orangepi_pc2: byte 131072 byte 163840 byte 2093056
orangepi_prime: byte 131072 byte 163840 byte 2093056
orangepi_zero_plus2: byte 131072 byte 163840 byte 2093056
nanopi_neo2: byte 131072 byte 163840 byte 2093056
nanopi_neo_plus2: byte 131072 byte 163840 byte 2093056
pine64_plus: byte 131072 byte 163840 byte 2093056
pine64-lts: byte 131072 byte 163840 byte 2093056
sopine_baseboard: byte 131072 byte 163840 byte 2093056
rpi_3: /bootcode.bin /start.elf /fixup.dat /LICENCE.broadcom /config.txt /u-boot.bin /bcm2837-rpi-3-b-plus.dtb /bcm2837-rpi-3-b.dtb byte 2093056
rpi_4: /start4.elf /fixup4.dat /LICENCE.broadcom /config.txt /u-boot.bin /bcm2711-rpi-4-b.dtb byte 2093056
";

const NEO_PLUS2: &str = "sun50i-h5-nanopi-neo-plus2";

/// U-Boot for the board with the device tree `tree`, as its own build makes it.
fn of_neo_plus2(tree: &str) -> Vec<u8> {
    let folder = unpacked("u-boot-sunxi");
    let file = |name: &str| {
        fs::read(folder.path().join("usr/lib/u-boot/nanopi_neo_plus2").join(name)).unwrap()
    };
    let whole = [file("sunxi-spl.bin"), file("u-boot-sunxi-with-spl.fit.itb")].concat();
    renamed(&whole, NEO_PLUS2, tree)
}

/// With nothing else changed, neither in the table nor in partitions, and with what dpkg unpacks.
#[test]
fn u_boot_of_debian_is_where_the_rom_of_allwinner_looks() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(Target::BoardArm64, folder.path());
    let package = unpacked("u-boot-sunxi");
    let head = bytes(&image, 0..ESP);
    let boards =
        Hardware::value_variants().iter().filter(|it| it.package() == Some("u-boot-sunxi"));
    let mut count = 0;
    for hardware in boards {
        let firmware = hardware.firmware(&OwnFirmware::default(), debian).unwrap();
        let disk = with(&image, &firmware);
        let u_boot = package.path().join("usr/lib/u-boot").join(hardware.name());
        let spl = fs::read(u_boot.join("sunxi-spl.bin")).unwrap();
        let fit = fs::read(u_boot.join("u-boot-sunxi-with-spl.fit.itb")).unwrap();
        let mut expected = head.clone();
        expected[128 << 10..][..spl.len()].copy_from_slice(&spl);
        expected[160 << 10..][..fit.len()].copy_from_slice(&fit);
        assert_eq!(spl.len(), 32 << 10);
        assert!(bytes(&disk, 0..ESP) == expected, "{hardware}");
        same_behind(ESP, &disk, &image);
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn u_boot_of_another_board_or_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = of_neo_plus2("sun50i-h5-orangepi-pc2");
    let file = folder.path().join("u-boot-sunxi-with-spl.bin");
    let own = of_file(&file);
    let check = |bytes: &[u8], words: &str| {
        fs::write(&file, bytes).unwrap();
        let told = refused(Hardware::OrangePiPc2, &own);
        assert!(
            told.contains("is not U-Boot for orangepi_pc2: ") && told.contains(words),
            "{told}"
        );
    };
    let with = |at: usize, byte: u8| {
        let mut changed = whole.clone();
        changed[at] = byte;
        changed
    };
    let prime = of_neo_plus2("sun50i-h5-orangepi-prime");
    check(&prime, "its first part is for sun50i-h5-orangepi-prime");
    // The SPL of one board with the rest of another.
    let mixed = [&whole[..32 << 10], &prime[32 << 10..]].concat();
    check(&mixed, "its FIT has nothing for sun50i-h5-orangepi-pc2");
    check(&with(20_000, whole[20_000] ^ 1), "checksum");
    check(&with(4, b'x'), "does not begin with an SPL");
    check(&with(17, 0xff), "says that it has");
    check(&with(32 << 10, 0), "has no FIT at its byte 32768");
    check(&whole[..32 << 10], "has no FIT");
    check(&whole[..20 << 10], "its first part alone has");
    check(&whole[..whole.len() - 1], "cut short");
    let mut large = whole.clone();
    large.resize((32 << 10) + 1_929_217, 0);
    check(&large, "there is room for");
    check(b"", "0 bytes");

    fs::write(&file, &whole).unwrap();
    assert!(Hardware::OrangePiPc2.firmware(&own, nothing).is_ok());
    assert!(refused(Hardware::OrangePiPc2, &OwnFirmware::default()).starts_with("Debian has no"));
    let told = refused(Hardware::OrangePiPc2, &of_file(&folder.path().join("none")));
    assert!(told.starts_with("cannot read "), "{told}");
    let build = OwnFirmware { build_u_boot: true, ..OwnFirmware::default() };
    let told = refused(Hardware::NanoPiNeo2, &build);
    assert_eq!(told, "Debian has U-Boot for nanopi_neo2: it is not built");
    let told = refused(Hardware::OrangePiPc2, &of_folder(folder.path()));
    assert_eq!(told, "orangepi_pc2 needs no firmware of a Raspberry Pi");
}

#[test]
fn a_raspberry_pi_finds_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(Target::BoardArm64, folder.path());
    let raspberry = raspberry_firmware();
    let mut firmware =
        Hardware::RaspberryPi3.firmware(&of_folder(raspberry.path()), debian).unwrap();
    firmware.complete(&image).unwrap();
    let disk = with(&image, &firmware);
    assert!(bytes(&disk, 0..SEED.start) == bytes(&image, 0..SEED.start));
    // Read by mtools, also by the short names that the ROM looks for.
    let path = folder.path().join("card.img");
    let card = fs::File::create(&path).unwrap();
    for range in disk.data() {
        card.write_all_at(&bytes(&disk, range.clone()), range.start).unwrap();
    }
    card.set_len(disk.len()).unwrap();
    let esp = format!("{}@@{ESP}", path.display());
    let read = |name: &str| {
        let read = Command::new("mtype").args(["-i", &esp, &format!("::{name}")]).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        read.stdout
    };
    assert_eq!(read("BOOTCODE.BIN"), b"bootcode.bin");
    assert_eq!(read("start.elf"), b"\x7fELF of 3");
    let tree = [&b"\xd0\x0d\xfe\xed"[..], b"broadcom/bcm2837-rpi-3-b.dtb"].concat();
    assert_eq!(read("bcm2837-rpi-3-b.dtb"), tree);
    assert!(String::from_utf8(read("config.txt")).unwrap().contains("\nkernel=u-boot.bin\n"));
    let package = unpacked("u-boot-rpi");
    let u_boot = fs::read(package.path().join("usr/lib/u-boot/rpi_arm64/u-boot.bin")).unwrap();
    assert!(read("u-boot.bin") == u_boot);

    let other = self::image(Target::QemuAarch64, folder.path());
    let told = firmware.complete(&other).unwrap_err().to_string();
    assert!(told.ends_with("is an image for other machines: it has no place for U-Boot"), "{told}");
}

#[test]
fn firmware_of_a_raspberry_pi_that_is_missing_or_bad_is_refused() {
    let (pi, raspberry) = (Hardware::RaspberryPi4, raspberry_firmware());
    let folder = raspberry.path();
    let told = refused(pi, &OwnFirmware::default());
    assert!(told.ends_with(": start4.elf, fixup4.dat"), "{told}");
    for (content, words) in [
        (Some(&b""[..]), "fixup4.dat is not firmware of a Raspberry Pi: it is empty"),
        (None, "fixup4.dat: No such file"),
    ] {
        let path = folder.join("fixup4.dat");
        content.map_or_else(|| fs::remove_file(&path), |it| fs::write(&path, it)).unwrap();
        let told = refused(pi, &of_folder(folder));
        assert!(told.contains(words), "{told}");
    }
    fs::write(folder.join("start.elf"), "<html>").unwrap();
    let told = refused(Hardware::RaspberryPi3, &of_folder(folder));
    assert!(told.ends_with("it is not an ELF file"), "{told}");
    let whole = raspberry_firmware();
    let own =
        |u_boot: &Path| OwnFirmware { u_boot: Some(u_boot.to_owned()), ..of_folder(whole.path()) };
    let sunxi = unpacked("u-boot-sunxi");
    let other = sunxi.path().join("usr/lib/u-boot/nanopi_neo2/u-boot.bin");
    let told = refused(pi, &own(&other));
    assert!(told.contains("it runs at address "), "{told}");
    let ours = unpacked("u-boot-rpi");
    assert!(
        pi.firmware(&own(&ours.path().join("usr/lib/u-boot/rpi_4/u-boot.bin")), nothing).is_ok()
    );
}

/// A card that has started another system: its first MiB, with the programs that a ROM finds there, goes.
#[test]
fn nothing_is_left_of_what_started_before() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(Target::BoardArm64, folder.path());
    let firmware = Hardware::NanoPiNeo2.firmware(&OwnFirmware::default(), debian).unwrap();
    let image = with(&image, &firmware);
    let path = folder.path().join("card");
    let card = fs::File::create(&path).unwrap();
    card.write_all_at(&of_neo_plus2(NEO_PLUS2), 8 << 10).unwrap();
    card.write_all_at(&vec![0xff; 1 << 20], 1 << 20).unwrap();
    card.set_len(1 << 30).unwrap();
    let target = FlashTarget::open(&path, &Host::local()).unwrap();
    flash(&image, &target, &Unwatched).unwrap();
    let mut written = vec![0; ESP as usize];
    fs::File::open(&path).unwrap().read_exact_at(&mut written, 0).unwrap();
    assert!(written == bytes(&image, 0..ESP));
    assert!(written[8 << 10..40 << 10].iter().all(|byte| *byte == 0), "the ROM looks there first");
    assert_eq!(&written[(128 << 10) + 4..][..8], b"eGON.BT0");
}

/// The bytes that the random seed of a medium has.
const SEED: Range<u64> = (2 << 20) - 4096..(2 << 20) - 4096 + 512;

#[test]
fn two_cards_differ_in_their_seeds_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(Target::BoardArm64, folder.path());
    let raspberry = raspberry_firmware();
    let card = || {
        let own = of_folder(raspberry.path());
        let mut firmware = Hardware::RaspberryPi4.firmware(&own, debian).unwrap();
        firmware.complete(&image).unwrap();
        with(&image, &firmware)
    };
    let cards = [card(), card()];
    let [one, other] = [&cards[0], &cards[1]].map(|card| bytes(card, SEED));
    assert!(one != other && one[4..].starts_with(b"octet-seed 1"));
    assert_eq!(bytes(&image, SEED), [0; 512], "an image has none");
    let seedless = |card: &ImageFile| {
        let no_seed = |disk: &mut Sparse| {
            disk.seek(SeekFrom::Start(SEED.start)).and_then(|_| disk.write_all(&[0; 512])).unwrap();
            Ok(())
        };
        card.copy_with(no_seed).unwrap()
    };
    same_behind(0, &seedless(&cards[0]), &seedless(&cards[1]));
}

/// With a compiler that says the version of that on Debian's machine, which is in the program; all else is this host's.
#[test]
#[ignore = "long: it compiles U-Boot, and needs what `cargo image flash --build-u-boot --setup` installs"]
fn a_board_of_debians_is_built_as_debian_builds_it() {
    let compiler = tempfile::tempdir().unwrap();
    for name in fs::read_dir("/usr/bin").unwrap().map(|entry| entry.unwrap().file_name()) {
        if name.to_string_lossy().starts_with(CROSS_COMPILE) {
            let there = Path::new("/usr/bin").join(&name);
            std::os::unix::fs::symlink(there, compiler.path().join(&name)).unwrap();
        }
    }
    let gcc = compiler.path().join(format!("{CROSS_COMPILE}gcc"));
    let said = "gcc (Debian 12.2.0-14+deb12u1) 12.2.0";
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = --version ] && echo '{said}' && exit\nexec /usr/bin/{CROSS_COMPILE}gcc \"$@\"\n"
    );
    fs::remove_file(&gcc).unwrap();
    fs::write(&gcc, script).unwrap();
    fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
    let prefix = compiler.path().join(CROSS_COMPILE).display().to_string();
    assert_eq!(source_build::compiler_version(&prefix).unwrap(), said);
    let source = debian().unwrap().u_boot_source().unwrap();
    let neo2 = Hardware::NanoPiNeo2;
    let built = source_build::build(neo2, &source, &prefix, None, &Steps::new()).unwrap();
    let package = debian().unwrap().package(SOURCE).unwrap();
    assert!(built == neo2.debian_u_boot(&package, "").unwrap());
}

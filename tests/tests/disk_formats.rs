//! Checks the disk image with independent tools, for both targets with `--soak`.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use octet_machine::Architecture;
use octet_tests::{AARCH64, DiskFile, Image, cache, must, run, shipped, shipped_for, soak};
use serde_json::Value;

fn images() -> Vec<Image> {
    let other = soak().then(|| shipped_for(AARCH64));
    [shipped()].into_iter().chain(other).collect()
}

#[test]
fn sgdisk_accepts_the_table_and_refuses_a_damaged_one() {
    for image in images() {
        let disk = DiskFile::copy(&image.file("octet.img"));
        disk.check_table();
        let listed = must(Command::new("sgdisk").arg("-p").arg(disk.path())).stdout;
        for words in ["octet-esp", "octet-data", "EF00", "8300"] {
            assert!(listed.contains(words), "no {words} in:\n{listed}");
        }
        let file = File::options().write(true).open(disk.path()).unwrap();
        file.write_all_at(b"damage", 1024 + 40).unwrap();
        let said = run(Command::new("sgdisk").arg("-v").arg(disk.path()));
        assert!(!said.stdout.contains("No problems found"), "{}", said.stdout);
    }
}

#[test]
fn fsck_vfat_accepts_the_esp_and_refuses_a_damaged_one() {
    for image in images() {
        let disk = DiskFile::copy(&image.file("octet.img"));
        let clean = disk.fsck_esp();
        assert_eq!(clean.status, Some(0), "{}{}", clean.stdout, clean.stderr);
        // The first file allocation table, after 32 reserved sectors: chains that end too early.
        let file = File::options().write(true).open(disk.path()).unwrap();
        let table = (1 << 20) + reserved(&disk.path()) * 512;
        file.write_all_at(&[0; 4096], table + 4096).unwrap();
        assert_ne!(disk.fsck_esp().status, Some(0));
    }
}

/// The number of sectors before the file allocation tables of the ESP.
fn reserved(disk: &Path) -> u64 {
    let mut bytes = [0; 2];
    File::open(disk).unwrap().read_exact_at(&mut bytes, (1 << 20) + 14).unwrap();
    u16::from_le_bytes(bytes).into()
}

#[test]
fn mtools_find_every_file_and_bootctl_the_entry() {
    for image in images() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskFile::copy(&image.file("octet.img"));
        let esp = folder.path().join("esp");
        fs::create_dir(&esp).unwrap();
        let place = format!("{}@@1M", disk.path().display());
        must(Command::new("mcopy").args(["-s", "-n", "-i", &place, "::*"]).arg(&esp));
        let slot = image.slot();
        let (loader, kernel) = match image.architecture {
            Architecture::X86_64 => ("BOOTX64.EFI", image.file("boot/linux")),
            Architecture::Aarch64 => ("BOOTAA64.EFI", unpacked(&esp, &slot, folder.path())),
        };
        assert!(esp.join("EFI/BOOT").join(loader).is_file());
        let same = |ours: &Path, theirs: &Path| must(Command::new("cmp").arg(ours).arg(theirs));
        let on_disk = esp.join("octet").join(&slot);
        same(&image.file("boot/initrd"), &on_disk.join("initrd"));
        if image.architecture == Architecture::X86_64 {
            same(&kernel, &on_disk.join("linux"));
        } else {
            same(&image.file("boot/linux"), &kernel);
        }

        // The manifest lists exactly these files.
        let sums = "find . -type f -exec sha256sum {} + | sed 's, \\., ,' | sort";
        let sums = must(Command::new("sh").args(["-c", sums]).current_dir(&esp)).stdout;
        assert_eq!(manifested(&image), sums);

        let listed = bootctl(&esp);
        for words in [
            "tries: 3 left".to_owned(),
            format!("octet-{slot}+3.conf"),
            format!("linux: /octet/{slot}/linux"),
            format!("octet.slot={slot}"),
        ] {
            assert!(listed.contains(&words), "no `{words}` in:\n{listed}");
        }
        // bootctl warns about an entry that it cannot read, and ignores it.
        let entry = esp.join("loader/entries").join(format!("octet-{slot}+3.conf"));
        fs::write(entry, "nothing\n").unwrap();
        assert!(!bootctl(&esp).contains(&format!("octet.slot={slot}")));
    }
}

/// The manifest's digests of the ESP's files, in the format of sha256sum.
fn manifested(image: &Image) -> String {
    let manifest = fs::read(image.file("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let items = manifest["esp"].as_array().unwrap().iter();
    let line = |item: &Value| {
        format!("{}  {}\n", item["sha256"].as_str().unwrap(), item["path"].as_str().unwrap())
    };
    items.map(line).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The kernel of the slot, which unpacks itself under UEFI, unpacked by gzip.
fn unpacked(esp: &Path, slot: &str, folder: &Path) -> PathBuf {
    let kernel = fs::read(esp.join("octet").join(slot).join("linux")).unwrap();
    assert_eq!(&kernel[4..8], b"zimg");
    let word = |at: usize| u32::from_le_bytes(kernel[at..at + 4].try_into().unwrap()) as usize;
    let packed = folder.join("kernel.gz");
    fs::write(&packed, &kernel[word(8)..word(8) + word(12)]).unwrap();
    must(Command::new("gzip").args(["--decompress", "--quiet"]).arg(&packed));
    let unpacked = folder.join("kernel");
    // The magic number in the kernel's Documentation/arch/arm64/booting.rst.
    assert_eq!(&fs::read(&unpacked).unwrap()[56..60], b"ARM\x64");
    unpacked
}

/// The entries that bootctl finds in a folder. It requires the root of a file system, so the folder
/// is bind-mounted onto itself.
fn bootctl(esp: &Path) -> String {
    let tools = cache().join(UNPACKED);
    let name = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = [format!("usr/lib/{name}/systemd"), format!("usr/lib/{name}")];
    let libraries = libraries.map(|path| tools.join(path).display().to_string()).join(":");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = "mount --bind \"$1\" \"$1\" && exec \"$0\" --no-pager --esp-path=\"$1\" list";
    command.args(["--mount", "sh", "-c", script]).arg(tools.join("usr/bin/bootctl")).arg(esp);
    command.env("SYSTEMD_RELAX_ESP_CHECKS", "1").env("LD_LIBRARY_PATH", libraries);
    must(&mut command).stdout
}

/// The folder in which `--setup` unpacks Debian packages that must not be installed.
const UNPACKED: &str = "octet/debian";

#[test]
fn zstd_unpacks_the_packed_disk() {
    for image in images() {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = folder.path().join("disk");
        let packed = image.file("octet.img.zst");
        must(Command::new("zstd").args(["-q", "-d", "-o"]).arg(&unpacked).arg(&packed));
        must(Command::new("cmp").arg(&unpacked).arg(image.file("octet.img")));
    }
}

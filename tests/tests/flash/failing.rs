//! Failing, shrinking and forgetting disks, and interrupted writes: errors are reported, and no
//! incomplete disk boots.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use octet_tests::{Output, must, run};
use rustix::process::{Pid, Signal, kill_process};

use crate::media::{
    self, Loop, MIB, Mounted, Room, Tmpfs, flash, refused, same, stopped_at, written,
};

#[test]
fn a_disk_that_fails_on_the_way() {
    let room = Room::new();
    let image = room.path("image");
    room.random(&image, 0, 32 << 20);
    // A disk whose file runs out of space in the middle of the write.
    for (mib, works) in [(40, true), (12, false)] {
        let tmpfs = Tmpfs::new(mib);
        let file = tmpfs.path("disk");
        File::create(&file).unwrap().set_len(32 * MIB).unwrap();
        let device = Loop::new(&file);
        if works {
            flash(&image, &device.path);
            same(&image, &device.path);
        } else {
            refused(&image, &device.path, &["cannot be written at byte", "is incomplete"]);
            media::starts_nothing(&device.path);
        }
    }
}

#[test]
fn a_disk_that_shrinks_on_the_way() {
    let room = Room::new();
    let image = room.path("image");
    room.random(&image, 0, 128 << 20);
    let tmpfs = Tmpfs::new(200);
    let file = tmpfs.path("disk");
    File::create(&file).unwrap().set_len(128 * MIB).unwrap();
    let device = Loop::new(&file);
    flash(&image, &device.path);
    same(&image, &device.path);

    File::create(&file).unwrap().set_len(128 * MIB).unwrap();
    let child = stopped_at(&image, &device.path, &file, 2 * MIB);
    File::options().write(true).open(&file).unwrap().set_len(MIB).unwrap();
    must(Command::new("losetup").arg("--set-capacity").arg(&device.path));
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let said = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{error}");
    assert!(error.contains("at byte") && error.contains("is incomplete"), "{error}");
}

#[test]
fn a_disk_that_does_not_keep_what_it_is_given() {
    let room = Room::new();
    let image = room.path("image");
    room.random(&image, 0, 16 << 20);
    let file = room.filled("disk", 16, 0);
    let device = Loop::new(&file);
    flash(&image, &device.path);

    let at = 5 * MIB + 123;
    let mut right = [0];
    File::open(&image).unwrap().read_exact_at(&mut right, at).unwrap();
    let (_, said) = forgetting(&file, at, || {
        room.filled("disk", 16, !right[0]);
        (right[0], media::command(&image, &device.path))
    });
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    let word = format!("byte {at} reads back as");
    assert!(said.stderr.contains(&word) && said.stderr.contains("incomplete"), "{}", said.stderr);
    media::starts_nothing(&device.path);
}

#[test]
fn what_is_read_back_is_not_the_page_cache() {
    let room = Room::new();
    let image = room.path("image");
    room.random(&image, 0, 8 << 20);
    let disk = room.filled("disk", 64, 0);
    let device = Loop::new(&disk);
    let _mounted = Mounted::new(&device.path, room.path("mounted"));
    let to = room.path("mounted/file");
    flash(&image, &to);
    same(&image, &to);

    // The position of the file's fourth MiB on the disk; a small file system has small blocks.
    let mut begins = [0; 1024];
    File::open(&image).unwrap().read_exact_at(&mut begins, 4 * MIB).unwrap();
    let all = fs::read(&disk).unwrap();
    let at = all.chunks(1024).position(|block| block == begins).expect("the file is there") * 1024;

    // The kernel caches that byte of the file; the disk forgets it.
    let mut right = begins[0];
    let (right, said) = forgetting(&disk, at as u64, || {
        right = !right;
        File::options().write(true).open(&image).unwrap().write_all_at(&[right], 4 * MIB).unwrap();
        (right, media::command(&image, &to))
    });
    assert_eq!(said.status, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("byte 4194304 reads back as"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("{:#04x} instead of", !right)), "{}", said.stderr);
}

/// Runs a command while the byte of `file` at `at` is changed as soon as it has the right value.
/// `again` prepares a run, and returns the right value. On a busy host the change may come too
/// late, after the byte was verified: then everything is repeated.
fn forgetting(file: &Path, at: u64, mut again: impl FnMut() -> (u8, Command)) -> (u8, Output) {
    for _ in 0..20 {
        let (right, mut command) = again();
        let over = AtomicBool::new(false);
        let said = std::thread::scope(|scope| {
            scope.spawn(|| {
                let disk = File::options().read(true).write(true).open(file).unwrap();
                let mut now = [0];
                while !over.load(Ordering::Relaxed) {
                    disk.read_exact_at(&mut now, at).unwrap();
                    if now[0] == right {
                        disk.write_all_at(&[!right], at).unwrap();
                    }
                }
            });
            let said = run(&mut command);
            over.store(true, Ordering::Relaxed);
            said
        });
        if said.status != Some(0) {
            return (right, said);
        }
    }
    panic!("nothing is wrong, however often the disk forgets a byte");
}

#[test]
fn stopped_half_way_it_starts_nothing_and_goes_on_later() {
    let room = Room::new();
    let image = room.path("image");
    room.random(&image, 0, 128 << 20);
    for signal in [Signal::INT, Signal::KILL] {
        // The disk is bootable before.
        let file = room.path("disk");
        fs::write(&file, [7; 8192]).unwrap();
        File::options().write(true).open(&file).unwrap().set_len(128 * MIB).unwrap();
        let child = stopped_at(&image, &file, &file, 4 * MIB);
        kill_process(Pid::from_child(&child), signal).unwrap();
        kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
        let said = child.wait_with_output().unwrap();
        assert!(!said.status.success());
        if signal == Signal::INT {
            let error = String::from_utf8_lossy(&said.stderr);
            assert_eq!(said.status.code(), Some(1), "{error}");
            assert!(error.contains("stopped") && error.contains("is incomplete"), "{error}");
        }
        media::starts_nothing(&file);
        let rest = written(&flash(&image, &file));
        assert!(rest < 128 * MIB, "what was there already is written again: {rest}");
        same(&image, &file);
    }
}

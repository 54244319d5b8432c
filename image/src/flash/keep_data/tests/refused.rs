//! What is left as it is.

use octet_bundle::Data;

use super::*;

/// Decides, and sees that nothing was written.
fn refused(image: &Power, disk: &Power, layout_of_disk: Option<PartitionLayout>) -> KeepDataError {
    let why = plan_slot_update((image, &layout()), (disk, layout_of_disk)).unwrap_err();
    assert_eq!(disk.changes.get(), 0);
    why
}

#[test]
fn what_is_not_this_octet() {
    let [running, new] = [1, 2].map(Release::number);
    let (with, image) = (disk(&[(&running, "")]), image(&new));
    assert_eq!(decide(&image, &with).unwrap().work, SlotWork::Write);
    assert!(matches!(refused(&image, &with, None), KeepDataError::NoOctet(_)));
    for other in [
        PartitionLayout { data: Some(SIZE + 512), ..layout() },
        PartitionLayout { data: None, ..layout() },
        PartitionLayout { esp: 0..SIZE - 4096, ..layout() },
        PartitionLayout { boot_state: Some(SIZE), ..layout() },
    ] {
        assert!(matches!(refused(&image, &with, Some(other)), KeepDataError::Layout));
    }
    let arm = Release::of(1, Target::QemuAarch64, noise(1, 9_000), noise(101, 9_000));
    let why = refused(&image, &disk(&[(&arm, "")]), Some(layout()));
    let said = "is for qemu-aarch64, and the image is for qemu-x86_64";
    assert_eq!(why.to_string(), said);
    // The same the other way round, of a disk that is laid out as the image is.
    let why = refused(&self::image(&arm), &with, Some(layout()));
    assert_eq!(why.to_string(), "is for qemu-x86_64, and the image is for qemu-aarch64");
    let mut files = running.files("");
    files.remove(&running.name().manifest());
    for files in [files, besides()] {
        let why = refused(&image, &Power::new(volume(&files)), Some(layout()));
        assert!(matches!(why, KeepDataError::NoOctet(_)), "{why}");
    }
    let why = refused(&Power::new(volume(&besides())), &with, Some(layout()));
    assert!(matches!(why, KeepDataError::Image(_)), "{why}");
}

#[test]
fn data_that_one_of_both_could_not_read() {
    let [running, mut new] = [1, 2].map(Release::number);
    let with = disk(&[(&running, "")]);
    assert_eq!(decide(&image(&new), &with).unwrap().work, SlotWork::Write);
    new.manifest.data = Data { reads: (1, 2), writes: 2 };
    let why = refused(&image(&new), &with, Some(layout()));
    assert!(matches!(&why, KeepDataError::Data(slot) if slot == running.name()), "{why}");
}

#[test]
fn files_that_nobody_can_trust() {
    let [running, new] = [1, 2].map(Release::number);
    let (with, image) = (disk(&[(&running, "")]), image(&new));
    assert_eq!(decide(&image, &with).unwrap().work, SlotWork::Write);
    // The root's entry in both tables says that the medium is bad there (the FAT specification).
    let mut boot = [0; 512];
    with.read(0, &mut boot).unwrap();
    let reserved = u64::from(u16::from_le_bytes([boot[14], boot[15]]));
    let mut table = [0; 512];
    with.read(reserved * 512, &mut table).unwrap();
    table[8..12].copy_from_slice(&0x0fff_fff7_u32.to_le_bytes());
    with.write(reserved * 512, &table).unwrap();
    with.sync().unwrap();
    with.changes.set(0);
    let why = refused(&image, &with, Some(layout()));
    assert!(matches!(why, KeepDataError::Damaged(_)), "{why}");
}

#[test]
fn without_room_slots_go_as_in_an_update() {
    // Large beside what a slot takes besides its files.
    let large = |number| {
        let (linux, initrd) = (noise(number, 400_000), noise(100 + number, 500_000));
        Release::of(number, Target::QemuX86_64, linux, initrd)
    };
    let [older, old, running, failed, new] = [1, 2, 3, 4, 5].map(large);
    let made = |slots: &[(&Release, &str)], left: Option<u64>| {
        let files = slots.iter().flat_map(|(release, counter)| release.files(counter));
        let mut files: Tree = besides().into_iter().chain(files).collect();
        let disk = Power::new(volume(&files));
        let Some(left) = left else { return disk };
        let there = FatVolume::open(&disk, 0..SIZE).unwrap();
        let free = Slots::new(there, 0).free().unwrap();
        files.insert("filler".into(), vec![0; usize::try_from(free - left).unwrap()]);
        Power::new(volume(&files))
    };
    let slots = [(&older, ""), (&old, ""), (&running, ""), (&failed, "+0-3")];
    let image = image(&new);
    assert_eq!(decide(&image, &made(&slots, None)).unwrap().removed, []);

    let full = made(&slots, Some(100_000));
    let keep = decide(&image, &full).unwrap();
    assert_eq!(keep.removed, [&older, &failed].map(|release| release.name().clone()));
    assert!(keep.describe().ends_with(&format!("goes: {}, {}.", older.name(), failed.name())));
    keep.apply((&image, &layout()), &full).unwrap();
    let (tree, found) = full.look(full.scratch().path());
    assert_eq!(found, None);
    assert!(is(&starts(&tree), &new) && holds(&tree, &running.files("")));
    assert!(
        holds(&tree, &old.files("")) && !tree.keys().any(|it| it.contains(older.name().as_str()))
    );

    // The one that starts and the one to go back to stay.
    let why = refused(&image, &made(&slots[1..3], Some(100_000)), Some(layout()));
    let KeepDataError::NoRoom(room) = why else { panic!("{why}") };
    assert!(room.needed > 900_000 && room.free < 100_000, "{room:?}");
}

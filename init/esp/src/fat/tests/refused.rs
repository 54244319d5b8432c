//! Damage that has another cause than a power cut.

use super::super::plan;
use super::damage::{Damage, put_dots};
use super::disk::Disk;

/// The error for a volume with this damage.
fn refused(harm: fn(&mut Disk)) -> String {
    let mut disk = Disk::made();
    Damage::Mounted.harm(&mut disk, 0);
    assert!(plan(&disk).is_ok());
    harm(&mut disk);
    plan(&disk).unwrap_err().to_string()
}

#[test]
fn chains() {
    for (said, harm) in [
        (
            "f04 with a name of three parts.new: cluster",
            (|disk| disk.link(2, disk.file(4).first, disk.entry(disk.file(3).first)))
                as fn(&mut Disk),
        ),
        ("is in use twice", |disk| disk.link(2, disk.file(4).first, disk.file(4).first)),
        ("is in use twice", |disk| {
            // A second entry, with another size.
            let (file, spare) = (disk.file(4), disk.spare(4));
            disk.put(spare.slot + 26, &(file.first as u16).to_le_bytes());
            disk.put(spare.slot + 28, &[1]);
        }),
        ("/octet: cluster 2 is in use twice", |disk| {
            let slot = disk.find(&["OCTET"]).slot;
            disk.put(slot + 26, &[2, 0]);
        }),
        ("f04 with a name of three parts.new: it continues at cluster 1,", |disk| {
            disk.link(2, disk.file(4).first, 1);
        }),
        ("it continues at cluster 268435446,", |disk| {
            disk.link(2, disk.file(4).first, 0x0FFF_FFF6);
        }),
        ("it continues at cluster 655", |disk| {
            let slot = disk.file(4).slot;
            disk.put(slot + 20, &[10]);
        }),
        ("/linux: it is not whole", |disk| {
            // A kernel whose chain in the table has lost its end.
            let slot = disk.find(&["OCTET", "0", "LINUX"]).slot;
            disk.put(slot + 28, &[0, 0, 8, 0]);
        }),
        ("is marked as bad", |disk| disk.link(2, disk.file(4).first, 0x0FFF_FFF7)),
    ] {
        let problem = refused(harm);
        assert!(problem.contains(said), "{problem}, not {said}");
    }
}

#[test]
fn folders() {
    for (said, harm) in [
        (
            "/loader/entries: it is not whole",
            (|disk| disk.link(2, disk.find(&["LOADER", "ENTRIES"]).first, 0)) as fn(&mut Disk),
        ),
        ("/loader: it continues at cluster 0", |disk| {
            let slot = disk.find(&["LOADER"]).slot;
            disk.put(slot + 26, &[0, 0]);
        }),
        ("/: it is not whole", |disk| disk.link(2, 2, 0)),
        ("/loader/entries/: this is not the content of a folder", |disk| {
            let slots = disk.slots(disk.find(&["LOADER", "ENTRIES"]).first);
            disk.put(slots[2], b"NAME\0WITHIN ");
        }),
        ("/: this is not the content of a folder", |disk| {
            let slot = disk.find(&["OCTET"]).slot;
            disk.put(slot + 4, &[3]);
        }),
        ("/folder: there are too many folders, or too large ones", |disk| {
            let first = disk.find(&["FOLDER"]).first;
            let last = *disk.chain(first).last().unwrap();
            disk.link(2, last, 20_000);
            (20_000..25_000).for_each(|cluster| disk.link(2, cluster, cluster + 1));
            disk.link(2, 25_000, u32::MAX);
        }),
        ("F/F/F/F: there are too many folders, or too large ones", |disk| {
            // A folder in itself.
            let slot = disk.file(0).slot;
            let mut entry = disk.get(slot)[..32].to_vec();
            entry[..12].copy_from_slice(b"F          \x10");
            let mut at = slot;
            for cluster in 20_000_u16..20_020 {
                entry[26..28].copy_from_slice(&cluster.to_le_bytes());
                disk.put(at, &entry);
                disk.link(2, cluster.into(), u32::MAX);
                let new = disk.volume().sector(cluster.into()) * 512;
                put_dots(disk, new, [cluster.into(), 0]);
                at = new + 64;
            }
        }),
    ] {
        let problem = refused(harm);
        assert!(problem.contains(said), "{problem}, not {said}");
    }
}

#[test]
fn volumes() {
    for (said, harm) in [
        ("sector 0 has no signature", (|disk| disk.put(511, &[0])) as fn(&mut Disk)),
        ("its sectors do not have 512 bytes", |disk| disk.put(11, &[0, 8])),
        ("the size of its clusters is no power of two", |disk| disk.put(13, &[0])),
        ("it is FAT12 or FAT16", |disk| disk.put(22, &[9])),
        ("it does not have two tables", |disk| disk.put(16, &[1])),
        ("its tables are not kept alike", |disk| disk.put(40, &[0x80])),
        ("its version is not 0.0", |disk| disk.put(42, &[1])),
        ("it is too small, or too large", |disk| disk.put(32, &[0xFF; 4])),
        ("it is too small, or too large", |disk| disk.put(32, &[0; 4])),
        ("its tables are too small", |disk| disk.put(36, &[9, 0])),
        ("it has no root", |disk| disk.put(44, &[1])),
        ("it has no FSINFO", |disk| disk.put(48, &[0xFF; 2])),
        ("FSINFO has no signature", |disk| disk.put(disk.volume().info * 512, &[0; 4])),
        ("its first table does not begin as one", |disk| disk.link(1, 0, 0)),
    ] {
        let problem = refused(harm);
        assert!(problem.contains(said), "{problem}, not {said}");
    }
}

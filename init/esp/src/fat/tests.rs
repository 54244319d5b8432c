mod any;
mod damage;
mod disk;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;
use damage::{Damage, Holds, damaged, damages};
use disk::{Disk, FILES};

/// The output and status of `fsck.vfat` if all is well.
const WELL: (&str, Option<i32>) = ("", Some(0));

#[test]
fn a_volume_that_is_well_stays_as_it_is() {
    let disk = Disk::made();
    let (said, status) = disk.fsck();
    assert_eq!((&*said, status), WELL);
    assert_eq!(plan(&disk).unwrap(), RepairPlan::default());
    assert_eq!(disk.files().len(), 5 + 2 * FILES);
}

/// The path of the file 5, or of the empty one beside it.
fn path(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    files.keys().find(|path| path.starts_with(&format!("/folder/{name}05 "))).unwrap().clone()
}

/// Each kind of damage alone: the report, and the remaining files.
#[test]
fn mends_what_a_cut_leaves() {
    use Damage::*;
    use Holds::*;
    let whole = Disk::made().files();
    let (file, spare) = (path(&whole, "f"), path(&whole, "s"));
    let mut emptied = whole.clone();
    emptied.insert(file.clone(), vec![]);
    let mut once = whole.clone();
    once.remove(&spare);
    let mut within = once.clone();
    within.insert(format!("{spare}/LINUX"), vec![]);
    let mut without = whole.clone();
    let content = without.remove(&file).unwrap();
    let mut short = without.clone();
    short.insert("/folder/F05WIT~1.NEW".into(), content);
    for (damage, files, said) in [
        (Mounted, &whole, "marked as unmounted"),
        (MountedElsewhere, &whole, "marked as unmounted"),
        (Lost { clusters: 7, tables: 1 }, &whole, "clusters freed: 7"),
        (Lost { clusters: 1, tables: 2 }, &whole, "clusters freed: 1"),
        (SecondTable { sector: 1 }, &whole, "the second table"),
        (Count { free: 7, next: 1 }, &whole, "free clusters counted"),
        (Short { from: 0, tables: 2 }, &emptied, "parts.new emptied"),
        (Short { from: 2, tables: 1 }, &emptied, "clusters freed: 2"),
        (Long { clusters: 3, ended: true }, &whole, "clusters freed: 3"),
        (Long { clusters: 1, ended: false }, &whole, "the second table"),
        (NoSize, &emptied, "clusters freed: 6"),
        (Begun, &whole, "s05 to be renamed emptied"),
        (Renamed, &once, "s05 to be renamed removed"),
        (Folder { tables: 0, holds: Old }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 0, holds: Nothing }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 0, holds: Unfinished }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 0, holds: Unwritten }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 1, holds: Old }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 2, holds: Old }, &once, "s05 to be renamed/ removed"),
        (Folder { tables: 1, holds: Nothing }, &once, "the second table"),
        (Folder { tables: 1, holds: Unwritten }, &within, "/LINUX emptied"),
        (NoEnd { slots: 1 }, &without, "/folder/: half a name removed"),
        (NoEnd { slots: 3 }, &without, "/folder/: half a name removed"),
        (NoLongName { slots: 1 }, &short, "/folder/: half a name removed"),
    ] {
        let mut disk = Disk::made();
        damage.harm(&mut disk, 5);
        let before = disk.fsck();
        assert_ne!((&*before.0, before.1), WELL, "{damage:?} is no damage");
        let plan = plan(&disk).unwrap();
        let done = plan.done.join("; ");
        assert!(done.contains(said), "{damage:?}: {done}");
        let after = disk.after(&plan);
        let (said, status) = after.fsck();
        assert_eq!((&*said, status), WELL, "{damage:?}");
        let after = after.files();
        assert!(after.keys().eq(files.keys()), "{damage:?}: {:?}", after.keys());
        assert!(after == *files, "{damage:?}");
    }
}

/// A kernel that was being written is recognised by its name, unlike a finished one.
#[test]
fn a_large_file_that_is_not_finished_is_emptied() {
    let mut disk = Disk::made();
    Damage::Mounted.harm(&mut disk, 0);
    disk.put(disk.file(4).slot + 28, &[0, 0, 2, 0]);
    let plan = plan(&disk).unwrap();
    assert!(plan.done[0].ends_with("three parts.new emptied: its content was not there"));
    let (said, status) = disk.after(&plan).fsck();
    assert_eq!((&*said, status), WELL);
}

/// `fsck.vfat` does not report this, but firmware sees fewer files than the kernel does.
#[test]
fn a_folder_does_not_end_before_its_files() {
    let whole = Disk::made();
    let mut disk = whole.clone();
    Damage::Gap.harm(&mut disk, 0);
    assert!(disk.files().len() < whole.files().len());
    assert_eq!(plan(&disk).unwrap().done, ["/loader/: end corrected"]);
    assert!(disk.tidied().files() == whole.files());
}

#[test]
fn what_is_reserved_and_a_hint_stay() {
    let mut disk = Disk::made();
    let (info, lost) = (disk.volume().info * SECTOR as u64, 50_000);
    disk.link(1, lost, 0xA000_0000 | damage::END);
    let after = |next: u32| {
        let mut disk = disk.clone();
        Damage::Count { free: 7, next }.harm(&mut disk, 0);
        let after = disk.tidied();
        let bytes = [info + 492, after.entry_at(0, lost)].map(|at| u32_at(after.get(at), 0));
        assert_eq!(bytes[1], 0xA000_0000);
        bytes[0]
    };
    assert_eq!(after(777), 777);
    assert_eq!(after(1_000_000), u32::MAX, "there is no such cluster");
}

/// Several at once; the files that were not damaged are unchanged.
#[test]
fn fsck_has_nothing_to_say_afterwards() {
    let mut runner = TestRunner::deterministic();
    let whole = Disk::made().files();
    let mut found = BTreeSet::new();
    for _ in 0..60 {
        let damages = damages().new_tree(&mut runner).unwrap().current();
        let disk = damaged(&damages);
        found.extend(disk.fsck().0.lines().map(|line| line.trim().to_owned()));
        let after = disk.tidied();
        let (said, status) = after.fsck();
        assert_eq!((&*said, status), WELL, "{damages:?}");
        let files = after.files();
        for (path, content) in &whole {
            let number = path.strip_prefix("/folder/").map(|name| name[1..3].parse().unwrap());
            if number.is_none_or(|number: usize| number >= damages.len()) {
                assert!(files.get(path) == Some(content), "{path} after {damages:?}");
            }
        }
    }
    assert!(found.len() > 100, "{found:?}");
}

#[test]
fn tidies_a_device_only_if_it_has_to() {
    let tidy = |disk: &Disk, check| {
        let file = disk.in_a_file();
        let before = fs::read(file.path()).unwrap();
        let said = repair(file.path(), check);
        (said, before == fs::read(file.path()).unwrap())
    };
    let well = Disk::made();
    assert_eq!(tidy(&well, Check::IfDirty), (Ok(None), true));
    assert_eq!(tidy(&well, Check::Always), (Ok(None), true));
    let mut lost = well.clone();
    Damage::Lost { clusters: 2, tables: 2 }.harm(&mut lost, 0);
    assert_eq!(tidy(&lost, Check::IfDirty), (Ok(None), true));
    let (said, same) = tidy(&lost, Check::Always);
    assert!(said.unwrap().unwrap().starts_with("clusters freed: 2") && !same);
    for damage in [Damage::Mounted, Damage::MountedElsewhere] {
        let mut disk = lost.clone();
        damage.harm(&mut disk, 0);
        let (said, same) = tidy(&disk, Check::IfDirty);
        let said = said.unwrap().unwrap();
        assert!(said.starts_with("clusters freed: 2; ") && said.ends_with("; marked as unmounted"));
        assert!(!same);
        // If anything cannot be repaired, the whole volume is left alone.
        disk.link(2, disk.file(4).first, 1);
        let (said, same) = tidy(&disk, Check::IfDirty);
        let said = said.unwrap_err();
        assert!(
            said.ends_with("cluster 1, which does not exist; nothing was changed there"),
            "{said}"
        );
        assert!(same);
    }
}

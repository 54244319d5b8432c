//! The same on disks with a boot state: whichever firmware starts them, U-Boot or systemd-boot.

use octet_bundle::SlotEnv;
use octet_esp::boot_state::{
    BOOT_STATE_SIZE, BootState, COPY_OFFSETS, PlacedSlot, SlotPlace, TriesLeft,
};

use super::*;

const GOOD: TriesLeft = TriesLeft::Good;

fn board() -> PartitionLayout {
    PartitionLayout { boot_state: Some(SIZE), ..layout() }
}

/// The files of a release, and that of its place.
fn placed(release: &Release, counter: &str, place: SlotPlace) -> Tree {
    let mut files = release.files(counter);
    let path = |kind| format!("/{}", release.name().file(kind));
    let env = SlotEnv {
        slot: release.name().clone(),
        linux: path(SlotFile::Linux),
        initrd: path(SlotFile::Initrd),
        dtb: release.dtb.as_ref().map(|_| path(SlotFile::Dtb)),
        options: "quiet".to_owned(),
        trial: None,
    };
    files.insert(place.env_path(), env.render().into_bytes());
    files
}

/// A state of two slots.
fn state(a: Option<(&Release, TriesLeft)>, b: Option<(&Release, TriesLeft)>) -> BootState {
    let slot = |(release, tries): (&Release, _)| PlacedSlot { name: release.name().clone(), tries };
    let mut state = BootState::empty();
    (state.a, state.b) = (a.map(slot), b.map(slot));
    state
}

/// A disk with these files whose state was written twice: now it is `state`.
fn board_disk(files: &[Tree], state: Option<BootState>) -> Power {
    let files =
        besides().into_iter().chain(files.iter().flatten().map(|(a, b)| (a.clone(), b.clone())));
    let mut disk = Sparse::new(SIZE + BOOT_STATE_SIZE);
    disk.write_part(0, volume(&files.collect()));
    let power = Power::new(disk);
    if let Some(state) = state {
        for state in [BootState::empty(), state] {
            write_state(&power, &state);
        }
    }
    power
}

fn slots(disk: &Power) -> Slots<'_, Power> {
    Slots::new(FatVolume::open(disk, 0..SIZE).unwrap(), 0).with_boot_state(disk, Some(SIZE))
}

fn write_state(disk: &Power, state: &BootState) {
    let change = |copies: &_| Ok(Some(state.clone().write_over(copies).unwrap()));
    slots(disk).change_boot_state(change).unwrap();
    disk.changes.set(0);
}

fn newest(disk: &Power) -> Option<BootState> {
    BootState::newest(&slots(disk).boot_state().unwrap())
}

fn decide(image: &Power, disk: &Power) -> KeepDataPlan {
    plan_slot_update((image, &board()), (disk, Some(board()))).unwrap()
}

fn flash(image: &Power, disk: &Power) -> Result<u64, FlashFault> {
    decide(image, disk).apply((image, &board()), disk)
}

/// What U-Boot's script (`output/boot.cmd`) can start, in its order.
fn u_boot(disk: &Power, tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    let state = newest(disk);
    let places = state.as_ref().map_or(SlotPlace::BOTH, BootState::start_order);
    let start = |place: SlotPlace| {
        let env = SlotEnv::parse(&String::from_utf8_lossy(tree.get(&place.env_path())?))?;
        let named = state.as_ref().map(|state| state.slot(place).map(|slot| &slot.name));
        let file = |path: &str| tree.get(path.trim_start_matches('/')).cloned();
        named.is_none_or(|named| named == Some(&env.slot)).then_some(())?;
        file(&env.linux).zip(file(&env.initrd))
    };
    places.into_iter().filter_map(start).collect()
}

fn of(release: &Release) -> (Vec<u8>, Vec<u8>) {
    (release.linux.clone(), release.initrd.clone())
}

#[test]
fn both_firmwares_start_the_new_one_next() {
    let [old, running, new] = [1, 2, 3].map(Release::number);
    let (old, new) = (old.with_trees(noise(61, 700)), new.with_trees(noise(62, 9_000)));
    // U-Boot counts, and systemd-boot has tried one of them in vain; the owner has gone back to it.
    let files = [placed(&old, "+0-3", SlotPlace::A), placed(&running, "+3", SlotPlace::B)];
    let disk =
        board_disk(&files, Some(state(Some((&old, GOOD)), Some((&running, TriesLeft::Count(0))))));
    let keep = decide(&image(&new), &disk);
    assert_eq!((&keep.work, keep.fallback.as_ref()), (&SlotWork::Write, Some(old.name())));
    keep.apply((&image(&new), &board()), &disk).unwrap();
    let (tree, found) = disk.look(disk.scratch().path());
    assert_eq!(found, None);
    assert!(
        is(&starts(&tree), &new)
            && holds(&tree, &placed(&old, "+3", SlotPlace::A))
            && holds(&tree, &running.files("+3"))
    );
    assert_eq!(u_boot(&disk, &tree), [of(&new), of(&old)]);
    let after = newest(&disk).unwrap();
    let slot = |place| after.slot(place).map(|slot| (&slot.name, slot.tries));
    assert_eq!(slot(SlotPlace::A), Some((old.name(), GOOD)));
    assert_eq!(slot(SlotPlace::B), Some((new.name(), TriesLeft::NEW)));
    let env = SlotEnv::parse(&String::from_utf8_lossy(&tree["octet/b.env"])).unwrap();
    assert_eq!((&env.slot, env.trial), (new.name(), Some(60)));
    assert_eq!(env.dtb, Some(format!("/{}", new.name().file(SlotFile::Dtb))));
    assert_eq!(tree.get(&new.name().file(SlotFile::Dtb)), new.dtb.as_ref());
    assert!(String::from_utf8_lossy(&tree[&new.entry("+3")]).contains("octet.trial=60\n"));

    // Once more there is nothing to do, until U-Boot has used up its tries.
    let keep = decide(&image(&new), &disk);
    assert!(keep.is_done(), "{keep:?}");
    let mut failed = newest(&disk).unwrap();
    failed.b.as_mut().unwrap().tries = TriesLeft::Count(0);
    write_state(&disk, &failed);
    let keep = decide(&image(&new), &disk);
    assert!(keep.work == SlotWork::Unchanged && !keep.is_done(), "{keep:?}");
    keep.apply((&image(&new), &board()), &disk).unwrap();
    let (again, _) = disk.look(disk.scratch().path());
    assert!(again == tree && u_boot(&disk, &again) == [of(&new), of(&old)]);
    assert_eq!(newest(&disk).unwrap().b.unwrap().tries, TriesLeft::NEW);
}

/// Systemd-boot has counted, and the state is that of the image that was flashed, of which nothing is left. Then
/// U-Boot returns to the slot that runs, too; and so it does if neither copy is valid.
#[test]
fn a_state_that_nothing_has_counted_in_does_not_decide() {
    let [first, running, new] = [1, 2, 3].map(Release::number);
    let stale = BootState::initial(first.name().clone());
    let gone =
        placed(&first, "", SlotPlace::A).into_iter().filter(|(path, _)| path.ends_with(".env"));
    let gone: Tree = gone.collect();
    for (files, present) in [
        (vec![gone, running.files("")], Some(stale.clone())),
        (vec![placed(&first, "", SlotPlace::A), running.files("")], Some(stale)),
        (vec![running.files("")], None),
    ] {
        let disk = board_disk(&files, None);
        if let Some(state) = present {
            write_first_state(&disk, &state);
        }
        flash(&image(&new), &disk).unwrap();
        let (tree, found) = disk.look(disk.scratch().path());
        assert_eq!(found, None);
        assert!(is(&starts(&tree), &new) && holds(&tree, &running.files("")));
        assert_eq!(u_boot(&disk, &tree), [of(&new), of(&running)]);
        assert!(decide(&image(&new), &disk).is_done());
    }
}

/// As the image has it: one copy.
fn write_first_state(disk: &Power, state: &BootState) {
    let mut page = [0; 4096];
    page[..512].copy_from_slice(&state.render());
    disk.write(SIZE + COPY_OFFSETS[0], &page).unwrap();
    disk.sync().unwrap();
    disk.changes.set(0);
}

#[test]
fn a_slot_that_only_entries_know_is_started_by_u_boot_too() {
    let [good, only] = [1, 2].map(Release::number);
    let files = [placed(&good, "", SlotPlace::A), only.files("+3")];
    let disk = board_disk(&files, Some(state(Some((&good, GOOD)), None)));
    let keep = decide(&image(&only), &disk);
    assert!(keep.work == SlotWork::Unchanged && !keep.is_done(), "{keep:?}");
    keep.apply((&image(&only), &board()), &disk).unwrap();
    let (tree, found) = disk.look(disk.scratch().path());
    assert_eq!(found, None);
    assert_eq!(u_boot(&disk, &tree), [of(&only), of(&good)]);
    assert!(is(&starts(&tree), &only) && decide(&image(&only), &disk).is_done());
}

#[test]
fn after_any_write_either_firmware_starts_old_or_new() {
    let [old, failed, new] = [1, 2, 3].map(Release::number);
    let files = [placed(&old, "", SlotPlace::A), placed(&failed, "+0-3", SlotPlace::B)];
    let made = || {
        let state = state(Some((&old, GOOD)), Some((&failed, TriesLeft::Count(1))));
        // Its state is part of how it was made: a reset leaves it.
        let first = board_disk(&files, Some(state));
        Power::new(Sparse::read(first.whole().as_file()).unwrap())
    };
    let (image, disk) = (image(&new), made());
    flash(&image, &disk).unwrap();
    let changes = disk.changes.get();
    let (whole, _) = disk.look(disk.scratch().path());
    assert!(changes > 20, "{changes}");
    let mut new_starts = 0;
    let scratch = disk.scratch();
    for made in 0..changes {
        disk.reset();
        disk.cut_after(made);
        assert!(flash(&image, &disk).is_err(), "{made}");
        let mut chance = noise(made as u64, 20_000).into_iter();
        disk.back(|| chance.next().is_some_and(|it| it & 2 == 0));
        let at = format!("after {made} changes");
        let tree = disk.files(scratch.path());
        let (by_entries, by_state) = (starts(&tree), u_boot(&disk, &tree));
        assert!(is(&by_entries, &old) || is(&by_entries, &new), "{at}");
        assert!(by_state.contains(&of(&old)), "{at}");
        assert!(by_state[0] == of(&old) || by_state[0] == of(&new), "{at}");
        new_starts += usize::from(by_state[0] == of(&new));
        assert!(holds(&tree, &files[0]), "{at}");
        flash(&image, &disk).expect(&at);
        let (tree, found) = disk.look(scratch.path());
        assert_eq!(found, None, "{at}");
        assert!(
            tree == whole && u_boot(&disk, &tree) == [of(&new), of(&old)],
            "{at}: {:?}",
            tree.keys()
        );
    }
    assert!(new_starts >= 1 && new_starts < changes, "{new_starts}");
}

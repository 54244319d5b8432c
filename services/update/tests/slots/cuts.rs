//! A power failure after each change of an update and of a rollback.

use octet_bundle::SlotState;
use octet_esp::boot_counter::SlotEntries;
use octet_update::plan::RunningSystem;
use octet_update::rollback::rollback;

use crate::boot_loader::{count, is_whole, mark_good, start};
use crate::flash::Flash;
use crate::release::{Bytes, Release, key, noise, take};

/// The number of choices of which unsynced changes survive: all (as with `kill -9`), none, and
/// random ones.
const CHOICES: u32 = 12;

fn survives(choice: u32, at: usize) -> impl FnMut() -> bool {
    let mut chance = noise(choice + 1000 * at as u32, 500).into_iter();
    move || match choice {
        0 => true,
        1 => false,
        _ => chance.next().is_some_and(|byte| byte & 4 == 0),
    }
}

/// A box with three slots: the running one, the fallback, and a failed one.
fn full_box() -> (Flash, [Release; 4]) {
    let releases = [1, 2, 3, 4].map(Release::number);
    let mut flash = Flash::new(2 << 20);
    releases[0].flash(&mut flash, "");
    releases[1].flash(&mut flash, "");
    releases[2].flash(&mut flash, "+0-3");
    (flash, releases)
}

/// Whether a release is intact.
fn stands(flash: &Flash, release: &Release) -> bool {
    let name = release.name();
    let file = |path: String| flash.contents().get(&path).map(<[u8]>::to_vec);
    file(format!("octet/{name}/linux")).as_ref() == Some(&release.linux)
        && file(format!("octet/{name}/initrd")).as_ref() == Some(&release.initrd)
        && file(format!("octet/{name}/manifest.json")) == Some(release.manifest.render())
        && file(format!("loader/entries/octet-{name}.conf")).is_some()
}

#[test]
fn after_any_change_of_an_update_old_or_new_starts() {
    let (flash, [older, running, _, mut new]) = full_box();
    // It shares nothing with other slots, so that all files are written.
    new = Release::new(new.manifest.sequence, noise(7, 7300), noise(8, 9500));
    let bundle = new.signed(key());
    let mut whole = flash.clone().cut_after(usize::MAX);
    take(&mut whole, running.name(), &mut Bytes::new(bundle.clone())).unwrap();
    let changes = whole.changes;
    println!("{changes} changes");
    assert!(changes > 20, "{changes}");
    let (mut old_starts, mut new_starts) = (0, 0);
    for made in 0..=changes {
        for choice in 0..CHOICES {
            let mut cut = flash.clone().cut_after(made);
            let done = take(&mut cut, running.name(), &mut Bytes::new(bundle.clone()));
            assert_eq!(done.is_ok(), made == changes, "{made}");
            let mut cut = cut.after_cut(survives(choice, made));
            let at = format!("after {made} of {changes}, choice {choice}");
            assert!(stands(&cut, &running) && stands(&cut, &older), "{at}");
            let started = start(cut.contents()).unwrap();
            if is_whole(&started, &new) {
                new_starts += 1;
                // The entry is written last, so the slot is complete, and only has to become good.
                mark_good(&mut cut, new.name());
                assert!(is_whole(&start(cut.contents()).unwrap(), &new), "{at}");
                continue;
            }
            assert!(is_whole(&started, &running), "{at}: {started:?}");
            old_starts += 1;
            // The next attempt succeeds, and leaves nothing of this one.
            take(&mut cut, running.name(), &mut Bytes::new(bundle.clone())).expect(&at);
            let paths =
                |flash: &Flash| flash.contents().paths().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(paths(&cut), paths(&whole), "{at}");
            assert!(is_whole(&start(cut.contents()).unwrap(), &new), "{at}");
        }
    }
    println!("{old_starts} times the old one, {new_starts} times the new one");
    assert!(old_starts > 100 && new_starts >= CHOICES, "{old_starts} {new_starts}");
}

#[test]
fn after_any_change_of_a_rollback_one_of_them_starts() {
    let (flash, [older, running, ..]) = full_box();
    let this = RunningSystem { running: running.name(), floor: 0 };
    let mut whole = flash.clone().cut_after(usize::MAX);
    rollback(&mut whole, this).unwrap();
    assert!(is_whole(&start(whole.contents()).unwrap(), &older));
    let mut seen = [0, 0];
    for made in 0..=whole.changes {
        for choice in 0..CHOICES {
            let mut cut = flash.clone().cut_after(made);
            let _ = rollback(&mut cut, this);
            let mut cut = cut.after_cut(survives(choice, made));
            let started = start(cut.contents()).unwrap();
            let back = is_whole(&started, &older);
            assert!(back || is_whole(&started, &running), "{made} {choice}: {started:?}");
            seen[usize::from(back)] += 1;
            rollback(&mut cut, this).unwrap();
            assert!(is_whole(&start(cut.contents()).unwrap(), &older), "{made} {choice}");
        }
    }
    assert!(seen.iter().all(|count| *count >= CHOICES), "{seen:?}");
}

/// A new slot that became ready stays the one that starts, whatever a power failure leaves of its
/// being marked good; afterwards it is good, and not on trial.
#[test]
fn after_any_change_of_marking_good_the_new_slot_starts() {
    let (mut flash, [_, running, _, new]) = full_box();
    take(&mut flash, running.name(), &mut Bytes::new(new.signed(key()))).unwrap();
    count(&mut flash, new.name());
    let entries = |flash: &Flash| SlotEntries::read(flash, new.name().parse().unwrap()).unwrap();
    assert_eq!(entries(&flash).state(), Some(SlotState::Trying { left: 2, done: 1 }));
    assert!(!entries(&flash).is_marked_good());
    let mut whole = flash.clone().cut_after(usize::MAX);
    mark_good(&mut whole, new.name());
    let good = |flash: &Flash| {
        let started = start(flash.contents()).unwrap();
        let entry = String::from_utf8(flash.contents().get(&started.entry).unwrap().to_vec());
        is_whole(&started, &new)
            && started.entry == format!("loader/entries/octet-{}.conf", new.name())
            && !entry.unwrap().contains("octet.trial=")
            && entries(flash).is_marked_good()
    };
    assert!(good(&whole));
    let mut unfinished = 0;
    for made in 0..whole.changes {
        for choice in 0..CHOICES {
            let mut cut = flash.clone().cut_after(made);
            assert!(entries(&cut).mark_good(&mut cut).is_err(), "{made}");
            let mut cut = cut.after_cut(survives(choice, made));
            assert!(is_whole(&start(cut.contents()).unwrap(), &new), "{made} {choice}");
            unfinished += u32::from(!entries(&cut).is_marked_good());
            // The next start marks it.
            mark_good(&mut cut, new.name());
            assert!(good(&cut), "{made} {choice}");
        }
    }
    assert!(unfinished >= 3 * CHOICES, "{unfinished}");
}

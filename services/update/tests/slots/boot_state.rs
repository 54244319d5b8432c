//! A board that U-Boot starts: a power failure after each change of an update, of a trial and of a
//! rollback, also in the middle of a sector.

use octet_bundle::SlotState;
use octet_esp::boot_counter::{is_marked_good, mark_good, restore, slot_state};
use octet_esp::contents::EspContents;
use octet_esp::medium::Medium;
use octet_update::install::tidy;
use octet_update::plan::RunningSystem;
use octet_update::rollback::rollback;

use crate::boot_loader::{Started, is_whole};
use crate::flash::Flash;
use crate::release::{Bytes, Release, key, noise, take};
use crate::u_boot;

/// The number of choices of what survives a power failure: all, nothing, and random parts.
const CHOICES: u32 = 6;

fn survives(choice: u32, at: usize) -> impl FnMut() -> bool {
    let mut chance = noise(choice + 1000 * at as u32, 500).into_iter();
    move || match choice {
        0 => true,
        1 => false,
        _ => chance.next().is_some_and(|byte| byte & 4 == 0),
    }
}

/// A box with these slots: the place, the release, and its tries. The first one is started first.
fn flashed(slots: &[(&str, &Release, &str)]) -> Flash {
    let mut flash = Flash::new(2 << 20);
    let mut variables =
        vec![("first".to_owned(), slots[0].0.to_owned()), ("seq".into(), "9".into())];
    for (place, release, left) in slots {
        release.flash(&mut flash, "+3");
        let name = release.name();
        let env = format!(
            "slot={name}\nlinux=/octet/{name}/linux\ninitrd=/octet/{name}/initrd\n\
             options=quiet octet.slot={name}\ntrial=\n"
        );
        let dtb = release.dtb.as_ref().map(|_| format!("dtb=/octet/{name}/dtb\n"));
        let env = env + &dtb.unwrap_or_default();
        flash.put(&format!("octet/{place}.env"), env.as_bytes());
        variables.push(((*place).to_owned(), name.to_owned()));
        variables.push((format!("{place}_left"), (*left).to_owned()));
    }
    flash.set_boot_state([u_boot::export(&variables.into_iter().collect()), [0xff; 512]]);
    flash
}

/// The older slot, the running one, and two that share no file with others. The second and the last
/// have device trees.
fn releases() -> [Release; 4] {
    let of =
        |number| Release::new(number, noise(number as u32, 7300), noise(90 + number as u32, 9500));
    let with_trees = |number: u64| of(number).with_trees(noise(60 + number as u32, 700));
    [of(1), with_trees(2), of(3), with_trees(4)]
}

fn start(flash: &mut Flash) -> Started {
    u_boot::start(flash, None).unwrap().0
}

fn slot(release: &Release) -> octet_bundle::SlotName {
    release.name().parse().unwrap()
}

/// Checks that the state names no slot that is not complete: it is changed before anything of an old
/// slot is removed, and after all of a new one is on the medium. U-Boot would go on to the other
/// place if a file is missing, but not if its content is.
fn names_complete_slots(flash: &Flash, all: &[&Release], at: &str) {
    let (_, state) = u_boot::newest(&flash.boot_state().unwrap()).expect(at);
    for place in ["a", "b"] {
        let Some(name) = state.get(place) else { continue };
        let (slot, _) = u_boot::load(flash, place, Some(name)).expect(at);
        assert!(all.iter().any(|release| is_whole(&slot, release)), "{at}: {slot:?}");
    }
}

/// Checks that each start is that of a complete slot of `all`, and that one of the `good` ones is
/// started after three others at most, although none of those becomes good.
fn reaches_good(flash: &Flash, all: &[&Release], good: &[&Release], at: &str) {
    let mut flash = flash.clone();
    for turn in 0..4 {
        let started = start(&mut flash);
        assert!(all.iter().any(|release| is_whole(&started, release)), "{at}, {turn}: {started:?}");
        if good.iter().any(|release| is_whole(&started, release)) {
            return;
        }
    }
    panic!("{at}: no good slot in four starts");
}

fn paths(flash: &Flash) -> Vec<String> {
    flash.contents().paths().map(str::to_owned).collect()
}

#[test]
fn after_any_change_of_an_update_a_complete_slot_starts() {
    let [older, running, failed, new] = releases();
    let bundle = new.signed(key());
    let runs = ("b", &running, "good");
    for slots in [
        vec![runs],
        vec![runs, ("a", &older, "good")],
        vec![runs, ("a", &failed, "0")],
        // An update that was not started yet is replaced by another.
        vec![("a", &older, "3"), runs],
    ] {
        let flash = flashed(&slots);
        let all: Vec<_> = slots.iter().map(|it| it.1).chain([&new]).collect();
        let mut whole = flash.clone().cut_after(usize::MAX);
        take(&mut whole, running.name(), &mut Bytes::new(bundle.clone())).unwrap();
        let changes = whole.changes;
        let (mut old_starts, mut new_starts) = (0, 0);
        for made in 0..=changes {
            for choice in 0..CHOICES {
                let at = format!("{} {made} of {changes}, choice {choice}", slots.len());
                let mut cut = flash.clone().cut_after(made);
                let done = take(&mut cut, running.name(), &mut Bytes::new(bundle.clone()));
                assert_eq!(done.is_ok(), made == changes, "{at}");
                let mut cut = cut.after_cut(survives(choice, made));
                names_complete_slots(&cut, &all, &at);
                reaches_good(&cut, &all, &[&running], &at);
                if is_whole(&start(&mut cut.clone()), &new) {
                    new_starts += 1;
                    continue;
                }
                old_starts += 1;
                // What is left of it is removed, and the next attempt succeeds.
                let mut tidied = cut.clone();
                tidy(&mut tidied, running.name()).expect(&at);
                let is_new = |path: &String| path.contains(new.name());
                assert!(!paths(&tidied).iter().any(is_new), "{at}");
                take(&mut cut, running.name(), &mut Bytes::new(bundle.clone())).expect(&at);
                assert_eq!(paths(&cut), paths(&whole), "{at}");
                assert!(is_whole(&start(&mut cut), &new), "{at}");
            }
        }
        println!(
            "{changes} changes: {old_starts} times the old one, {new_starts} times the new one"
        );
        assert!(old_starts > 100 && new_starts >= CHOICES, "{old_starts} {new_starts}");
    }
}

/// U-Boot takes a try, PID 1 marks the slot good: the power fails in each of these writes.
#[test]
fn after_any_change_of_a_trial_a_complete_slot_starts() {
    let [older, running, _, new] = releases();
    let mut flash = flashed(&[("a", &running, "good"), ("b", &older, "good")]);
    take(&mut flash, running.name(), &mut Bytes::new(new.signed(key()))).unwrap();
    let both = [&running, &new];
    for tries in (0..3).rev() {
        for choice in 0..4 * CHOICES {
            let mut cut = flash.clone();
            u_boot::start(&mut cut, Some(&mut survives(choice, tries))).unwrap();
            reaches_good(&cut, &both, &[&running], &format!("try {tries}, choice {choice}"));
        }
        let (started, on_trial) = u_boot::start(&mut flash, None).unwrap();
        assert!(is_whole(&started, &new) && on_trial);
        let (left, done) = (tries as u32, 3 - tries as u32);
        let state = slot_state(&flash, &slot(&new)).unwrap();
        assert_eq!(state, Some(SlotState::Trying { left, done }));

        let mut whole = flash.clone().cut_after(usize::MAX);
        mark_good(&mut whole, &slot(&new)).unwrap();
        assert_eq!(whole.changes, 2);
        for made in 0..2 {
            for choice in 0..CHOICES {
                let at = format!("{tries} left, {made}, choice {choice}");
                let mut cut = flash.clone().cut_after(made);
                assert!(mark_good(&mut cut, &slot(&new)).is_err(), "{at}");
                let mut cut = cut.after_cut(survives(choice, made));
                reaches_good(&cut, &both, &both, &at);
                // The next start marks it.
                mark_good(&mut cut, &slot(&new)).expect(&at);
                let marked = cut.boot_state().unwrap();
                assert!(is_marked_good(&cut, &slot(&new)).unwrap(), "{at}");
                let (started, on_trial) = u_boot::start(&mut cut, None).unwrap();
                assert!(is_whole(&started, &new) && !on_trial, "{at}");
                // Nothing more is counted, and nothing written.
                mark_good(&mut cut, &slot(&new)).unwrap();
                assert_eq!(cut.boot_state().unwrap(), marked, "{at}");
            }
        }
    }
    assert!(is_whole(&start(&mut flash), &running));
}

#[test]
fn after_any_change_of_a_rollback_a_good_slot_starts() {
    let [older, running, _, new] = releases();
    let flash = flashed(&[("b", &running, "good"), ("a", &older, "good")]);
    let this = RunningSystem { running: running.name(), floor: 0 };
    let mut whole = flash.clone().cut_after(usize::MAX);
    assert_eq!(rollback(&mut whole, this).unwrap().as_str(), older.name());
    assert!(is_whole(&start(&mut whole), &older));
    let (_, state) = u_boot::newest(&whole.boot_state().unwrap()).unwrap();
    assert_eq!((&*state["first"], &*state["a_left"], &*state["b_left"]), ("a", "good", "0"));
    for made in 0..=whole.changes {
        for choice in 0..CHOICES {
            let mut cut = flash.clone().cut_after(made);
            let _ = rollback(&mut cut, this);
            let mut cut = cut.after_cut(survives(choice, made));
            let at = format!("{made}, {choice}");
            reaches_good(&cut, &[&older, &running], &[&older, &running], &at);
            assert_eq!(rollback(&mut cut, this).unwrap().as_str(), older.name());
            assert!(is_whole(&start(&mut cut), &older), "{at}");
        }
    }
    // A repeated rollback writes nothing.
    let before = whole.boot_state().unwrap();
    rollback(&mut whole, this).unwrap();
    assert_eq!(whole.boot_state().unwrap(), before);
    // Until the restart the other place has the only good slot.
    let bundle = || Bytes::new(new.signed(key()));
    let failure = take(&mut whole, running.name(), &mut bundle()).unwrap_err();
    assert!(failure.message.contains("runs and is not good"), "{failure}");
    assert_eq!(whole.boot_state().unwrap(), before);
    take(&mut whole, older.name(), &mut bundle()).unwrap();
    assert!(is_whole(&start(&mut whole), &new));
}

/// An update during a trial would leave no good slot.
#[test]
fn a_slot_on_trial_keeps_the_one_before() {
    let [_, running, next, new] = releases();
    let mut flash = flashed(&[("a", &running, "2"), ("b", &next, "good")]);
    let before = (flash.contents().clone(), flash.boot_state().unwrap());
    let bundle = || Bytes::new(new.signed(key()));
    let failure = take(&mut flash, running.name(), &mut bundle()).unwrap_err();
    assert!(failure.message.contains("the slot to return to"), "{failure}");
    assert_eq!((flash.contents().clone(), flash.boot_state().unwrap()), before);
    // Without a good slot in the other place nothing is lost.
    let mut flash = flashed(&[("a", &running, "2"), ("b", &next, "0")]);
    take(&mut flash, running.name(), &mut bundle()).unwrap();
    assert!(is_whole(&start(&mut flash), &new));
}

#[test]
fn the_state_decides_what_is_shown() {
    let [older, running, failed, new] = releases();
    let mut flash = flashed(&[("a", &running, "good"), ("b", &failed, "0")]);
    let shown = |flash: &Flash| {
        let present = EspContents::read(flash).unwrap();
        let next = present.next().unwrap().name.to_string();
        (
            next,
            present
                .slots
                .iter()
                .map(|slot| (slot.name.to_string(), slot.state))
                .collect::<Vec<_>>(),
        )
    };
    let (next, states) = shown(&flash);
    assert_eq!(next, running.name());
    assert!(states.contains(&(failed.name().to_owned(), SlotState::Trying { left: 0, done: 3 })));
    assert!(states.contains(&(running.name().to_owned(), SlotState::Good)));
    // A slot that the state does not name does not start, whatever its entry is called.
    older.flash(&mut flash, "");
    assert_eq!(shown(&flash), (next, states));
    assert!(tidy(&mut flash, running.name()).unwrap());
    assert!(!paths(&flash).iter().any(|path| path.contains(older.name())));
    assert!(paths(&flash).iter().any(|path| path.contains(failed.name())));

    take(&mut flash, running.name(), &mut Bytes::new(new.signed(key()))).unwrap();
    let (next, states) = shown(&flash);
    assert_eq!(next, new.name());
    assert_eq!(states.len(), 2);
    assert!(states.contains(&(next, SlotState::Trying { left: 3, done: 0 })));
    // Its entry and its place's file are there, with its trial.
    let path = format!("loader/entries/octet-{}+3.conf", new.name());
    assert!(flash.contents().get(&path).is_some());
    assert!(
        flash
            .contents()
            .get("octet/b.env")
            .unwrap()
            .ends_with(format!("trial=60\ndtb=/octet/{}/dtb\n", new.name()).as_bytes())
    );
    // Without the running slot nothing is done.
    assert!(tidy(&mut flash, older.name()).is_err());
    assert!(take(&mut flash, older.name(), &mut Bytes::new(new.signed(key()))).is_err());
}

#[test]
fn without_a_valid_copy_the_state_is_made_again() {
    let [older, running, ..] = releases();
    let mut flash = flashed(&[("b", &running, "good"), ("a", &older, "good")]);
    assert!(!restore(&mut flash, &slot(&running)).unwrap());
    flash.set_boot_state([[0; 512], [0xff; 512]]);
    assert!(EspContents::read(&flash).unwrap_err().to_string().contains("restart"));
    assert!(mark_good(&mut flash, &slot(&running)).is_err());
    // U-Boot starts a, and counts nothing.
    let lost = flash.boot_state().unwrap();
    assert!(is_whole(&start(&mut flash), &older));
    assert_eq!(flash.boot_state().unwrap(), lost);
    assert!(restore(&mut flash, &"1.0-other".parse().unwrap()).is_err());
    for made in 0..2 {
        for choice in 0..CHOICES {
            let mut cut = flash.clone().cut_after(made);
            assert!(restore(&mut cut, &slot(&running)).is_err());
            let mut cut = cut.after_cut(survives(choice, made));
            let started = start(&mut cut);
            assert!(is_whole(&started, &older) || is_whole(&started, &running), "{made} {choice}");
            restore(&mut cut, &slot(&running)).unwrap();
        }
    }
    assert!(restore(&mut flash, &slot(&running)).unwrap());
    let (_, state) = u_boot::newest(&flash.boot_state().unwrap()).unwrap();
    assert_eq!((&*state["first"], &*state["a_left"], &*state["b_left"]), ("b", "3", "3"));
    mark_good(&mut flash, &slot(&running)).unwrap();
    let states = [&older, &running].map(|it| slot_state(&flash, &slot(it)).unwrap());
    assert_eq!(states, [Some(SlotState::Trying { left: 3, done: 0 }), Some(SlotState::Good)]);
}

/// The folder of a slot that is gone keeps the device trees that a later one shares; only its place's
/// file says so.
#[test]
fn device_trees_are_shared_like_other_files() {
    let same = |release: Release| release.with_trees(noise(77, 2500));
    let [first, second, third, fourth] = releases().map(same);
    let mut flash = flashed(&[("a", &first, "good")]);
    let shared = format!("octet/{}/dtb", first.name());
    let (mut running, mut place) = (&first, "b");
    for next in [&second, &third] {
        let counts = take(&mut flash, running.name(), &mut Bytes::new(next.signed(key()))).unwrap();
        assert_eq!(counts.shared, 2500);
        let env = flash.contents().get(&format!("octet/{place}.env")).unwrap().to_vec();
        assert!(env.ends_with(format!("\ndtb=/{shared}\n").as_bytes()));
        assert!(is_whole(&start(&mut flash), next));
        mark_good(&mut flash, &slot(next)).unwrap();
        tidy(&mut flash, next.name()).unwrap();
        (running, place) = (next, if place == "b" { "a" } else { "b" });
    }
    assert!(flash.contents().get(&format!("octet/{}/linux", first.name())).is_none());
    let trees = paths(&flash).into_iter().filter(|path| path.ends_with("/dtb"));
    assert!(trees.eq([shared.as_str()]));

    // Other ones are written; those are removed once no slot needs them.
    let other = fourth.with_trees(noise(78, 2500));
    take(&mut flash, third.name(), &mut Bytes::new(other.signed(key()))).unwrap();
    assert!(is_whole(&start(&mut flash), &other) && paths(&flash).contains(&shared));
    mark_good(&mut flash, &slot(&other)).unwrap();
    let last = Release::new(5, noise(5, 7300), noise(95, 9500));
    take(&mut flash, other.name(), &mut Bytes::new(last.signed(key()))).unwrap();
    assert!(is_whole(&start(&mut flash), &last) && !paths(&flash).contains(&shared));

    // Damaged ones are found when they are read back.
    mark_good(&mut flash, &slot(&last)).unwrap();
    let damaged = Release::new(6, noise(6, 7300), noise(96, 9500)).with_trees(noise(79, 2500));
    flash.bad = Some(format!("octet/{}/dtb", damaged.name()));
    let failure =
        take(&mut flash, last.name(), &mut Bytes::new(damaged.signed(key()))).unwrap_err();
    assert!(failure.message.contains("/dtb is not what was signed"), "{failure}");
    assert!(!paths(&flash).iter().any(|path| path.contains(damaged.name())));
}

/// A board that is started by UEFI has device trees in each slot's own folder.
#[test]
fn entries_alone_share_no_device_trees() {
    let [old, _, _, new] = releases();
    let same = |release: Release| release.with_trees(noise(77, 2500));
    let (old, new) = (same(old), same(new));
    let mut flash = Flash::new(2 << 20);
    old.flash(&mut flash, "");
    let counts = take(&mut flash, old.name(), &mut Bytes::new(new.signed(key()))).unwrap();
    assert_eq!((counts.shared, counts.copied), (0, 2500));
    for release in [&old, &new] {
        let path = format!("octet/{}/dtb", release.name());
        assert_eq!(flash.contents().get(&path), release.dtb.as_deref());
    }
    assert!(!tidy(&mut flash, old.name()).unwrap());
}

//! New slots that do not become good, each in a way of its own: the old one is back without a hand.

use octet_bundle::SlotState;
use octet_tests::{Release, fault_build, guest};

use crate::update::base::{boot, flashed, power_off, release, remake, wait_good};

/// What PID 1 says when it ends one.
pub const NOT_GOOD: &str = "the new slot is not good in time";

/// Seconds that a slot has here to become good.
const TRIAL: u32 = 20;

/// A base unit that never says that it is ready.
const NEVER: &str = "name = \"never\"\nexec = \"/bin/busybox\"\nargs = [\"sleep\", \"1000000\"]\n\
                     user = \"extra-1\"\nreadiness = \"notify\"\nbase = true\n\
                     sandbox.read = [\"/lib\", \"/usr/lib\"]\n";

const CHECK: &str = "name = \"check\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/check\"\n\
                     user = \"extra-2\"\nreadiness = \"exit\"\nrestart.policy = \"never\"\n";

/// What the builder does for the units that `[health]` names, and for base units.
fn slot_needs(unit: &mut serde_json::Value, needed: &str) {
    if unit["name"] == "slot" {
        unit["needs"].as_array_mut().unwrap().push(needed.into());
    }
}

/// A release whose kernel command line ends with `words`.
fn with(mut release: Release, words: &str) -> Release {
    let line = format!("{} {words}", release.manifest.command_line);
    release.manifest.command_line = line.trim_end().parse().unwrap();
    release.manifest.trial = TRIAL;
    release
}

/// One whose check fails, with this sequence number.
pub fn fails_its_check(sequence: u64) -> Release {
    let check = remake("check").program("check", &guest("crash")).unit(CHECK);
    let check = check.change_units(|unit| slot_needs(unit, "check")).image();
    with(Release::of(&check, sequence), "")
}

/// Those that end otherwise, each newer than the next.
fn others() -> Vec<(&'static str, Release)> {
    let panics = remake("panics").init(&fault_build()).image();
    let never = |name| remake(name).unit(NEVER).change_units(|unit| slot_needs(unit, "never"));
    let (hangs, never) = (never("hangs").init(&fault_build()).image(), never("never").image());
    // It is the watchdog that ends this one, before its trial is over.
    let mut hangs = with(Release::of(&hangs, 4), "octet.fault=stall:35");
    hangs.manifest.trial = 600;
    vec![
        ("panics", with(Release::of(&panics, 5), "octet.fault=panic:12")),
        ("hangs", hangs),
        ("is never ready", with(Release::of(&never, 3), "")),
    ]
}

#[test]
#[ignore = "long: `update::good` has one that fails its check; that a watchdog ends what stands still, and a panic itself, \
            tests of PID 1 show without an update"]
fn the_old_one_is_back_without_a_hand() {
    let old = release("old", 1);
    let mut bad = others();
    bad.push(("fails its check", fails_its_check(2)));
    let disk = flashed(&old);
    for (_, release) in &bad {
        // One try for each, so that this ends today.
        release.put_beside(&disk, SlotState::Trying { left: 1, done: 2 }, old.slot());
    }
    bad.iter().for_each(|(how, release)| println!("{} {how}", release.slot()));
    let machine = boot(&disk);
    assert_eq!(wait_good(&machine), old.slot().as_str());
    let console = machine.console().text();
    let restarts = console.matches(NOT_GOOD).count();
    println!("restarted {restarts} times by PID 1; {:?}", machine.events());
    assert_eq!(restarts, 2, "{}", machine.tail(60));
    assert!(console.contains("as the command line asks"), "{}", machine.tail(60));
    assert!(machine.events().contains(&"WATCHDOG".to_owned()), "{:?}", machine.events());
    power_off(&machine);
    drop(machine);
    let mut wanted = vec![format!("octet-{}.conf", old.slot())];
    wanted.extend(bad.iter().map(|(_, it)| format!("octet-{}+0-3.conf", it.slot())));
    wanted.sort();
    let mut entries = disk.entries();
    entries.sort();
    assert_eq!(entries, wanted);
}

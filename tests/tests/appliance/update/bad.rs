//! New slots that do not become good, each for another reason: the previous one boots again
//! automatically.

use octet_bundle::SlotState;
use octet_tests::{Release, fault_build, guest};

use crate::update::base::{boot, flashed, power_off, release, remake, wait_good};

/// PID 1's message when it ends a trial.
pub const NOT_GOOD: &str = "the new slot is not good in time";

/// The time in which a slot has to become good here, in seconds.
const TRIAL: u32 = 20;

/// A base unit that never becomes ready.
const NEVER: &str = "name = \"never\"\nexec = \"/bin/busybox\"\nargs = [\"sleep\", \"1000000\"]\n\
                     user = \"extra-1\"\nreadiness = \"notify\"\nbase = true\n\
                     sandbox.read = [\"/lib\", \"/usr/lib\"]\n";

const CHECK: &str = "name = \"check\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/check\"\n\
                     user = \"extra-2\"\nreadiness = \"exit\"\nrestart.policy = \"never\"\n";

/// Adds a dependency, as the builder does for the units in `[health]` and for base units.
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

/// A release whose health check fails, with this sequence number.
pub fn fails_its_check(sequence: u64) -> Release {
    let check = remake("check").program("check", &guest("crash")).unit(CHECK);
    let check = check.change_units(|unit| slot_needs(unit, "check")).image();
    with(Release::of(&check, sequence), "")
}

/// The releases that fail otherwise, each newer than the next one.
fn others() -> Vec<(&'static str, Release)> {
    let panics = remake("panics").init(&fault_build()).image();
    let never = |name| remake(name).unit(NEVER).change_units(|unit| slot_needs(unit, "never"));
    let (hangs, never) = (never("hangs").init(&fault_build()).image(), never("never").image());
    // The watchdog ends this one before its trial is over.
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
        // One try each, to save time.
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

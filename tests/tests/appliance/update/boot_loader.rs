//! These tests detect a boot loader that counts the tries of a slot differently: a simulation
//! behaves like the release in use, and then like others.

use octet_bundle::SlotState;
use octet_machine::{Machine, MachineError, State, UnitState};
use octet_tests::{Counting, DiskFile, READY, SOON};

use crate::update::bad::{NOT_GOOD, fails_its_check};
use crate::update::base::{flashed, power_off, release};

/// Whether the slot of `machine` has become good; if not, PID 1 has rebooted the machine.
fn becomes_good(machine: &Machine) -> bool {
    let good = |status: &octet_machine::Status| {
        let slot = status.unit("slot").map(|unit| unit.state);
        status.state == State::Ready && slot == Some(UnitState::Exited)
    };
    match machine.wait_status("a good slot", READY, good) {
        Ok(_) => true,
        Err(MachineError::Ended { .. }) => {
            let exit = machine.wait_exit(SOON).unwrap();
            let console = machine.console().text();
            assert!(exit.is_reboot() && console.contains(NOT_GOOD), "{exit}\n{}", machine.tail(60));
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// The slots that are booted until one is good, or until there were `most` of them.
fn started(counting: Counting, disk: &DiskFile, most: usize) -> Vec<String> {
    let mut slots = vec![];
    while slots.len() < most {
        let (slot, machine) = counting.boot(disk);
        let machine = machine.cpus(1).start().unwrap();
        slots.push(slot.to_string());
        if becomes_good(&machine) {
            power_off(&machine);
            break;
        }
    }
    slots
}

#[test]
#[ignore = "long: `cargo image test --soak`; the same in process is in `services/update/tests/slots/taken.rs`"]
fn one_that_counts_otherwise_never_leaves_a_bad_slot() {
    let (old, bad) = (release("old", 1), fails_its_check(2));
    let [old_slot, bad_slot] = [&old, &bad].map(|it| it.slot().to_string());
    let disk = flashed(&old);
    bad.put_beside(&disk, SlotState::Trying { left: 1, done: 2 }, old.slot());
    let entries = |counter: &str| {
        let mut names =
            vec![format!("octet-{old_slot}.conf"), format!("octet-{bad_slot}+{counter}.conf")];
        names.sort();
        names
    };
    for counting in Counting::ALL {
        let disk = DiskFile::copy(&disk.path());
        let (slots, counter) = match counting {
            Counting::Systemd252 => ([&bad_slot, &old_slot], "0-3"),
            Counting::Systemd258 => ([&bad_slot, &bad_slot], "0-4"),
            Counting::Systemd259 => ([&bad_slot, &bad_slot], "1-2"),
        };
        let seen = started(counting, &disk, 2);
        println!("{counting:?}: {seen:?}, {:?}", disk.entries());
        assert!(seen.iter().eq(slots), "{counting:?}: {seen:?}");
        let mut found = disk.entries();
        found.sort();
        assert_eq!(found, entries(counter), "{counting:?}");
    }
}

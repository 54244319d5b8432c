//! Faults of PID 1 itself: the machine reports the reason and reboots, whatever the fault. The
//! faults are in a build of their own (feature `fault`), which reads the kernel command line; the
//! released PID 1 does not contain them.

use std::fs;
use std::time::Instant;

use octet_machine::{Exit, Machine};
use octet_tests::{Image, READY, Remake, SOON, fault_build, shipped, soak};

use crate::supervisor::guest::wait_init_says;

/// The step of the core at which it fails: units are being started then.
const STEP: u32 = 12;

/// The step at which it stalls: after the watchdog was found, whose driver must have been loaded.
/// It is reached because every request is a step, too.
const LATE_STEP: u32 = 1000;

/// A text that only the faults contain.
const MARK: &[u8] = b"as the command line asks";

/// Boots `image` with a fault at `step`.
fn boot(image: &Image, kind: &str, step: u32) -> Machine {
    let argument = format!("octet.fault={kind}:{step}");
    image.machine().cpus(1).watchdog().kernel_argument(&argument).start().unwrap()
}

fn restarted(exit: &Exit) -> bool {
    exit.shutdown.as_ref().is_some_and(|end| end.guest && end.reason == "guest-reset")
}

/// The released PID 1 ignores the fault on the command line.
fn has_no_fault() {
    let machine = boot(&shipped(), "panic", STEP);
    machine.wait_ready(READY).unwrap();
    assert!(machine.power_off(SOON).unwrap().is_power_off(), "{}", machine.tail(20));
}

#[test]
fn a_pid_1_that_dies_or_stands_still_restarts_the_machine() {
    // In the short tier only the bytes are checked.
    let has_faults = |init: &[u8]| init.windows(MARK.len()).any(|it| it == MARK);
    assert!(!has_faults(&shipped().init()));
    assert!(has_faults(&fs::read(fault_build()).unwrap()));
    if soak() {
        has_no_fault();
    }
    let image = Remake::of(&shipped()).init(&fault_build()).image();
    let kinds = [
        ("panic", "as the command line asks"),
        // Only the kernel detects these.
        ("exit", "Attempted to kill init"),
        ("segv", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("overflow", "SIGSEGV"),
    ];
    for (kind, words) in &kinds[..if soak() { kinds.len() } else { 1 }] {
        let machine = boot(&image, kind, STEP);
        let exit = machine.wait_exit(READY).unwrap();
        println!("{kind}: {exit}\n{}", machine.tail(6));
        assert!(restarted(&exit), "{kind}: {exit}\n{}", machine.tail(20));
        assert!(machine.console().text().contains(words), "{kind}:\n{}", machine.tail(40));
        // PID 1 has ended the machine, and not the watchdog.
        assert!(!machine.events().contains(&"WATCHDOG".to_owned()), "{kind}");
    }
    stands_still(&image);
}

/// The watchdog reboots the machine. This one has booted before, which shows that the build with
/// faults works otherwise.
fn stands_still(image: &Image) {
    let machine = boot(image, "stall", LATE_STEP);
    machine.wait_ready(READY).unwrap();
    println!("{}", wait_init_says(&machine, &["watchdog", "stands still"]));
    let asked = Instant::now();
    let most = (0..LATE_STEP).find(|_| machine.status().is_err());
    println!("it stands still after {most:?} requests, and {:?}", asked.elapsed());
    assert!(most.is_some(), "it goes on after step {LATE_STEP}");
    let exit = machine.wait_exit(READY).unwrap();
    println!("{exit} after {:?}, and {:?}", asked.elapsed(), machine.events());
    assert!(restarted(&exit), "{exit}\n{}", machine.tail(20));
    assert!(machine.events().contains(&"WATCHDOG".to_owned()), "{:?}", machine.events());
}

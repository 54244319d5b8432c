//! Programs that cannot be executed: the unit fails permanently with a reason, and no other unit is
//! affected.

use std::fs;

use octet_machine::{Machine, UnitState};
use octet_tests::{Remake, guest};

use crate::supervisor::guest::wait_state;

/// The position of `e_machine` in an ELF header, and AArch64's number (the System V ABI, chapter
/// 4).
const E_MACHINE: std::ops::Range<usize> = 18..20;
const AARCH64: [u8; 2] = 183u16.to_le_bytes();

const NAMES: [&str; 5] = ["good", "foreign", "not-executable", "empty", "missing"];

fn unit(name: &str, user: u32) -> String {
    format!("name = \"{name}\"\nexec = \"/usr/lib/octet/{name}\"\nuser = \"extra-{user}\"\n")
}

/// Adds units whose programs cannot be executed, and one whose program can.
pub fn with(image: Remake) -> Remake {
    let good = fs::read(guest("hello")).unwrap();
    let mut foreign = good.clone();
    foreign[E_MACHINE].copy_from_slice(&AARCH64);
    let path = |name: &str| format!("/usr/lib/octet/{name}");
    let image = image
        .file(&path("good"), 0o755, good.clone())
        .file(&path("foreign"), 0o755, foreign)
        .file(&path("not-executable"), 0o644, good)
        .file(&path("empty"), 0o755, vec![]);
    (2..).zip(NAMES).fold(image, |image, (user, name)| image.unit(&unit(name, user)))
}

pub fn fail(machine: &Machine) {
    wait_state(machine, "good", UnitState::Ready);
    for name in &NAMES[1..] {
        fails(machine, name);
    }
    wait_state(machine, "good", UnitState::Ready);
}

fn fails(machine: &Machine, name: &str) {
    let unit = wait_state(machine, name, UnitState::Failed);
    let reason = unit.reason.unwrap_or_default();
    println!("{name}: {reason}");
    assert!(reason.contains("cannot execute"), "{name}: {reason}");
    assert_eq!(unit.restarts, 0, "another try cannot help: {name}");
}

//! Boots the released image, and builds it for the other architecture.

use octet_machine::{MachineError, UnitState};
use octet_tests::{AARCH64, READY, SOON, builder, must, shipped, shipped_for, workspace};

/// All phases, in their required order.
const PHASES: [&str; 7] = [
    "mount-api",
    "control-groups",
    "load-modules",
    "board-number",
    "mount-root",
    "mount-data",
    "supervise",
];

const MB: u64 = 1_000_000;

#[test]
fn comes_up_in_order_and_powers_off() {
    let machine = shipped().machine().memory(512).start().unwrap();
    let status = machine.wait_ready(READY).unwrap();
    for unit in &status.units {
        assert!(!matches!(unit.state, UnitState::Failed | UnitState::Backoff), "{unit:?}");
        assert_eq!(unit.restarts, 0, "{unit:?}");
    }
    assert!(status.ready_at.is_some());

    let boot = machine.boot().unwrap();
    let names: Vec<&str> = boot.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, PHASES);
    for phase in &boot.phases {
        assert_eq!(phase.result, "ok", "{phase:?}");
    }
    for pair in boot.phases.windows(2) {
        // Both values are rounded down to milliseconds.
        assert!(pair[0].start + pair[0].took <= pair[1].start + 1, "{pair:?}");
    }

    let init = machine.status().unwrap().memory.init_rss;
    assert!(init <= 4 * MB, "PID 1 has {init} bytes");

    let exit = machine.power_off(SOON).unwrap();
    assert!(exit.is_power_off(), "{exit}\n{}", machine.tail(20));
}

/// It takes minutes on a busy host: with so little memory, the guest reads its programs again and
/// again.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn fits_into_96_mib_knows_its_number_and_reboots() {
    let [said, unsaid] = [(); 2].map(|()| format!("marker-{:032x}", fastrand::u128(..)));
    let machine = shipped().machine().memory(96).kernel_argument("octet.board=3");
    let machine = machine.kernel_argument(&format!("test.said={said}")).start().unwrap();
    let status = machine.wait_ready(READY).unwrap();
    assert_eq!(status.board, Some(3));
    // The number on the command line takes precedence.
    let other = machine.call("board", serde_json::json!({ "number": 4 })).unwrap_err().to_string();
    assert!(other.contains("by its port this is board 4"), "{other}");
    assert_eq!(machine.status().unwrap().board, Some(3));
    // The search finds a text that the guest has received, and not one that it has not.
    let dump = machine.dump_memory().unwrap();
    let needles = [("said", said.as_bytes()), ("unsaid", unsaid.as_bytes())];
    assert_eq!(dump.contains(&needles).unwrap(), ["said"].into());
    machine.call("reboot", serde_json::Value::Null).unwrap();
    let exit = machine.wait_exit(SOON).unwrap();
    assert!(exit.is_reboot(), "{exit}\n{}", machine.tail(20));
}

#[test]
fn a_kernel_panic_is_told_with_the_consoles_tail() {
    // The same machine boots in the tests above; this one has no PID 1.
    let machine = shipped().machine().kernel_argument("rdinit=/no-such-init");
    // A reboot is permitted, but this is none: PID 1 has not announced it.
    let machine = machine.reboots().start().unwrap();
    let exit = machine.follow(|| panic!("it is no reboot")).unwrap();
    assert!(exit.panicked, "{exit}");
    let error = machine.wait_ready(READY).unwrap_err();
    assert!(matches!(&error, MachineError::Ended { exit, .. } if exit.panicked), "{error}");
    assert!(error.to_string().contains("| ") && error.to_string().contains("anic"), "{error}");
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn it_is_built_for_arm_too() {
    let (own, other) = (shipped(), shipped_for(AARCH64));
    let linux = std::fs::read(other.file("boot/linux")).unwrap();
    // The format that QEMU loads: the kernel's Documentation/arch/arm64/booting.rst.
    assert_eq!(linux[56..60], *b"ARM\x64");
    let sums = std::fs::read_to_string(other.file("SHA256SUMS")).unwrap();
    assert!(sums.contains("  octet.img\n") && sums.contains("  octet.img.zst\n"), "{sums}");
    assert_ne!(own.folder, other.folder, "each target has its own folder");
    let mut again = std::process::Command::new(builder());
    again.current_dir(workspace()).args(["build", "--target", AARCH64, "--offline"]);
    let again = must(&mut again);
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);
}

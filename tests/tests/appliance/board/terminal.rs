//! `cargo image run` and `cargo image ctl` in a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use octet_machine::Architecture;
use octet_tests::doc_test::{Page, Person};
use octet_tests::{
    Image, InTerminal, READY, builder, guest, link_programs, must, one_at_a_time, run, shipped,
    workspace,
};
use tempfile::TempDir;

use crate::cluster::silent_beside;

/// `cargo image` of the workspace; the image is built already.
fn image(args: &[&str]) -> Command {
    shipped();
    let mut command = Command::new(builder());
    command.current_dir(workspace()).args(args);
    command
}

/// The name under which `out/` has the single machine of `cargo image run`.
const RUN: &str = "run";

#[test]
fn a_person_watches_asks_and_turns_it_off() {
    let _one = one_at_a_time(RUN);
    let without = run(&mut image(&["ctl", "status"]));
    assert_ne!(without.status, Some(0));
    assert!(without.stderr.contains("cargo image run"), "{}", without.stderr);

    let page = Page::read("README.md").unwrap();
    let (last, commands) = page.below("What you will see").split_last().unwrap();
    let mut person = Person::here();
    person.types(&page, commands);
    let json = must(&mut image(&["ctl", "--json", "status"])).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "ready");
    let help = must(&mut image(&["ctl", "--help"])).stdout;
    let told = ["status", "boot", "logs", "poweroff", "Remote access for operators", "--board <N>"];
    for word in told {
        assert!(help.contains(word), "no `{word}` in:\n{help}");
    }
    // Options may precede the unit and follow the verb.
    let shown = must(&mut image(&["ctl", "gate", "--json", "show", "--machine", "1"])).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["operators"], serde_json::json!([]));
    let verbs = must(&mut image(&["ctl", "gate", "verbs"])).stdout;
    assert!(verbs.lines().any(|line| line.starts_with("logd logs")), "{verbs}");
    let wrong = run(&mut image(&["ctl", "logs", "no-such-unit"]));
    assert_ne!(wrong.status, Some(0));
    assert!(wrong.stderr.contains("no-such-unit"), "{}", wrong.stderr);

    the_boot_is_drawn(&json);
    a_device_reaches_it();
    one_asks_at_a_time();

    assert_eq!(last.text, "cargo image ctl poweroff");
    person.types(&page, std::slice::from_ref(last));
    assert_ne!(run(&mut image(&["ctl", "status"])).status, Some(0));
}

/// It is board 1 for the owner's devices, which can reach the ports that the appliance's file
/// allows, and nothing else.
fn a_device_reaches_it() {
    let board = "10.20.1.2";
    let script = silent_beside(&[(board, 22), ("10.20.2.2", 8080)], (board, 8080));
    let said = must(&mut image(&["lan", "python3", "-c", &script]));
    assert_eq!(said.stdout, "400 True\n", "{}", said.stderr);
    let outside = run(&mut image(&["lan", "--side", "outside", "true"]));
    assert!(outside.stderr.contains("--cluster"), "{}", outside.stderr);
}

/// The chart of the boot is XML, and has every phase and every unit that has started.
fn the_boot_is_drawn(status: &serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("boot.svg");
    fs::write(&file, must(&mut image(&["ctl", "boot", "--plot"])).stdout).unwrap();
    let read = "import sys, xml.etree.ElementTree as tree\n\
                svg = '{http://www.w3.org/2000/svg}'\n\
                root = tree.parse(sys.argv[1]).getroot()\n\
                assert root.tag == svg + 'svg', root.tag\n\
                assert len(list(root.iter(svg + 'rect'))) > 1\n\
                [print(text.text) for text in root.iter(svg + 'text')]";
    let texts = must(Command::new("python3").args(["-c", read]).arg(&file)).stdout;
    let texts: BTreeSet<&str> = texts.lines().collect();
    let boot = must(&mut image(&["ctl", "--json", "boot"])).stdout;
    let boot: serde_json::Value = serde_json::from_str(&boot).unwrap();
    let started = |unit: &&serde_json::Value| !unit["first_ready"].is_null();
    let units = status["units"].as_array().unwrap().iter().filter(started);
    let rows: Vec<_> = boot["phases"].as_array().unwrap().iter().chain(units).collect();
    assert!(rows.len() > 10, "{boot}");
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert!(texts.contains(name), "no row for {name}");
    }
}

/// A second machine is started while the first runs, and is turned off by closing its terminal.
/// Without machines, `image/src/running` tells them apart.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn two_are_told_apart() {
    let _one = one_at_a_time(RUN);
    let mut first = InTerminal::start(image(&["run"]));
    first.wait_for("READY", READY);
    let mut other = InTerminal::start(image(&["run", "--memory", "200"]));
    other.wait_for("machine 2", READY);
    other.wait_for("READY", READY);
    let which = run(&mut image(&["ctl", "status"]));
    assert_ne!(which.status, Some(0));
    for word in ["1: qemu-x86_64", "2: qemu-x86_64", "--machine"] {
        assert!(which.stderr.contains(word), "no `{word}` in:\n{}", which.stderr);
    }
    for number in ["1", "2"] {
        let status = must(&mut image(&["ctl", "--machine", number, "status"])).stdout;
        assert!(status.contains("ready"), "{number}: {status}");
    }
    other.close();
    let status = other.end();
    assert!(status.success(), "{status}: {}", other.text);
    must(&mut image(&["ctl", "status"]));
    must(&mut image(&["ctl", "poweroff"]));
    assert!(first.end().success(), "{}", first.text);
}

/// While another `ctl` follows the log, a call is refused at once, and the error names the other
/// process.
fn one_asks_at_a_time() {
    let mut follows = image(&["ctl", "logs", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    follows.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let taken = run(&mut image(&["ctl", "status"]));
    assert_ne!(taken.status, Some(0));
    assert!(taken.stderr.contains(&format!("process {}", follows.id())), "{}", taken.stderr);
    follows.kill().unwrap();
    follows.wait().unwrap();
    must(&mut image(&["ctl", "status"]));
}

#[test]
#[ignore = "long: `.ci/run` ends with the same command, with all programs of the machine"]
fn without_a_terminal_it_reports_and_ends_with_no_other_qemu() {
    let _one = one_at_a_time(RUN);
    let path = programs_without(Architecture::Aarch64.emulator().program);
    let said = must(image(&["run"]).env("PATH", path.path()).stdin(Stdio::null())).stdout;
    for word in ["console", "ready", "mount-api", "mount-root", "supervise", "powered off"] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
}

#[test]
fn a_missing_qemu_is_said() {
    let qemu = Architecture::X86_64.emulator().program;
    let path = programs_without(qemu);
    let error = run(image(&["run"]).env("PATH", path.path()).stdin(Stdio::null()));
    assert_eq!(error.status, Some(1), "{}", error.stderr);
    for word in [qemu, "qemu-system-x86", "--setup"] {
        assert!(error.stderr.contains(word), "no `{word}` in:\n{}", error.stderr);
    }
}

#[test]
#[ignore = "long: it builds an image with such a unit; what is printed to nobody, and who has failed, is tested in \
            `image/src/report.rs`"]
fn a_unit_that_failed_is_said_though_nobody_reads_the_report() {
    let image = Image::with_services(&[("crash", guest("crash"))]);
    let out = image.folder.parent().unwrap();
    let mut command = Command::new(builder());
    command.arg("run").arg("--appliance").arg(out.with_file_name("appliance.toml"));
    command.arg("--out").arg(out).stdin(Stdio::null());
    let mut runs = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The reader closes the pipe before the first line, as `| head` may do.
    drop(runs.stdout.take());
    let said = runs.wait_with_output().unwrap();
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not every unit runs: crash: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A folder with all programs of this host but one.
fn programs_without(program: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    link_programs(folder.path(), program);
    folder
}

//! Units under load and with problems: killed, broken and attacked.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use octet_guests::frames::{Frames, frame};
use octet_machine::{Machine, UnitState, connect};
use octet_tests::{Image, READY, SOON, builder, guest, must, soak, workspace};
use serde_json::{Value, json};

/// Kills the unit's main process, and waits for its restart.
fn kill_and_wait(machine: &Machine, name: &str) {
    let before = machine.status().unwrap();
    let unit = before.unit(name).unwrap();
    let (restarts, pid) = (unit.restarts, unit.pid);
    assert!(pid.is_some(), "{unit:?}");
    kill(machine, name);
    let back = machine
        .wait_status(&format!("{name} back"), SOON, |status| {
            let unit = status.unit(name).unwrap();
            unit.state == UnitState::Ready && unit.restarts > restarts
        })
        .unwrap();
    let unit = back.unit(name).unwrap();
    assert_eq!(unit.restarts, restarts + 1);
    assert_ne!(unit.pid, pid);
}

fn kill(machine: &Machine, name: &str) {
    let args = json!({"unit": name, "signal": "KILL"});
    if name != "port" {
        machine.call("signal", args).unwrap();
        return;
    }
    // A kill of the unit that would answer mostly gets no answer. The connection is kept until the
    // kill is done, because a request ends with its client.
    machine.release_control();
    let deadline = Instant::now() + SOON;
    let mut client = connect(machine.control_path(), deadline).unwrap();
    client.stream().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut ask = |verb, args: Value| client.call(verb, args.as_object().unwrap().clone());
    let _ = ask("signal", args);
    let restarts = |status: &Value| {
        let units = status["units"].as_array().unwrap();
        units.iter().find(|unit| unit["name"] == name).unwrap()["restarts"].as_u64().unwrap()
    };
    while !ask("status", json!({})).is_ok_and(|status| restarts(&status) > 0) {
        assert!(Instant::now() < deadline, "late: the port is not killed");
    }
}

fn lines(machine: &Machine, unit: &str) -> String {
    machine.logs(unit).unwrap().join("\n")
}

const OWN: [&str; 4] = ["hello", "crash", "frames", "probe"];

/// The released image with these services, each added by three lines.
fn with_services() -> Image {
    // A program header table that is too long for Linux (1170 entries of 56 bytes fill its limit of
    // 64 KiB): it returns ENOEXEC. The table is at the end, where e_phoff points: the original
    // entries and PT_NULL, so that the builder accepts it.
    let mut program = fs::read(guest("hello")).unwrap();
    let own = usize::from(u16::from_le_bytes(program[56..58].try_into().unwrap())) * 56;
    let table = program.len().next_multiple_of(8);
    program.resize(table + 1200 * 56, 0);
    program.copy_within(64..64 + own, table);
    program[32..40].copy_from_slice(&(table as u64).to_le_bytes());
    program[56..58].copy_from_slice(&1200u16.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let no_program = folder.path().join("no-program");
    fs::write(&no_program, program).unwrap();
    let own = OWN.map(|name| (name, guest(name)));
    Image::with_services(&[&own[..], &[("no-program", no_program)]].concat())
}

/// It takes half a minute: PID 1 is tested with a real kernel, and all units of the image.
#[test]
fn services_of_ones_own_and_what_they_can_do_to_others() {
    let image = with_services();
    let machine = image.machine().start().unwrap();
    machine.wait_ready(READY).unwrap();
    one_comes_up_and_is_explained(&machine, &image);
    one_that_cannot_run_is_failed_and_the_rest_is_up(&machine);
    one_that_is_taken_over_commands_and_changes_nothing(&machine);
    every_unit_that_ships_comes_back_when_killed(&machine);
    pid_1_survives_random_frames_on_its_socket(&machine);
    pid_1_survives_random_frames_on_its_port(&machine);
}

fn every_unit_that_ships_comes_back_when_killed(machine: &Machine) {
    let status = machine.status().unwrap();
    let ready = status.units.iter().filter(|unit| unit.state == UnitState::Ready);
    let ready = ready.filter(|unit| unit.pid.is_some()).map(|unit| unit.name.as_str());
    let running: Vec<&str> = ready.filter(|name| !OWN.contains(name)).collect();
    assert!(running.contains(&"console"), "{running:?}");
    for name in running {
        kill_and_wait(machine, name);
    }
    machine.wait_ready(SOON).unwrap();
}

fn one_comes_up_and_is_explained(machine: &Machine, image: &Image) {
    let ready =
        |status: &octet_machine::Status| status.unit("hello").unwrap().state == UnitState::Ready;
    machine.wait_status("hello ready", SOON, ready).unwrap();
    assert!(lines(machine, "hello").contains("hello from a service of my own"));
    // Its unit file lists every module of the image; each of them loads.
    let settled = |status: &octet_machine::Status| {
        matches!(status.unit("modules").unwrap().state, UnitState::Exited | UnitState::Failed)
    };
    let status = machine.wait_status("modules loaded", SOON, settled).unwrap();
    let said = lines(machine, "modules");
    assert_eq!(status.unit("modules").unwrap().state, UnitState::Exited, "{said}");
    kill_and_wait(machine, "hello");

    let out = image.folder.parent().unwrap();
    let mut explain = Command::new(builder());
    explain.current_dir(workspace()).args(["explain", "/usr/lib/octet/hello", "--out"]).arg(out);
    let said = must(&mut explain).stdout;
    let digest = must(Command::new("sha256sum").arg(guest("hello"))).stdout;
    assert!(said.contains(digest.split_whitespace().next().unwrap()), "{said}");
    assert!(said.contains("appliance.toml:"), "{said}");
}

fn one_that_cannot_run_is_failed_and_the_rest_is_up(machine: &Machine) {
    let settled = machine
        .wait_status("crash and no-program given up", READY, |status| {
            let failed = |name| status.unit(name).unwrap().state == UnitState::Failed;
            failed("crash") && failed("no-program")
        })
        .unwrap();
    let reason = |name| settled.unit(name).unwrap().reason.clone().unwrap_or_default();
    assert!(reason("crash").contains("status 7"), "{}", reason("crash"));
    assert!(reason("no-program").contains("cannot execute"), "{}", reason("no-program"));
    assert_eq!(settled.unit("crash").unwrap().restarts, 2);
    assert!(lines(machine, "crash").contains("this service never works"));

    let status = machine.wait_ready(SOON).unwrap();
    for name in ["console", "hello"] {
        assert_eq!(status.unit(name).unwrap().state, UnitState::Ready, "{name}");
    }
}

/// The privileges of a service's user, tried from inside; the permitted case of each kind is first.
fn one_that_is_taken_over_commands_and_changes_nothing(machine: &Machine) {
    let done =
        |status: &octet_machine::Status| status.unit("probe").unwrap().state == UnitState::Exited;
    machine.wait_status("the probe has tried everything", SOON, done).unwrap();
    let expected = "look: done\n\
                    power off: denied\n\
                    reboot: denied\n\
                    kill a unit: denied\n\
                    run what nobody has signed: this is not a command of version 1\n\
                    run nothing: user UID may not ask for `verbs`\n\
                    state the time: user UID may not ask for `trust-time`\n\
                    write to /tmp: done\n\
                    change a unit: ReadOnlyFilesystem\n\
                    change a program: ReadOnlyFilesystem\n\
                    write to /data: PermissionDenied\n\
                    write to /run: PermissionDenied\n\
                    read its own memory map: done\n\
                    read that of PID 1: NotFound\n\
                    signal itself: done\n\
                    signal PID 1: PermissionDenied\n\
                    gain privileges by exec: NoNewPrivs: 1";
    let said = lines(machine, "probe");
    let (_, rest) = said.split_once("user ").unwrap_or_else(|| panic!("{said}"));
    let (uid, _) = rest.split_once(' ').unwrap();
    assert_eq!(said, expected.replace("UID", uid));
    let console = machine.status().unwrap().unit("console").unwrap().restarts;
    assert_eq!(console, 0, "a refused signal was sent all the same");
}

fn pid_1_survives_random_frames_on_its_socket(machine: &Machine) {
    let before = machine.status().unwrap();
    let (signal, count) = if soak() { ("QUIT", 10_000) } else { ("HUP", 500) };
    machine.call("signal", json!({"unit": "frames", "signal": signal})).unwrap();
    let done = |status: &octet_machine::Status| {
        !matches!(status.unit("frames").unwrap().state, UnitState::Starting | UnitState::Waiting)
    };
    let after = machine.wait_status("all frames sent", READY, done).unwrap();
    let said = lines(machine, "frames");
    assert_eq!(after.unit("frames").unwrap().state, UnitState::Exited, "{said}");
    // Most frames were handled: every one but incomplete frames has an answer.
    let sent = format!("{count} frames sent, ");
    let answered = said.split(&sent).nth(1).unwrap_or_else(|| panic!("{said}"));
    let answered: u32 = answered.split_whitespace().next().unwrap().parse().unwrap();
    assert!(answered > count / 2, "{said}");
    still_the_same(machine, &before);
}

fn pid_1_survives_random_frames_on_its_port(machine: &Machine) {
    let before = machine.status().unwrap();
    machine.release_control();
    let port = UnixStream::connect(machine.control_path()).unwrap();
    port.set_read_timeout(Some(READY)).unwrap();
    let mut reader = port.try_clone().unwrap();
    // A thread reads meanwhile, because the port stalls if its answers are not read.
    let reading = std::thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 65536]);
        let last = br#"{"id":424242,"#;
        while !all.windows(last.len()).any(|window| window == last) {
            let count = reader.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the port was closed");
            // The relevant part is at the end.
            let keep = all.len().saturating_sub(last.len());
            all.drain(..keep);
            all.extend_from_slice(&buffer[..count]);
        }
    });
    for frame in Frames::new(2).take(if soak() { 50_000 } else { 500 }) {
        (&port).write_all(&frame).unwrap();
    }
    // A wrong length swallows the following bytes, up to the maximum size of a frame.
    (&port).write_all(&vec![b'\n'; 1 << 20]).unwrap();
    (&port).write_all(&frame(br#"{"id":424242,"verb":"status"}"#)).unwrap();
    reading.join().unwrap();
    drop(port);
    still_the_same(machine, &before);
}

/// Checks that PID 1 still answers, was not restarted, and has no excessive memory.
fn still_the_same(machine: &Machine, before: &octet_machine::Status) {
    let after = machine.status().unwrap();
    assert_eq!((after.state, after.ready_at), (before.state, before.ready_at));
    assert!(after.uptime > before.uptime);
    let (was, is) = (before.memory.init_rss, after.memory.init_rss);
    assert!(is < was + (8 << 20), "PID 1 grew from {was} to {is} bytes");
    kill_and_wait(machine, "console");
}

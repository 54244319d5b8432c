//! A build that is cut short, by a full disk or by ctrl-C, leaves nothing that looks complete.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Said, Sandbox};

/// A build whose folder `out` is mounted as `how` says meanwhile; only root may mount, others are root in a name space
/// of their own.
fn build_on(sandbox: &Sandbox, how: &str) -> Said {
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command = Command::new("sh");
    } else {
        command.args(["--user", "--map-root-user", "--mount", "sh"]);
    }
    let out = sandbox.path("out");
    command.arg("-c").arg(format!(
        "out={out}; {how} || exit 99; \
         (cd {root} && {builder} build --offline --appliance {appliance} --out $out); \
         status=$?; ls -R $out >&2; umount $out; exit $status",
        out = out.display(),
        root = crate::sandbox::root().display(),
        builder = env!("CARGO_BIN_EXE_octet-image"),
        appliance = sandbox.path("appliance.toml").display(),
    ));
    command.output().unwrap().into()
}

#[test]
fn a_full_disk() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    // With the blocks that are compressed already, if there are any; and those of the build do not fit beside them, or
    // without them the image does not.
    let on = |size: &str| {
        let mount = format!("mount -t tmpfs -o size={size} none $out");
        build_on(
            &sandbox,
            &format!(
                "cp -a $out $out-before && {mount} && cp -a $out-before/. $out && rm -r $out-before"
            ),
        )
    };
    let fits = on("256m");
    fits.succeeded();
    assert!(fits.err.contains("SHA256SUMS"), "{}", fits.err);
    let full = on("16m");
    let out = sandbox.path("out").display().to_string();
    full.refused(&["cannot write", &out, "No space left on device", "--out"]);
    assert!(!full.err.contains("SHA256SUMS") && !full.err.contains(".part"), "{}", full.err);
}

/// In the short tier `a_full_disk` cannot be written either.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn where_nothing_can_be_written() {
    let sandbox = Sandbox::new();
    let read_only = "mount --bind $out $out && mount -o remount,ro,bind $out";
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    let out = sandbox.path("out").display().to_string();
    build_on(&sandbox, read_only).refused(&["cannot write", &out, "--out"]);
    sandbox.build(&["--offline"]).succeeded();
    let said = build_on(&sandbox, read_only);
    said.succeeded();
    assert!(said.err.contains("unchanged"), "{}", said.err);
}

#[test]
fn another_build_is_waited_for() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("out/cache")).unwrap();
    let lock = File::create(sandbox.path("out/cache/.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = sandbox.command("build");
    let mut child = command.arg("--offline").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.by_ref().map(Result::unwrap).find(|line| line.contains("waiting for another"));
    let told = told.expect("it has not waited");
    assert!(told.contains(&sandbox.path("out/cache/.lock").display().to_string()), "{told}");
    assert_eq!(sandbox.sums(), None);
    drop(lock);
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert!(sandbox.sums().is_some());
}

/// In the short tier `a_full_disk` has no `SHA256SUMS` of what is not complete.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn ctrl_c_at_any_step() {
    let reference = Sandbox::new();
    reference.build(&["--offline"]).succeeded();
    let sums = reference.sums();

    let sandbox = Sandbox::new();
    // After the n-th line that the build says; the last ones come when all is written.
    for lines in 0..10 {
        let _ = std::fs::remove_dir_all(sandbox.path("out/qemu-x86_64"));
        let mut child =
            sandbox.command("build").arg("--offline").stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        for _ in 0..lines {
            stderr.read_line(&mut String::new()).unwrap();
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stderr.read_to_string(&mut String::new()).unwrap();
        let status = child.wait().unwrap();
        if let Some(left) = sandbox.sums() {
            assert_eq!(Some(left), sums, "SHA256SUMS comes last");
        } else {
            assert!(!status.success());
        }
        sandbox.build(&["--offline"]).succeeded();
        assert_eq!(sandbox.sums(), sums, "after ctrl-C behind line {lines}");
    }
}

//! A build that is cut short, by a full disk or by ctrl-C, leaves nothing that looks complete.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Said, Sandbox};

#[test]
fn a_full_disk() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("out")).unwrap();
    for (size, words) in [("256m", None), ("4m", Some("No space left on device"))] {
        // Only root may mount; others are root in a name space of their own.
        let mut command = Command::new("unshare");
        if rustix::process::geteuid().is_root() {
            command = Command::new("sh");
        } else {
            command.args(["--user", "--map-root-user", "--mount", "sh"]);
        }
        command.arg("-c").arg(format!(
            "mount -t tmpfs -o size={size} none {out} || exit 99; \
             (cd {root} && {builder} build --offline --appliance {appliance} --out {out}); \
             status=$?; ls -R {out} >&2; umount {out}; exit $status",
            out = sandbox.path("out").display(),
            root = crate::sandbox::root().display(),
            builder = env!("CARGO_BIN_EXE_octet-image"),
            appliance = sandbox.path("appliance.toml").display(),
        ));
        let said: Said = command.output().unwrap().into();
        match words {
            None => {
                said.succeeded();
                assert!(said.err.contains("SHA256SUMS"), "{}", said.err);
            }
            Some(words) => {
                said.refused(&[
                    "cannot write",
                    &sandbox.path("out").display().to_string(),
                    words,
                    "--out",
                ]);
                assert!(
                    !said.err.contains("SHA256SUMS") && !said.err.contains(".part"),
                    "{}",
                    said.err
                );
            }
        }
    }
}

#[test]
fn ctrl_c_at_any_step() {
    let reference = Sandbox::new();
    reference.build(&["--offline"]).succeeded();
    let sums = reference.sums();

    let sandbox = Sandbox::new();
    // After the n-th line that the build says; the last ones come when all is written.
    for lines in (0..10).step_by(if std::env::var_os("OCTET_SOAK").is_some() { 1 } else { 3 }) {
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

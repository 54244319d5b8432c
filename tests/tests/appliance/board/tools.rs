//! `cargo image tools`: the owner's and the person's program, from the crates of the image.

use std::process::Command;

use octet_tests::{builder, must, run, shipped, workspace};

/// The short tier has these programs as cargo makes them for this machine, in `net::owner` and `cluster::served`.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn two_static_programs_that_run_here() {
    shipped();
    let folder = tempfile::tempdir().unwrap();
    let mut tools = Command::new(builder());
    let said = must(tools.current_dir(workspace()).args(["tools", "--into"]).arg(folder.path()));
    for tool in ["octetctl", "octet-msg"] {
        let path = folder.path().join(tool);
        assert!(said.stdout.contains(path.to_str().unwrap()), "{}", said.stdout);
        let linked = must(Command::new("readelf").args(["--program-headers", "--wide"]).arg(&path));
        assert!(!linked.stdout.contains("INTERP"), "{}", linked.stdout);
        must(Command::new(&path).arg("--help"));
    }
    // That of the image knows no router with OpenWrt.
    let path = folder.path().join("octetctl");
    must(Command::new(&path).args(["openwrt", "--help"]));
    let nobody = run(Command::new(&path).arg("status"));
    assert!(nobody.status != Some(0) && nobody.stderr.contains("--box"), "{}", nobody.stderr);
}

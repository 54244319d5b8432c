//! `cargo image tools` builds `octetctl` and `octet-msg` from the crates of the image.

use std::process::Command;

use octet_tests::{builder, must, run, shipped, workspace};

/// In the short tier `net::owner` and `cluster::served` use these programs as cargo builds them for
/// this host.
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
    // The image's own `octetctl` does not support routers with OpenWrt.
    let path = folder.path().join("octetctl");
    must(Command::new(&path).args(["openwrt", "--help"]));
    let nobody = run(Command::new(&path).arg("status"));
    assert!(nobody.status != Some(0) && nobody.stderr.contains("--box"), "{}", nobody.stderr);
}

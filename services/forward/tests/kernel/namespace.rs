//! A network namespace for one test.

use std::env;
use std::process::Command;

use rustix::process::geteuid;

/// Set in the process that has a network namespace of its own.
const INSIDE: &str = "OCTET_TEST_INSIDE";

/// Runs the test `name` again in a network namespace of its own. Returns whether this process is in it.
pub fn is_inside(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut again = Command::new("unshare");
    // Without root privileges a user namespace provides them.
    again.args((!geteuid().is_root()).then_some("--map-root-user"));
    again.arg("--net").arg(env::current_exe().unwrap());
    let output = again.args([name, "--exact"]).env(INSIDE, "1").output().unwrap();
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    false
}

pub fn run(program: &str, arguments: &str) {
    said(program, arguments);
}

/// What a program prints.
pub fn said(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {complained}");
    String::from_utf8(output.stdout).unwrap()
}

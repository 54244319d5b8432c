//! The kernel's notifications of changes; each test has a network namespace of its own.

#![cfg(test)]

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use octet_netd::changes::ChangeNotices;
use rustix::process::geteuid;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Set in the process that has a network namespace of its own.
const INSIDE: &str = "OCTET_TEST_INSIDE";

const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// Timeout for a notification; the kernel sends it before the change is complete.
const TIMEOUT: Duration = Duration::from_secs(180);

/// After this time without a notification no further one is expected.
const QUIET: Duration = Duration::from_millis(50);

/// More changes than the socket's buffer can hold.
const MANY: usize = 4000;

/// Runs the test `name` again in a network namespace of its own. Returns whether this process is in
/// it.
fn is_inside(name: &str) -> bool {
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

/// Runs `test` with subscribed notifications.
fn run(test: impl AsyncFnOnce(ChangeNotices)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(ChangeNotices::open().unwrap()).await });
}

async fn hears(changes: &ChangeNotices, patience: Duration) -> bool {
    timeout(patience, changes.changed()).await.map(Result::unwrap).is_ok()
}

/// Sets a forwarding sysctl.
fn forward(file: &str, value: &str) {
    fs::write(file, value).unwrap();
}

#[test]
fn whether_packets_are_handed_on() {
    if !is_inside("whether_packets_are_handed_on") {
        return;
    }
    run(async |changes| {
        for file in FORWARDING {
            for value in ["1", "0"] {
                forward(file, value);
                assert!(hears(&changes, TIMEOUT).await, "late: {file}");
                // All notifications of the change were read, and no further one arrives.
                assert!(!hears(&changes, QUIET).await, "{file}");
            }
        }
    });
}

#[test]
fn links() {
    if !is_inside("links") {
        return;
    }
    run(async |changes| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        assert!(hears(&changes, TIMEOUT).await, "late: lo is up");
    });
}

/// The counts of messages that were dropped because a buffer was full, for all rtnetlink sockets.
fn lost() -> u64 {
    let sockets = fs::read_to_string("/proc/self/net/netlink").unwrap();
    let lost = sockets.lines().skip(1).map(|line| line.split_whitespace().nth(8).unwrap());
    lost.map(|number| number.parse::<u64>().unwrap()).sum()
}

/// Notifications continue after the buffer has overflowed.
#[test]
fn more_than_there_is_room_for() {
    if !is_inside("more_than_there_is_room_for") {
        return;
    }
    run(async |changes| {
        for _ in 0..3 {
            let before = lost();
            for number in 0..MANY {
                forward(FORWARDING[0], if number % 2 == 0 { "1" } else { "0" });
            }
            assert!(lost() > before, "there was room for all of it");
            assert!(hears(&changes, TIMEOUT).await, "late: nothing is heard");
            // The remaining notifications count as one change, or a few.
            while hears(&changes, QUIET).await {}
            forward(FORWARDING[0], "1");
            assert!(hears(&changes, TIMEOUT).await, "late: nothing more is heard");
            while hears(&changes, QUIET).await {}
        }
    });
}

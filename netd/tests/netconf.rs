//! Whether packets are handed on, changed by somebody else: in a network of this test's own.

#![cfg(test)]

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use octet_netd::netconf::Netconf;
use rustix::process::geteuid;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Set in the process that has a network of its own.
const INSIDE: &str = "OCTET_TEST_INSIDE";

const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

#[test]
fn it_is_heard() {
    if env::var_os(INSIDE).is_none() {
        let mut again = Command::new("unshare");
        // Who is not root is root of a network of his own.
        again.args((!geteuid().is_root()).then_some("--map-root-user"));
        again.arg("--net").arg(env::current_exe().unwrap());
        let output = again.args(["it_is_heard", "--exact"]).env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let netconf = Netconf::open().unwrap();
        let heard = async |patience| timeout(patience, netconf.changed()).await;
        for file in FORWARDING {
            for value in ["1", "0"] {
                fs::write(file, value).unwrap();
                heard(Duration::from_secs(20)).await.expect(file).unwrap();
                // All that was told of it is over, and nothing else is told.
                assert!(heard(Duration::from_millis(50)).await.is_err(), "{file}");
            }
        }
    });
}

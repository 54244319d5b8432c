//! Measures this node's health in a thread, which calls PID 1 and `netd`, and reads kernel counters.

use std::io;
use std::path::PathBuf;
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::KeptClient;
use octet_node::control::{INIT, STATUS};
use tokio::sync::watch;

use crate::report::{CpuTicks, NodeReport};
use crate::traffic::query_counters;

/// The thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The timeout of PID 1.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel's CPU counters.
const STAT: &str = "/proc/stat";

/// Passes this node's health to `report` at the interval `every`; the units' sockets are in the
/// folder `sockets`.
///
/// # Errors
/// No thread can be started.
pub fn start(
    sockets: PathBuf,
    every: Duration,
    report: watch::Sender<NodeReport>,
) -> io::Result<()> {
    let mut init = KeptClient::new(sockets.join(format!("{INIT}.sock")), TIMEOUT);
    let run = move || {
        let mut before = None;
        loop {
            let worked = std::fs::read_to_string(STAT).ok().and_then(|text| CpuTicks::parse(&text));
            let status = init.call(STATUS);
            let mut next = status.map(|it| NodeReport::from_status(&it)).unwrap_or_default();
            // A node has figures without its uplink's counters, too.
            let links = query_counters(&sockets).unwrap_or_default();
            if let Some(uplink) = links.iter().find(|link| link.uplink) {
                (next.received, next.sent) = (Some(uplink.received_bytes), Some(uplink.sent_bytes));
            }
            next.cpu = worked.zip(before).and_then(|(worked, before)| worked.since(before));
            before = worked;
            report.send_replace(next);
            sleep(every);
        }
    };
    Builder::new().name("measure".into()).stack_size(STACK).spawn(run).map(drop)
}

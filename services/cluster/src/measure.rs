//! Measures this node's health in a thread, which calls PID 1 and `netd`, and reads kernel counters.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::control::{CallError, Client, INIT};
use serde_json::Map;
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
    let socket = sockets.join(format!("{INIT}.sock"));
    let run = move || {
        let (mut client, mut before) = (None, None);
        loop {
            let worked = std::fs::read_to_string(STAT).ok().and_then(|text| CpuTicks::parse(&text));
            let mut next = match query_status(&mut client, &socket) {
                Ok(report) => report,
                Err(_) => {
                    // The next round reconnects.
                    client = None;
                    NodeReport::default()
                }
            };
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

fn query_status(
    client: &mut Option<Client<UnixStream>>,
    socket: &Path,
) -> Result<NodeReport, CallError> {
    let client = match client {
        Some(client) => client,
        None => {
            let new = Client::connect(socket)?;
            new.stream().set_read_timeout(Some(TIMEOUT))?;
            client.insert(new)
        }
    };
    client.call("status", Map::new()).map(|status| NodeReport::from_status(&status))
}

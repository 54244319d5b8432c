//! Measures this node's health in a thread, which calls PID 1 and reads kernel counters.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::control::{CallError, Client, INIT};
use serde_json::Map;
use tokio::sync::watch;

use crate::report::{CpuTicks, NodeReport, temperature};

/// The thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The timeout of PID 1.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel's CPU counters.
const STAT: &str = "/proc/stat";

/// The thermal zones, each a folder `thermal_zoneN`.
const THERMAL: &str = "/sys/class/thermal";

/// The maximum number of zones.
const MAX_ZONES: usize = 32;

/// Passes this node's health to `report` at the interval `every`; PID 1's socket is in the folder
/// `sockets`.
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
            next.cpu = worked.zip(before).and_then(|(worked, before)| worked.since(before));
            next.temperature = max_temperature(Path::new(THERMAL));
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

/// The temperature of the warmest zone in `folder`; `None` if there is none.
fn max_temperature(folder: &Path) -> Option<i64> {
    let zones = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_zone = |path: &PathBuf| {
        path.file_name().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with("thermal_zone"))
    };
    let read = |path: PathBuf| temperature(&std::fs::read_to_string(path.join("temp")).ok()?);
    zones.filter(is_zone).take(MAX_ZONES).filter_map(read).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn the_warmest_zone_counts() {
        let folder = TempDir::new().unwrap();
        assert_eq!(max_temperature(&folder.path().join("none")), None);
        assert_eq!(max_temperature(folder.path()), None);
        for (name, temp) in [
            ("thermal_zone0", "40000"),
            ("thermal_zone1", "51900"),
            ("thermal_zone2", "x"),
            ("cooling_device0", "99000"),
        ] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("temp"), temp).unwrap();
        }
        assert_eq!(max_temperature(folder.path()), Some(51));
    }
}

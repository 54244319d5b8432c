//! wrk, which requests one object repeatedly.

use std::net::SocketAddr;
use std::process::Command;
use std::thread::available_parallelism;

use super::Failed;

/// The timeout of a response.
const TIMEOUT: &str = "30s";

/// The rate of responses per second over `connections` connections.
pub fn rate(
    at: SocketAddr,
    host: &str,
    path: &str,
    connections: u32,
    seconds: u32,
) -> Result<f64, Failed> {
    let processors = u32::try_from(available_parallelism()?.get())?;
    let mut command = Command::new("wrk");
    command.args(["--threads", &connections.min(processors).to_string()]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), "--timeout", TIMEOUT]);
    command.args(["--header", &format!("Host: {host}")]);
    let output = command.arg(format!("http://{at}{path}")).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let of = |what: &str| said.lines().find_map(|line| line.trim().strip_prefix(what));
    let is_whole = of("Non-2xx or 3xx responses:").or_else(|| of("Socket errors:")).is_none();
    let rate = of("Requests/sec:").filter(|_| is_whole && output.status.success());
    let why = || format!("wrk: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(rate.ok_or_else(why)?.trim().parse()?)
}

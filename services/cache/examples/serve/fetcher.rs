//! A process that runs the unit `origin` for a node.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_appliance::OriginSection;
use octet_origin::FetchOrigins;
use octet_origin::server::{FetchServer, serve};
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::{Failed, TIMEOUT, end_with_parent};

/// The argument that makes a process run it.
pub const ROLE: &str = "fetcher";

/// The socket in the node's folder.
const SOCKET: &str = "origin.fetch.sock";

/// What a request has to have as `Host`.
pub const HOST: &str = "web.octet.internal";

/// The sections of the settings for one origin at this port of loopback, which this board fetches.
pub fn sections(board: u8, port: u16) -> Value {
    let web = json!({
        "name": "web",
        "board": board,
        "upstream": format!("http://127.0.0.1:{port}"),
        "allow": ["127.0.0.0/8"],
    });
    json!({
        "appliance": { "name": "octet" }, "cache": {}, "keep": [], "origin": [web],
        "neighbour": [], "policy": [], "cluster": null, "accounts": null,
    })
}

/// Runs it in `folder`, for the origin at this port.
pub fn run(folder: &Path, port: u16) -> Result<Value, Failed> {
    end_with_parent(Signal::KILL)?;
    let web: Vec<OriginSection> = serde_json::from_value(sections(1, port)["origin"].clone())?;
    let (_keep, origins) = watch::channel(Arc::new(FetchOrigins::new(&web, None)?));
    let client = geteuid().as_raw();
    let server = FetchServer { origins, client, is_time_set: Arc::new(|| true) };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        serve(UnixListener::bind(folder.join(SOCKET))?, server).await;
        Ok(Value::Null)
    })
}

/// A running one.
pub struct Fetcher(Child);

impl Fetcher {
    pub fn start(folder: &Path, port: u16) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(ROLE).arg(folder).arg(port.to_string()).spawn()?;
        let mut fetcher = Self(child);
        let deadline = Instant::now() + TIMEOUT;
        while std::os::unix::net::UnixStream::connect(folder.join(SOCKET)).is_err() {
            if let Some(status) = fetcher.0.try_wait()? {
                return Err(format!("the unit `origin` has ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the unit `origin` is not reached".into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(fetcher)
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

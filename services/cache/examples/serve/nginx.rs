//! nginx with settings for maximum speed.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::node::LOOPBACK;
use super::{Failed, TIMEOUT, end_with_parent};

/// The argument that makes a process run nginx.
pub const ROLE: &str = "nginx";

/// The name of its configuration file, in its folder.
const SETTINGS: &str = "nginx.conf";

/// Runs nginx with the configuration in `folder`. Its workers end with it on SIGTERM, but not on
/// SIGKILL.
pub fn run(program: &Path, folder: &Path) -> Result<Value, Failed> {
    end_with_parent(Signal::TERM)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join(SETTINGS)).arg("-p").arg(folder).args(["-e", "stderr"]);
    Err(command.exec().into())
}

/// A running nginx process.
pub struct Nginx {
    child: Child,
    pub at: SocketAddr,
    /// The same files with a lifetime, and what it has stored of these.
    pub origin: SocketAddr,
    pub proxy: SocketAddr,
}

impl Nginx {
    /// Starts nginx in `folder`; `fill` creates the files that it serves.
    pub fn start(
        program: &Path,
        folder: &Path,
        fill: impl FnOnce(&Path) -> Result<(), Failed>,
    ) -> Result<Self, Failed> {
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        fill(&files)?;
        let free = [0; 3].map(|_| TcpListener::bind(LOOPBACK));
        let [at, origin, proxy] = free.map(|it| it.and_then(|it| it.local_addr()));
        let [at, origin, proxy] = [at?, origin?, proxy?];
        fs::write(folder.join(SETTINGS), settings(folder, [at, origin, proxy]))?;
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(ROLE).arg(program).arg(folder).spawn()?;
        let mut nginx = Self { child, at, origin, proxy };
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(at).is_err() {
            if let Some(status) = nginx.child.try_wait()? {
                return Err(format!("nginx has ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("nginx is not reached".into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Debian's defaults (a worker per processor, `sendfile`, `tcp_nopush`), and in addition a cache of
/// open files, no logging, and no limit of requests per connection. Three servers: files, files with a lifetime, and
/// a cache of these.
fn settings(folder: &Path, [at, origin, proxy]: [SocketAddr; 3]) -> String {
    let folder = folder.display();
    let places: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
        .map(|it| format!("    {it}_temp_path {folder}/{it};\n"))
        .concat();
    format!(
        "daemon off;\n\
         pid {folder}/pid;\n\
         error_log stderr;\n\
         # The files are those of whoever runs this; only root is asked who the workers are.\n\
         user root;\n\
         worker_processes auto;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         {places}    \
             access_log off;\n    \
             sendfile on;\n    \
             tcp_nopush on;\n    \
             open_file_cache max=128;\n    \
             keepalive_requests 1000000000;\n    \
             server {{ listen {at}; root {folder}/files; }}\n    \
             server {{ listen {origin}; root {folder}/files; add_header Cache-Control max-age=3600; }}\n    \
             proxy_cache_path {folder}/cache keys_zone=web:1m inactive=1h;\n    \
             server {{ listen {proxy}; location / {{ proxy_pass http://{origin}; proxy_cache web; }} }}\n\
         }}\n"
    )
}

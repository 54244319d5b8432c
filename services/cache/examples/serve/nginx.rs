//! nginx, as fast as its own settings make it.

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

/// The word that makes a process nginx.
pub const ROLE: &str = "nginx";

/// Its settings, in its folder.
const SETTINGS: &str = "nginx.conf";

/// Is nginx with the settings in `folder`. Its workers end with it if it is asked to end, and not if it is killed.
pub fn run(program: &Path, folder: &Path) -> Result<Value, Failed> {
    end_with_parent(Signal::TERM)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join(SETTINGS)).arg("-p").arg(folder).args(["-e", "stderr"]);
    Err(command.exec().into())
}

/// A process that is nginx.
pub struct Nginx {
    child: Child,
    pub at: SocketAddr,
}

impl Nginx {
    /// Starts it in `folder`, with what `fill` puts into the folder of its files.
    pub fn start(
        program: &Path,
        folder: &Path,
        fill: impl FnOnce(&Path) -> Result<(), Failed>,
    ) -> Result<Self, Failed> {
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        fill(&files)?;
        let at = TcpListener::bind(LOOPBACK)?.local_addr()?;
        fs::write(folder.join(SETTINGS), settings(folder, at))?;
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(ROLE).arg(program).arg(folder).spawn()?;
        let mut nginx = Self { child, at };
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

/// What Debian's settings have (a worker for each processor, `sendfile`, `tcp_nopush`), and besides that open files are
/// remembered, nothing is logged, and no connection ends because it was used often.
fn settings(folder: &Path, at: SocketAddr) -> String {
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
             open_file_cache max=16;\n    \
             keepalive_requests 1000000000;\n    \
             server {{ listen {at}; root {folder}/files; }}\n\
         }}\n"
    )
}

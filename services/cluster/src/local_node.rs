//! This node's keys and certificates from `identity`, which two threads follow.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::certificate::Certificate;
use octet_node::control::{CallError, Client};
use octet_node::say;
use octet_node::sub_key::{self, CERTIFICATES, Certified, KeyUpdate};
use serde::Deserialize;
use serde_json::Map;
use tokio::sync::watch;

/// A thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `identity` is called again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// This node's identity.
#[derive(Debug)]
pub struct LocalNode {
    /// The key of this service, once it is certified.
    pub certified: watch::Receiver<Option<Certified>>,
    /// The certificates of all its services' keys, once `identity` has sent them.
    pub certificates: watch::Receiver<Option<Vec<Certificate>>>,
}

/// Keeps the key in `folder` certified by `identity`, whose socket is in the folder `sockets`.
///
/// # Errors
/// No thread can be started.
pub fn start(folder: Option<PathBuf>, sockets: &Path) -> io::Result<LocalNode> {
    let socket = sockets.join("identity.sock");
    let (sender, certified) = watch::channel(None);
    let mut problem = String::new();
    let tell = move |news| match news {
        KeyUpdate::Certified(next) => {
            problem.clear();
            sender.send_replace(Some(*next));
        }
        // The same problem is logged once.
        KeyUpdate::NotCertified(why) if why == problem => {}
        KeyUpdate::NotCertified(why) => {
            say!("this service's key is not certified now: {why}");
            problem = why;
        }
    };
    sub_key::keep(folder, socket.clone(), tell)?;
    let (sender, certificates) = watch::channel(None);
    let run = move || {
        loop {
            // The last certificates stay valid until newer ones arrive.
            let _ = follow(&socket, &sender);
            sleep(RETRY_DELAY);
        }
    };
    Builder::new().name("certificates".into()).stack_size(STACK).spawn(run)?;
    Ok(LocalNode { certified, certificates })
}

fn follow(socket: &Path, to: &watch::Sender<Option<Vec<Certificate>>>) -> Result<(), CallError> {
    let mut client = Client::connect(socket)?;
    let mut problem = None;
    client.call_each(CERTIFICATES, Map::new(), |item| match Vec::deserialize(item) {
        Ok(all) => {
            to.send_replace(Some(all));
            true
        }
        Err(error) => {
            problem = Some(error);
            false
        }
    })?;
    problem.map_or(Ok(()), |problem| Err(problem.into()))
}

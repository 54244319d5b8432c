//! What `identity` says of this node, which two threads wait for.

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

/// Room for a thread's stack, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `identity` is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// This node, as it shows itself to others.
#[derive(Debug)]
pub struct OwnNode {
    /// The key of this service, once it is certified.
    pub certified: watch::Receiver<Option<Certified>>,
    /// What the node says about the keys of all its services, once `identity` has said so.
    pub certificates: watch::Receiver<Option<Vec<Certificate>>>,
}

/// Keeps the key in `folder` certified by `identity`, which listens in the folder `sockets`.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(folder: Option<PathBuf>, sockets: &Path) -> io::Result<OwnNode> {
    let socket = sockets.join("identity.sock");
    let (sender, certified) = watch::channel(None);
    let mut problem = String::new();
    let tell = move |news| match news {
        KeyUpdate::Certified(next) => {
            problem.clear();
            sender.send_replace(Some(*next));
        }
        // The same again is not said again.
        KeyUpdate::Not(why) if why == problem => {}
        KeyUpdate::Not(why) => {
            say!("this service's key is not certified now: {why}");
            problem = why;
        }
    };
    sub_key::keep(folder, socket.clone(), tell)?;
    let (sender, certificates) = watch::channel(None);
    let run = move || {
        loop {
            // What it said last stays until it says something else.
            let _ = follow(&socket, &sender);
            sleep(RETRY_DELAY);
        }
    };
    Builder::new().name("certificates".into()).stack_size(STACK).spawn(run)?;
    Ok(OwnNode { certified, certificates })
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

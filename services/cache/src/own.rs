//! Follows other units in threads: `identity` for this service's key, `cluster` for the other
//! nodes.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::map;
use octet_node::say;
use octet_node::sub_key::{self, Certified, KeyUpdate};
use tokio::sync::watch;

use crate::peers::{self, PeerNode};

/// A thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `cluster` is called again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Loads the key from `folder`, and waits in a thread until `identity`, which listens in the folder
/// `sockets`, has certified it.
///
/// # Errors
/// No thread can be started.
pub fn certified(
    folder: PathBuf,
    sockets: &Path,
) -> io::Result<watch::Receiver<Option<Certified>>> {
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
    sub_key::keep(Some(folder), sockets.join("identity.sock"), tell)?;
    Ok(certified)
}

/// The nodes of the newest membership map that `cluster`, which listens in the folder `sockets`,
/// has reported.
///
/// # Errors
/// No thread can be started.
pub fn peers(sockets: &Path) -> io::Result<watch::Receiver<Vec<PeerNode>>> {
    let (sender, all) = watch::channel(vec![]);
    let socket = sockets.join("cluster.sock");
    let mut problem = String::new();
    let run = move || {
        loop {
            let followed = map::follow(&socket, |update| {
                let map = update.map.as_ref();
                sender.send_replace(map.map(|map| peers::of(map.map())).unwrap_or_default());
                true
            });
            // The last nodes stay valid until newer ones arrive.
            if let Err(error) = followed {
                let error = error.to_string();
                if error != problem {
                    say!("cluster does not tell who has objects: {error}");
                    problem = error;
                }
            }
            sleep(RETRY_DELAY);
        }
    };
    Builder::new().name("map".into()).stack_size(STACK).spawn(run)?;
    Ok(all)
}

//! This node's keys and certificates from `identity`, which two threads follow.

use std::io;
use std::path::{Path, PathBuf};

use octet_node::certificate::Certificate;
use octet_node::follow;
use octet_node::sub_key::{self, CERTIFICATES, Certified};
use tokio::sync::watch;

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
    let certified = sub_key::certified(folder, socket.clone())?;
    let (sender, certificates) = watch::channel(None);
    let trouble = "identity does not tell this node's certificates";
    follow::keep(socket, CERTIFICATES, trouble, move |all| {
        sender.send_replace(Some(all));
        true
    })?;
    Ok(LocalNode { certified, certificates })
}

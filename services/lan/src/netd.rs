//! The connection to `netd`: it reports the links, and receives leases and advertisements.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::{LinkName, Mac};
use octet_node::control::{CallError, Client};
use octet_node::follow;
use octet_node::links::{ADVERTISED, LEASED, LINKS, LinkLease, Links, PLUGGED, RouterAdvertised};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;

/// The timeout of a call: `netd` may have to wait for nft and the CPU.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of `netd`.
#[derive(Debug, Clone)]
pub struct Netd(Arc<PathBuf>);

impl Netd {
    /// A client of the `netd` whose socket is in the folder `sockets`.
    pub fn new(sockets: &Path) -> Self {
        Self(Arc::new(sockets.join("netd.sock")))
    }

    /// Subscribes to the links. They are sent again after each restart of `netd`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn follow(&self) -> io::Result<Receiver<Links>> {
        let (sender, receiver) = channel(1);
        follow::keep(self.0.to_path_buf(), LINKS, "netd", move |links| {
            sender.blocking_send(links).is_ok()
        })?;
        Ok(receiver)
    }

    /// Reports that a server has assigned `lease` at `link`, or that the lease has ended.
    pub async fn set_lease(
        &self,
        link: &LinkName,
        lease: Option<LinkLease>,
    ) -> Result<(), CallError> {
        let mut args = Map::from_iter([("link".to_owned(), json!(link))]);
        if let Some(lease) = lease {
            args.insert("lease".to_owned(), json!(lease).to_string().into());
        }
        self.call(LEASED, args).await
    }

    /// Reports that a router has advertised `advert` at `link`, or that it has expired.
    pub async fn set_router_advertised(
        &self,
        link: &LinkName,
        advert: Option<RouterAdvertised>,
    ) -> Result<(), CallError> {
        let mut args = Map::from_iter([("link".to_owned(), json!(link))]);
        if let Some(advert) = advert {
            args.insert("advert".to_owned(), json!(advert).to_string().into());
        }
        self.call(ADVERTISED, args).await
    }

    /// Reports that `mac` has requested an address at `link`.
    pub async fn set_peer_mac(&self, link: &LinkName, mac: Mac) -> Result<(), CallError> {
        let args = [("port".to_owned(), json!(link)), ("mac".to_owned(), json!(mac))];
        self.call(PLUGGED, Map::from_iter(args)).await
    }

    async fn call(&self, verb: &'static str, args: Map<String, Value>) -> Result<(), CallError> {
        let socket = Arc::clone(&self.0);
        let call = move || {
            let mut client = Client::connect(&socket)?;
            client.stream().set_read_timeout(Some(TIMEOUT))?;
            client.call(verb, args).map(drop)
        };
        spawn_blocking(call).await.unwrap_or(Err(CallError::Closed))
    }
}

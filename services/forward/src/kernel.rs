//! Configures the kernel, which forwards the packets: devices, routes, labels.
//!
//! | device | what it is |
//! |---|---|
//! | `fwg` | WireGuard to all neighbours |
//! | `fl<N>` | MPLS in IP (RFC 4023) to neighbour N, within `fwg` or plain |
//! | `fout`, `fin` | a veth pair: packets that leave a label path are sent to one and received from the other |
//! | `fp<N>` | end-to-end WireGuard of path N |
//! | `fpp<N>` | the same of a private path, at its source |
//! | `fvpn` | the tunnel to the LAN's exit |
//! | `fx<N>` | the tunnel to the client with slot N, whose exit this node is |

pub mod labels;
pub mod links;
pub mod meter;
mod netlink;
pub mod nflog;
pub mod paths;
pub mod private;
pub mod tunnels;
pub mod usage;
mod wireguard;

use std::fmt;

use rtnetlink::Handle;
use rtnetlink::packet_route::route::RouteProtocol;

use wireguard::Wireguard;

/// The protocol number of `forward`'s routes (rtnetlink(7), `rtm_protocol`).
const PROTOCOL: u8 = 202;

/// The prefix of `forward`'s device names.
const PREFIX: char = 'f';

/// A kernel request failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {why}")]
pub struct KernelError {
    what: String,
    why: String,
}

impl KernelError {
    pub(crate) fn to<E: fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |why| Self { what, why: why.to_string() }
    }
}

/// The netlink connections.
#[derive(Debug)]
pub struct ForwardKernel {
    route: Handle,
    wireguard: Wireguard,
}

impl ForwardKernel {
    /// Connects. It must be called within a Tokio runtime, which drives the connections.
    ///
    /// # Errors
    /// Netlink is unavailable, or the module `wireguard` is not loaded.
    pub async fn connect() -> Result<Self, KernelError> {
        let (connection, route, _) =
            rtnetlink::new_connection().map_err(KernelError::to("connect to the kernel"))?;
        tokio::spawn(connection);
        Ok(Self { route, wireguard: Wireguard::connect().await? })
    }

    /// The index of the device `name`.
    async fn index(&self, name: &str) -> Result<Option<u32>, KernelError> {
        netlink::index(&self.route, name).await.map_err(KernelError::to(format!("look for {name}")))
    }

    async fn known(&self, name: &str) -> Result<u32, KernelError> {
        let found = self.index(name).await?;
        found.ok_or("there is none").map_err(KernelError::to(format!("find the device {name}")))
    }

    /// The devices of `forward`.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub async fn devices(&self) -> Result<Vec<String>, KernelError> {
        let names = netlink::names(&self.route).await.map_err(KernelError::to("list devices"))?;
        Ok(names.into_iter().filter(|name| name.starts_with(PREFIX)).collect())
    }

    /// Removes a device and its routes.
    pub async fn remove(&self, name: &str) -> Result<(), KernelError> {
        if let Some(index) = self.index(name).await? {
            let removed = self.route.link().del(index).execute().await;
            removed
                .or_else(netlink::ignore_missing)
                .map_err(KernelError::to(format!("remove {name}")))?;
        }
        Ok(())
    }
}

/// Marks a route as one of `forward`'s.
fn ours() -> RouteProtocol {
    RouteProtocol::from(PROTOCOL)
}

/// Writes a sysctl below `/proc/sys/net`.
fn set(what: &str, value: &str) -> Result<(), KernelError> {
    let path = format!("/proc/sys/net/{what}");
    std::fs::write(&path, value).map_err(KernelError::to(format!("set {path} to {value}")))
}

//! What the kernel is told: devices, routes, labels. It moves the packets.
//!
//! | device | what it is |
//! |---|---|
//! | `fwg` | WireGuard to all neighbours |
//! | `fl<N>` | MPLS in IP (RFC 4023) to neighbour N, within `fwg` or plain |
//! | `fout`, `fin` | a pair: what leaves a label path goes out by the one and comes in by the other |
//! | `fp<N>` | WireGuard from end to end of path N |
//! | `fvpn` | a tunnel to the exit of the lan |
//! | `fx<N>` | a tunnel to the node with place N, which leaves by this one |

pub mod labels;
pub mod links;
pub mod meter;
mod netlink;
pub mod paths;
pub mod tunnels;
pub mod used;
pub mod wanted;
mod wireguard;

use std::fmt;

use rtnetlink::Handle;
use rtnetlink::packet_route::route::RouteProtocol;

use wireguard::Wireguard;

/// The number of the routes that are forward's (rtnetlink(7), `rtm_protocol`).
const PROTOCOL: u8 = 202;

/// Of forward's devices, what all names begin with.
const PREFIX: char = 'f';

/// The kernel did not do what it was asked.
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

/// The connections to the kernel.
#[derive(Debug)]
pub struct ForwardKernel {
    route: Handle,
    wireguard: Wireguard,
}

impl ForwardKernel {
    /// Connects. It has to be called within a runtime of tokio, on which the connections go on.
    ///
    /// # Errors
    /// There is no netlink to be had, or the module `wireguard` is not there.
    pub async fn connect() -> Result<Self, KernelError> {
        let (connection, route, _) =
            rtnetlink::new_connection().map_err(KernelError::to("connect to the kernel"))?;
        tokio::spawn(connection);
        Ok(Self { route, wireguard: Wireguard::connect().await? })
    }

    /// The number of the device `name`.
    async fn index(&self, name: &str) -> Result<Option<u32>, KernelError> {
        netlink::index(&self.route, name).await.map_err(KernelError::to(format!("look for {name}")))
    }

    async fn known(&self, name: &str) -> Result<u32, KernelError> {
        let found = self.index(name).await?;
        found.ok_or("there is none").map_err(KernelError::to(format!("find the device {name}")))
    }

    /// The devices that are forward's.
    ///
    /// # Errors
    /// The kernel does not list them.
    pub async fn devices(&self) -> Result<Vec<String>, KernelError> {
        let names = netlink::names(&self.route).await.map_err(KernelError::to("list devices"))?;
        Ok(names.into_iter().filter(|name| name.starts_with(PREFIX)).collect())
    }

    /// Removes a device, and with it its routes.
    pub async fn remove(&self, name: &str) -> Result<(), KernelError> {
        if let Some(index) = self.index(name).await? {
            let removed = self.route.link().del(index).execute().await;
            removed.or_else(netlink::gone).map_err(KernelError::to(format!("remove {name}")))?;
        }
        Ok(())
    }
}

/// Of a route, that it is forward's.
fn ours() -> RouteProtocol {
    RouteProtocol::from(PROTOCOL)
}

/// Sets a value of `/proc/sys/net`.
fn set(what: &str, value: &str) -> Result<(), KernelError> {
    let path = format!("/proc/sys/net/{what}");
    std::fs::write(&path, value).map_err(KernelError::to(format!("set {path} to {value}")))
}

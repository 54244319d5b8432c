//! The kernel as backend: its rules by nft(8), its flows by [`crate::conntrack`], all else by
//! rtnetlink(7).

mod listed;
mod nft;
mod routing;

use std::collections::BTreeMap;
use std::sync::Arc;

use octet_node::say;
use octet_router::matrix::ReceivedProbes;
use rtnetlink::Handle;
use tokio::sync::Mutex;

use crate::backend::{Backend, BackendError, Drops};
use crate::conntrack::{self, TrackedFlow};
use crate::generation::Author;
use crate::observed::{Observed, StaticNeighbour};
use crate::plan::PlanStep;
use crate::port_bindings::PortBindings;
use crate::router::firewall::{self, LoadedChains};
use crate::router::guard;
use crate::rules::NodeTables;
use crate::watch;
use nft::NftError;

/// Limits of the kernel's neighbour tables, one table per IP version for all links
/// (Documentation/networking/ip-sysctl.rst, `gc_thresh1` to `gc_thresh3`). Above the first limit it
/// removes entries that were unused for long, above the second one within five seconds, and above
/// the third it adds no entries. The rate limits of a router's rules keep 32 boards below that.
const NEIGHBOURS: [(&str, &str); 3] =
    [("gc_thresh1", "1024"), ("gc_thresh2", "4096"), ("gc_thresh3", "8192")];

#[derive(Debug, Clone)]
pub struct NetKernel {
    handle: Handle,
    /// Serialises lists, because the kernel refuses a second dump on one connection (EBUSY).
    listing: Arc<Mutex<()>>,
}

impl NetKernel {
    pub fn new(handle: Handle) -> Self {
        Self { handle, listing: Arc::default() }
    }

    /// The chains of a router's table. nft lists the chains of all tables at once: listing only
    /// this table, or only its counters, takes many times as long. A missing table has no chains.
    pub async fn loaded_chains(&self) -> LoadedChains {
        nft::json("list chains inet")
            .await
            .map(|listed| listed::loaded_chains(&listed))
            .unwrap_or_default()
    }
}

impl Backend for NetKernel {
    fn prepare(&self, is_router: bool) {
        ignore_adverts();
        if is_router {
            note_neighbours();
        }
    }

    async fn observe(&self) -> Result<Observed, BackendError> {
        let _one_at_a_time = self.listing.lock().await;
        Ok(routing::observe(&self.handle).await?)
    }

    async fn apply(&self, change: &PlanStep) -> Result<(), BackendError> {
        Ok(routing::apply(&self.handle, change).await?)
    }

    async fn load(
        &self,
        rules: &NodeTables,
        before: Option<&NodeTables>,
    ) -> Result<(), BackendError> {
        match before.and_then(|before| rules.change(before)) {
            Some(change) if change.is_empty() => return Ok(()),
            Some(change) => match nft::load(&change).await {
                Err(NftError::Refused(said)) => {
                    say!("nft refused what differs, so all rules are loaded: {said}");
                }
                loaded => return Ok(loaded?),
            },
            None => {}
        }
        // Listing what is loaded needs a process of nft.
        let there =
            if rules.is_router() { self.loaded_chains().await } else { LoadedChains::default() };
        Ok(nft::load(&rules.whole(&there)).await?)
    }

    async fn is_own(&self, author: &Author) -> bool {
        nft::is_own(author).await
    }

    async fn plugged(&self) -> PortBindings {
        let listed = nft::json(&format!("list set netdev {} {}", guard::TABLE, guard::MAC)).await;
        listed.map(|listed| listed::plugged(&listed)).unwrap_or_default()
    }

    fn end_flows(
        &self,
        ends: impl Fn(&TrackedFlow) -> bool,
    ) -> Result<Vec<TrackedFlow>, BackendError> {
        Ok(conntrack::end(ends)?)
    }

    async fn rules(&self) -> Result<String, BackendError> {
        Ok(nft::run(&format!("list table inet {}", firewall::TABLE)).await?)
    }

    async fn drops(&self) -> Result<Drops, BackendError> {
        let mut drops = Drops::new();
        for (family, table) in [("netdev", guard::TABLE), ("inet", firewall::TABLE)] {
            listed::drops(&nft::json(&format!("list sets {family}")).await?, table, &mut drops);
        }
        Ok(drops)
    }

    async fn rule_counters(&self) -> Result<BTreeMap<String, u64>, BackendError> {
        let listed = nft::json(&format!("list counters table inet {}", firewall::TABLE)).await?;
        Ok(listed::rule_counters(&listed))
    }

    async fn watch(&self) -> Result<(), BackendError> {
        Ok(nft::load(&watch::begin()).await?)
    }

    async fn unwatch(&self) -> Result<(), BackendError> {
        Ok(nft::load(&watch::end()).await?)
    }

    async fn received(&self) -> Result<ReceivedProbes, BackendError> {
        let listed = nft::json(&format!("list table inet {}", watch::TABLE)).await?;
        Ok(listed::received(&listed))
    }

    async fn set_neighbour(&self, neighbour: &StaticNeighbour) -> Result<(), BackendError> {
        Ok(routing::introduce(&self.handle, neighbour).await?)
    }
}

/// Disables the kernel's own handling of router advertisements (addresses and routes), on present
/// and future links (Documentation/networking/ip-sysctl.rst, `accept_ra`).
fn ignore_adverts() {
    let links = std::fs::read_dir("/proc/sys/net/ipv6/conf").into_iter().flatten().flatten();
    for link in links {
        if let Err(error) = std::fs::write(link.path().join("accept_ra"), "0") {
            say!("{}: {error}", link.path().display());
        }
    }
}

/// Raises the kernel's neighbour limits to what the ports of a router can need.
fn note_neighbours() {
    for version in ["ipv4", "ipv6"] {
        for (name, count) in NEIGHBOURS {
            let file = format!("/proc/sys/net/{version}/neigh/default/{name}");
            if let Err(error) = std::fs::write(&file, count) {
                say!("{file}: {error}");
            }
        }
    }
}

impl From<rtnetlink::Error> for BackendError {
    fn from(error: rtnetlink::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<NftError> for BackendError {
    fn from(error: NftError) -> Self {
        Self(error.to_string())
    }
}

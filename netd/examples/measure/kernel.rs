//! Uses this computer's kernel as a router's: measures how long it takes to apply a box's
//! configuration.

use std::time::{Duration, Instant};

use octet_netd::backend::Backend;
use octet_netd::kernel::NetKernel;
use octet_netd::observed::{LinkKind, Observed};
use octet_netd::plan::{AdvertisementState, KernelPlan, UplinkLeaseState};
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::flows::is_still_allowed;
use octet_netd::rules::NodeTables;
use rtnetlink::new_connection;
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use crate::site::Site;
use crate::{Failed, by_hand};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By netd: the same steps as `daemon`, without its other work.
    Netd,
    /// The same text by nft, and the same links, addresses and neighbours by ip: one process each,
    /// with prepared commands, which read nothing first.
    Whole,
    /// The same, but for a change nft receives only the difference.
    Least,
}

/// Maximum rounds of observing and changing.
const MAX_ROUNDS: usize = 4;

impl How {
    pub fn named(name: &str) -> Option<Self> {
        [("netd", Self::Netd), ("whole", Self::Whole), ("least", Self::Least)]
            .into_iter()
            .find_map(|(it, how)| (it == name).then_some(how))
    }
}

/// Applies what `site` wants to an empty kernel, then what `other` wants.
pub async fn apply(how: How, site: &Site, other: &Site) -> Result<Value, Failed> {
    // Netd has a private /tmp, and so it is here.
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None)?;
    by_hand::make_ports(site)?;
    let (connection, handle, _) = new_connection()?;
    tokio::spawn(connection);
    let kernel = NetKernel::new(handle);
    let mut times = vec![];
    let mut rules = None;
    for (before, site) in [(None, site), (Some(site), other)] {
        let took = match how {
            How::Netd => by_netd(&kernel, site, &mut rules).await?,
            How::Whole => by_hand::apply(&kernel, site, None).await?,
            How::Least => by_hand::apply(&kernel, site, before).await?,
        };
        let left = changes(&kernel, site).await?;
        if !left.is_empty() {
            return Err(format!("the kernel has not all of it: {left:?}").into());
        }
        times.push(took.as_nanos() as u64);
    }
    // Measured separately, because only netd does this.
    let began = Instant::now();
    let own = kernel.observe().await?.addresses.iter().map(|it| it.address).collect();
    kernel.end_flows(|flow| !is_still_allowed(&other.plan, flow, &own))?;
    let ended = began.elapsed().as_nanos() as u64;
    Ok(json!({ "first": times[0], "change": times[1], "flows": ended }))
}

/// The same as `network::Network` does at its start, or for a change when the loaded `rules` are
/// known.
async fn by_netd(
    kernel: &NetKernel,
    site: &Site,
    rules: &mut Option<NodeTables>,
) -> Result<Duration, Failed> {
    let began = Instant::now();
    let next = site.rules();
    kernel.load(&next, rules.take().as_ref()).await?;
    *rules = Some(next);
    for _ in 0..MAX_ROUNDS {
        let changes = changes(kernel, site).await?;
        if changes.is_empty() {
            break;
        }
        for change in &changes {
            kernel.apply(change).await.map_err(|error| format!("{change:?}: {error}"))?;
        }
    }
    Ok(began.elapsed())
}

/// The changes that netd would make now.
pub async fn changes(
    kernel: &NetKernel,
    site: &Site,
) -> Result<Vec<octet_netd::plan::PlanStep>, Failed> {
    let observed = as_a_router(kernel.observe().await?, site);
    let plan = KernelPlan::new(
        &site.network,
        Some((&site.plan, &PortBindings::default())),
        (&UplinkLeaseState::Nothing, &AdvertisementState::Nothing),
        &observed,
        Duration::ZERO,
    );
    Ok(plan.changes(&observed))
}

/// The ports here are made by a program, unlike those of a router: netd would leave such devices
/// alone.
fn as_a_router(mut observed: Observed, site: &Site) -> Observed {
    for link in &mut observed.links {
        if site.devices().any(|name| name == link.name) {
            // Only a DHCP client needs the real address.
            link.kind = LinkKind::Ethernet([2, 0, 0, 0, 0, 0]);
        }
    }
    observed
}

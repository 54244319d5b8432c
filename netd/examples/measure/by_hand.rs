//! The commands of an expert who uses `nft` and `ip` directly.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use octet_appliance::TrafficKind;
use octet_netd::backend::Backend;
use octet_netd::kernel::NetKernel;
use octet_netd::observed::PROTOCOL;
use octet_netd::plan::PlanStep;
use octet_netd::router::firewall::{self, TABLE};
use octet_netd::router::plan::{PlannedPolicy, RouterPlan, RuleSource};

use crate::Failed;
use crate::kernel::changes;
use crate::site::Site;

const NFT: &str = "/usr/sbin/nft";
const IP: &str = "ip";
const NFT_FILE: &str = "/tmp/by-hand.nft";
const IP_FILE: &str = "/tmp/by-hand.ip";

const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// Makes the router's ports in this network namespace, each with a peer that is up, so that it has
/// a carrier.
pub fn make_ports(site: &Site) -> Result<(), Failed> {
    let mut lines = String::new();
    for (index, name) in site.devices().enumerate() {
        writeln!(lines, "link add {name} type veth peer name far{index}")?;
        writeln!(lines, "link set far{index} up")?;
    }
    fs::write(IP_FILE, lines)?;
    run(IP, &["-batch", IP_FILE])
}

/// Applies what `site` wants to the kernel; files are written and commands prepared before the time
/// starts. If the kernel has what `before` wants, nft receives only the difference.
pub async fn apply(
    kernel: &NetKernel,
    site: &Site,
    before: Option<&Site>,
) -> Result<Duration, Failed> {
    let rules = match before {
        Some(before) => difference(&before.plan, &site.plan)?,
        None => site.rules().whole(&kernel.loaded_chains().await),
    };
    fs::write(NFT_FILE, rules)?;
    let names = names(kernel).await?;
    let name = |link: u32| names.iter().find(|it| it.0 == link).map_or("", |it| it.1.as_str());
    let (mut lines, mut forwards) = (String::new(), false);
    for change in changes(kernel, site).await? {
        match change {
            PlanStep::Up(link) => writeln!(lines, "link set {} up", name(link))?,
            PlanStep::SetAddress(it) => {
                writeln!(
                    lines,
                    "address replace {}/{} dev {}",
                    it.address,
                    it.prefix,
                    name(it.link)
                )?;
            }
            PlanStep::AddRoute(it) => {
                let (gateway, link) = (it.gateway, name(it.link));
                let (network, prefix) = it.to;
                writeln!(
                    lines,
                    "route replace {network}/{prefix} via {gateway} dev {link} proto {PROTOCOL}"
                )?;
            }
            PlanStep::SetNeighbour(it) => {
                let [a, b, c, d, e, f] = it.mac;
                let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
                let (address, link) = (it.address, name(it.link));
                writeln!(lines, "neigh replace {address} lladdr {mac} nud permanent dev {link}")?;
            }
            PlanStep::Forward => forwards = true,
            gone => return Err(format!("nothing was to be removed: {gone:?}").into()),
        }
    }
    fs::write(IP_FILE, &lines)?;

    let began = Instant::now();
    run(NFT, &["-f", NFT_FILE])?;
    if !lines.is_empty() {
        run(IP, &["-batch", IP_FILE])?;
    }
    if forwards {
        FORWARDING.iter().try_for_each(|file| fs::write(file, "1"))?;
    }
    Ok(began.elapsed())
}

async fn names(kernel: &NetKernel) -> Result<Vec<(u32, String)>, Failed> {
    let links = kernel.observe().await?.links;
    Ok(links.into_iter().map(|link| (link.index, link.name)).collect())
}

/// The difference between two boxes whose policies are about single ports between boards.
fn difference(before: &RouterPlan, after: &RouterPlan) -> Result<String, Failed> {
    let ids = |plan: &RouterPlan| plan.policies.iter().map(|line| line.id).collect::<BTreeSet<_>>();
    let (old, new) = (ids(before), ids(after));
    let mut text = String::new();
    for (index, line) in lines(after).filter(|(_, line)| !old.contains(&line.id)) {
        let chain = firewall::ChainName::of(after, RuleSource::Policy(index));
        if line.rate.is_some() {
            return Err("a line with a rate".into());
        }
        writeln!(text, "add counter inet {TABLE} {chain}")?;
        writeln!(text, "add chain inet {TABLE} {chain}")?;
        writeln!(text, "add rule inet {TABLE} {chain} jump new")?;
        let rule = format!("counter name {chain} accept");
        writeln!(text, "add rule inet {TABLE} {chain} {rule}")?;
        writeln!(text, "add element inet {TABLE} {}", element(after, index)?)?;
    }
    for (index, _) in lines(before).filter(|(_, line)| !new.contains(&line.id)) {
        let chain = firewall::ChainName::of(before, RuleSource::Policy(index));
        writeln!(text, "delete element inet {TABLE} {}", element(before, index)?)?;
        writeln!(text, "delete chain inet {TABLE} {chain}\ndelete counter inet {TABLE} {chain}")?;
    }
    Ok(text)
}

fn lines(plan: &RouterPlan) -> impl Iterator<Item = (usize, &PlannedPolicy)> {
    plan.policies.iter().enumerate()
}

/// The one element of a policy.
fn element(plan: &RouterPlan, index: usize) -> Result<String, Failed> {
    let by = RuleSource::Policy(index);
    let found = { plan.allowed.entries() }.find(|(_, it)| it.rule == by);
    let found = found.map(|(flow, it)| (flow, it.ports.first));
    let ((from, to, traffic @ (TrafficKind::Tcp | TrafficKind::Udp)), port) =
        found.ok_or("no element")?
    else {
        return Err("a line without ports".into());
    };
    let (Some(from), Some(to)) = (plan.device(from), plan.device(to)) else {
        return Err("a line that is not about boards".into());
    };
    let verdict = format!("goto {}", firewall::ChainName::of(plan, by));
    Ok(format!("forward_port {{ \"{from}\" . \"{to}\" . {traffic} . {port} : {verdict} }}"))
}

fn run(program: &str, words: &[&str]) -> Result<(), Failed> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program} refused: {said}").into())
}

//! Ingress filters and counters of labels, as nftables sets: the labels that each neighbour may send, their
//! rates, and the packets received and sent.
//!
//! The kernel accepts a label from any neighbour. A packet whose label is not in the set, or that exceeds its
//! path's rate, is dropped first, and counted.
//!
//! nft creates sets and chains. Elements are changed, and counters read, over netlink directly.

mod element;
mod gate;
mod listing;
pub mod persisted;
mod quota;

pub use gate::GateChange;
pub use quota::{Quota, Quotas, quotas, set_quotas};

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketType, socket};
use tokio::process::Command;
use tokio::time::timeout;

use super::links::IN;
use super::nflog::GROUP;
use super::{ForwardKernel, KernelError};
use crate::label::Label;
use element::ElementKey;
use quota::{UNLIMITED, new_quota, quota_rule};

/// The path of nft in the image.
const NFT: &str = "/usr/sbin/nft";

/// The timeout of nft: long, because the board may be busy.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The number of changes per batch: what fits in one netlink datagram (`net.core.wmem_default`).
const AT_ONCE: usize = 256;

/// The table, and its name alone.
const TABLE: &str = "netdev octet_forward";
const NAME: &str = "octet_forward";

/// The sets, and the filter of [`IN`].
///
/// - The key is the first label of a packet: its 20 bits and, after the traffic class, the bottom-of-stack bit
///   (RFC 3032, 2.1). `forward` never sends more than one label. Outgoing packets were filtered on ingress;
///   their chain only counts.
/// - Each element of `rates` has its own rate, and matches only packets above it; the rate in the set's
///   declaration is unused. For an element with both a rate and a counter, nft 1.0.6 omits the counter in JSON,
///   so another set counts the drops.
/// - The labels of paths that a neighbour asked for are in `charged_in` and `charged_out`, one set for each
///   direction, because both ends of a link choose labels. Only links with a quota look them up ([`guard`]).
/// - A packet to a node on that device was sent without a path: it is reported and dropped.
const FRAME: &str = "table netdev octet_forward {
  set labels { typeof meta iif . @nh,0,32; size 65536; counter; }
  set sent { typeof meta oif . @nh,0,32; size 65536; counter; }
  set rates { typeof meta iif . @nh,0,32; size 65536; limit rate over 1 bytes/second burst $burst bytes; }
  set above { typeof meta iif . @nh,0,32; size 65536; counter; }
  set charged_in { typeof meta iif . @nh,0,32; size 65536; }
  set charged_out { typeof meta oif . @nh,0,32; size 65536; }
  chain limits { }
  chain labels { }
  chain above { }
  chain sent { }
  chain wanted { type filter hook ingress device \"$in\" priority 0; policy accept; }
}
flush chain netdev octet_forward limits
flush chain netdev octet_forward labels
flush chain netdev octet_forward above
flush chain netdev octet_forward sent
flush chain netdev octet_forward wanted
table netdev octet_forward {
  chain limits {
    meta iif . (@nh,0,32 & 0xfffff100) @rates goto above
  }
  chain labels {
    meta iif . (@nh,0,32 & 0xfffff100) @labels accept
    counter drop
  }
  chain above {
    meta iif . (@nh,0,32 & 0xfffff100) @above drop
    counter drop
  }
  chain sent {
    meta oif . (@nh,0,32 & 0xfffff100) @sent accept
  }
  chain wanted {
    ip6 daddr fc00::/8 limit rate $told/second burst $told packets log group $group snaplen 40
    meta protocol ip6 drop
  }
}
";

/// The burst above a rate, in bytes: two of the longest packets.
const BURST: u32 = 3000;

/// The maximum number of packets without a path that are reported per second.
const TOLD: u32 = 50;

/// What a counter counts, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Accepted packets from the neighbour.
    In,
    Out,
    /// Packets from the neighbour that were dropped because they exceeded the path's rate.
    Above,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Above];

    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Above => "above",
        }
    }

    /// The set with the counter.
    const fn set(self) -> &'static str {
        match self {
            Self::In => "labels",
            Self::Out => "sent",
            Self::Above => "above",
        }
    }

    /// The set of labels whose paths the neighbour asked for.
    const fn charged_set(self) -> Option<&'static str> {
        match self {
            Self::In => Some("charged_in"),
            Self::Out => Some("charged_out"),
            Self::Above => None,
        }
    }

    /// The index in [`ALL`](Self::ALL).
    pub const fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Above => 2,
        }
    }
}

/// A counter: a label on a device, in one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meter {
    pub device: String,
    pub direction: Direction,
    pub label: Label,
}

impl Meter {
    /// The meter of a set element. `None`: its device is gone, or no label is in the key.
    fn of_key(key: ElementKey, direction: Direction, names: &mut DeviceNames) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = key;
        let device = names.name(u32::from_ne_bytes([a, b, c, d]))?.to_owned();
        let label = Label::new(u32::from_be_bytes([e, f, g, h]) >> 12)?;
        Some(Self { device, direction, label })
    }

    /// The key of the set element, where `device` is the interface index.
    fn key(&self, device: u32) -> ElementKey {
        let first = self.label.get() << 12 | 0x100;
        let [a, b, c, d] = device.to_ne_bytes();
        let [e, f, g, h] = first.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// A counter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count {
    pub packets: u64,
    /// Bytes of IP, plus four for the label.
    pub bytes: u64,
}

pub type MeterCounts = BTreeMap<Meter, Count>;

/// Raises `counts` to at least the values in `others`.
pub fn raise(counts: &mut MeterCounts, others: &MeterCounts) {
    for (meter, other) in others {
        let count = counts.entry(meter.clone()).or_default();
        *count = (*count).max(*other);
    }
}

/// Creates or updates the table. Counters are kept.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn prepare() -> Result<(), KernelError> {
    let [told, group, burst] = [TOLD.to_string(), GROUP.to_string(), BURST.to_string()];
    let frame = FRAME.replace("$in", IN).replace("$told", &told);
    run(&[&frame.replace("$group", &group).replace("$burst", &burst)]).await.map(drop)
}

/// A device of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedDevice {
    pub name: String,
    /// Whether the bytes of paths that the neighbour asked for are limited.
    pub has_quota: bool,
}

/// Drops all packets from these devices, except labels that are allowed from now on. With a quota, the bytes of
/// paths that the neighbour asked for are counted, in both directions. A quota that is not among `quotas` is new,
/// and drops nothing before [`set_quotas`].
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn guard(devices: &[GuardedDevice], quotas: &Quotas) -> Result<(), KernelError> {
    let rules = |device| guard_rules(device, quotas);
    let text: String = devices.iter().map(rules).collect();
    if text.is_empty() { Ok(()) } else { run(&[&text]).await.map(drop) }
}

/// The rules of a device. Only labelled packets are accepted. A packet above its path's rate is dropped before
/// the quota counts it. Both directions share one chain with the quota, so that they share what it has counted.
///
/// nft 1.0.6 does not accept a match on the protocol and one on the label in one rule, so there are more chains.
fn guard_rules(device: &GuardedDevice, quotas: &Quotas) -> String {
    let GuardedDevice { name, has_quota } = device;
    let charged = |chain: &str, interface: &str, set: &str| match has_quota {
        true => format!(
            "add rule {TABLE} {chain}_{name} meta {interface} . (@nh,0,32 & 0xfffff100) @{set} jump quota_{name}\n"
        ),
        false => String::new(),
    };
    let received = charged("received", "iif", "charged_in");
    let sent = charged("sent", "oif", "charged_out");
    // Adding an existing quota would change its limit.
    let quota = match (has_quota, quotas.contains_key(name)) {
        (true, true) => quota_rule(name),
        (true, false) => new_quota(name, UNLIMITED),
        (false, true) => format!("delete quota {TABLE} quota_{name}\n"),
        (false, false) => String::new(),
    };
    format!(
        "add chain {TABLE} quota_{name}
flush chain {TABLE} quota_{name}
{quota}add chain {TABLE} received_{name}
flush chain {TABLE} received_{name}
add rule {TABLE} received_{name} jump limits
{received}add rule {TABLE} received_{name} jump labels
add chain {TABLE} sent_{name}
flush chain {TABLE} sent_{name}
{sent}add rule {TABLE} sent_{name} jump sent
add chain {TABLE} in_{name} {{ type filter hook ingress device \"{name}\" priority 0; policy drop; }}
flush chain {TABLE} in_{name}
add rule {TABLE} in_{name} meta protocol 0x8847 jump received_{name}
add chain {TABLE} out_{name} {{ type filter hook egress device \"{name}\" priority 0; policy accept; }}
flush chain {TABLE} out_{name}
add rule {TABLE} out_{name} meta protocol 0x8847 jump sent_{name}
"
    )
}

impl ForwardKernel {
    /// Applies the changes atomically, in batches of [`AT_ONCE`].
    ///
    /// # Errors
    /// A device does not exist, or the kernel refuses.
    pub async fn change(&self, gates: &[GateChange]) -> Result<(), KernelError> {
        let mut devices = BTreeMap::new();
        for gate in gates {
            let name = gate.meter().device.as_str();
            if !devices.contains_key(name) {
                devices.insert(name, self.known(name).await?);
            }
        }
        for some in gates.chunks(AT_ONCE) {
            let of = |gate: &GateChange| gate.changes(devices[gate.meter().device.as_str()]);
            let changes: Vec<_> = some.iter().flat_map(of).collect();
            element::commit(&changes).map_err(KernelError::to("change what may come"))?;
        }
        Ok(())
    }
}

/// Reads all counters.
///
/// # Errors
/// The table does not exist, or the kernel's answer is not as expected.
pub fn counts() -> Result<MeterCounts, KernelError> {
    const WHAT: &str = "read what goes by";
    let mut names = DeviceNames::open().map_err(KernelError::to(WHAT))?;
    let mut counts = MeterCounts::new();
    for direction in Direction::ALL {
        for (key, count) in listing::counters(direction.set()).map_err(KernelError::to(WHAT))? {
            if let Some(meter) = Meter::of_key(key, direction, &mut names) {
                counts.insert(meter, count);
            }
        }
    }
    Ok(counts)
}

/// The names of devices by their indexes, each asked for once (`SIOCGIFNAME` of netdevice(7)).
struct DeviceNames {
    socket: OwnedFd,
    known: BTreeMap<u32, Option<String>>,
}

impl DeviceNames {
    fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        Ok(Self { socket, known: BTreeMap::new() })
    }

    /// `None`: the device is gone.
    fn name(&mut self, index: u32) -> Option<&str> {
        let socket = &self.socket;
        let name = self.known.entry(index).or_insert_with(|| index_to_name(socket, index).ok());
        name.as_deref()
    }
}

pub(super) async fn run(arguments: &[&str]) -> Result<String, KernelError> {
    const WHAT: &str = "have nft count what goes by";
    let output = output(arguments).await.map_err(KernelError::to(WHAT))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(KernelError::to(WHAT)(String::from_utf8_lossy(&output.stderr).trim()))
}

async fn output(arguments: &[&str]) -> io::Result<Output> {
    let mut nft = Command::new(NFT);
    nft.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let child = nft.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    timeout(TIMEOUT, child.wait_with_output())
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not come to an end"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a link with a quota looks up whose paths its packets are on, and both directions share the quota.
    #[test]
    fn a_quota_is_for_both_directions() {
        let none = Quotas::new();
        let there = Quotas::from([("fl3".into(), Quota { bytes: 9, used: 4 })]);
        let rules = |has_quota, quotas| {
            guard_rules(&GuardedDevice { name: "fl3".into(), has_quota }, quotas)
        };
        let (free, limited) = (rules(false, &none), rules(true, &none));
        assert!(!free.contains("@charged") && !free.contains(" quota "), "{free}");
        let added = |text: &str| -> Vec<_> {
            text.lines().filter(|line| !free.contains(line)).map(str::to_owned).collect()
        };
        let rule = |text: &str| format!("add rule netdev octet_forward {text}");
        let expected = [
            format!("add quota netdev octet_forward quota_fl3 {{ over {} bytes; }}", i64::MAX),
            rule("quota_fl3 quota name \"quota_fl3\" drop"),
            rule("received_fl3 meta iif . (@nh,0,32 & 0xfffff100) @charged_in jump quota_fl3"),
            rule("sent_fl3 meta oif . (@nh,0,32 & 0xfffff100) @charged_out jump quota_fl3"),
        ];
        assert_eq!(added(&limited), expected);
        // An existing quota keeps its limit, and goes with the last rule that uses it.
        assert_eq!(added(&rules(true, &there)), expected[1..]);
        assert_eq!(added(&rules(false, &there)), ["delete quota netdev octet_forward quota_fl3"]);
        // What is above its path's rate is dropped first.
        let place = |part: &str| limited.find(part).unwrap();
        assert!(place("jump limits") < place("@charged_in"));
        assert!(place("@charged_in") < place("jump labels"));
    }
}

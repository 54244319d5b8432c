//! Which labels may come from which neighbour, how much of it, how much has, and how much has gone to which with
//! which label: sets of nftables. Two of them are gates too.
//!
//! The kernel itself takes a label from whoever sends it. What is not in the set is dropped before it gets
//! that far, and counted. So is what comes above the rate of its path.
//!
//! Sets and chains are made, and counts are read, by nft. Elements are changed without it.

mod element;
mod gate;
pub mod kept;

pub use gate::GateChange;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::links::IN;
use super::wanted::GROUP;
use super::{ForwardKernel, KernelError};
use crate::label::Label;
use element::ElementKey;

/// Where the image has the tool.
const NFT: &str = "/usr/sbin/nft";

/// How long it may take: long, because the board may be busy.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How many gates are changed at once: what a datagram to the kernel has room for (`net.core.wmem_default`).
const AT_ONCE: usize = 256;

/// The table, and its name alone.
const TABLE: &str = "netdev octet_forward";
const NAME: &str = "octet_forward";

/// The sets, and what comes by [`IN`].
///
/// - What is compared is the first label of a packet: its 20 bits and, after those of the traffic class, the one
///   which says that there is no further label (RFC 3032, 2.1). A packet with more is none of forward's. What
///   goes has passed here already: its chain only counts.
/// - Each element of `rates` has a rate of its own, and is found only by what comes above it: the one that the set
///   names is nobody's. An element with both a rate and a count nft 1.0.6 lists as JSON without the count, so
///   what is dropped is counted by another set.
/// - What comes by that device to a node was sent without a path: it is told, and dropped.
const FRAME: &str = "table netdev octet_forward {
  set labels { typeof meta iif . @nh,0,32; size 65536; counter; }
  set sent { typeof meta oif . @nh,0,32; size 65536; counter; }
  set rates { typeof meta iif . @nh,0,32; size 65536; limit rate over 1 bytes/second burst $burst bytes; }
  set above { typeof meta iif . @nh,0,32; size 65536; counter; }
  chain labels { }
  chain above { }
  chain sent { }
  chain wanted { type filter hook ingress device \"$in\" priority 0; policy accept; }
}
flush chain netdev octet_forward labels
flush chain netdev octet_forward above
flush chain netdev octet_forward sent
flush chain netdev octet_forward wanted
table netdev octet_forward {
  chain labels {
    meta iif . (@nh,0,32 & 0xfffff100) @rates goto above
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

/// What may come at once above a rate, in bytes, besides what may come in a second: two of the longest packets.
const BURST: u32 = 3000;

/// How many packets without a path are told of in a second.
const TOLD: u32 = 50;

/// What is counted of a label, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// What comes from the neighbour, and is let. What is not let does not come.
    In,
    Out,
    /// What came from it above the rate of its path, and was dropped.
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

    /// The set that counts it.
    const fn set(self) -> &'static str {
        match self {
            Self::In => "labels",
            Self::Out => "sent",
            Self::Above => "above",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Above => 2,
        }
    }
}

/// Something that is counted: a label that goes by a device, the one way or the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meter {
    pub device: String,
    pub direction: Direction,
    pub label: Label,
}

impl Meter {
    /// What its element is found by, where `device` is the number of its device.
    fn key(&self, device: u32) -> ElementKey {
        let first = self.label.get() << 12 | 0x100;
        let [a, b, c, d] = device.to_ne_bytes();
        let [e, f, g, h] = first.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// What has gone by with a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub struct Count {
    pub packets: u64,
    /// Their bytes: of IP, and four for the label.
    pub bytes: u64,
}

pub type MeterCounts = BTreeMap<Meter, Count>;

/// Has none of `counts` be lower than in `others`, nor missing.
pub fn raise(counts: &mut MeterCounts, others: &MeterCounts) {
    for (meter, other) in others {
        let count = counts.entry(meter.clone()).or_default();
        *count = (*count).max(*other);
    }
}

/// Makes the table, or sees that it is as it should be. What it counts goes on.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn prepare() -> Result<(), KernelError> {
    let [told, group, burst] = [TOLD.to_string(), GROUP.to_string(), BURST.to_string()];
    let frame = FRAME.replace("$in", IN).replace("$told", &told);
    run(&[&frame.replace("$group", &group).replace("$burst", &burst)]).await.map(drop)
}

/// Lets nothing come by these devices but what is let from now on.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn guard(devices: &[String]) -> Result<(), KernelError> {
    let mut text = String::new();
    for device in devices {
        // Nothing else than labels has any business there.
        let _ = writeln!(
            text,
            "add chain {TABLE} in_{device} {{ type filter hook ingress device \"{device}\" priority 0; policy drop; }}
flush chain {TABLE} in_{device}
add rule {TABLE} in_{device} meta protocol 0x8847 jump labels
add chain {TABLE} out_{device} {{ type filter hook egress device \"{device}\" priority 0; policy accept; }}
flush chain {TABLE} out_{device}
add rule {TABLE} out_{device} meta protocol 0x8847 jump sent"
        );
    }
    if text.is_empty() { Ok(()) } else { run(&[&text]).await.map(drop) }
}

impl ForwardKernel {
    /// Makes these changes: all, or none; of more than [`AT_ONCE`] piece by piece.
    ///
    /// # Errors
    /// A device is not there, or the kernel refuses.
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

/// What has gone by so far.
///
/// # Errors
/// nft cannot be run, or says something else than it does.
pub async fn counts() -> Result<MeterCounts, KernelError> {
    // Of several sets in one run nft 1.0.6 finds the last one only, and for all sets of a table it reads those of
    // other tables too; of a table it reads that one.
    read(&run(&["-j", &format!("list table {TABLE}")]).await?)
}

/// What nft lists of the table (libnftables-json(5)), as far as it is read: with many labels it is long.
#[derive(Deserialize)]
struct Listed {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Set {
    name: String,
    #[serde(default)]
    elem: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    elem: Counted,
}

#[derive(Deserialize)]
struct Counted {
    val: Concat,
    counter: Option<Count>,
}

#[derive(Deserialize)]
struct Concat {
    /// The device, which is a number if it is gone, and the first 32 bits of the packet.
    concat: (Value, u32),
}

/// The elements of the sets that count.
fn read(text: &str) -> Result<MeterCounts, KernelError> {
    let listed: Listed =
        serde_json::from_str(text).map_err(KernelError::to("read what nft lists"))?;
    let mut counts = MeterCounts::new();
    for set in listed.nftables.into_iter().filter_map(|it| it.set) {
        let is_it = |direction: &Direction| set.name == direction.set();
        let Some(direction) = Direction::ALL.into_iter().find(is_it) else { continue };
        counts.extend(set.elem.into_iter().filter_map(|it| counted(direction, it.elem)));
    }
    Ok(counts)
}

fn counted(direction: Direction, Counted { val, counter }: Counted) -> Option<(Meter, Count)> {
    let (Value::String(device), first) = val.concat else { return None };
    let label = Label::new(first >> 12)?;
    Some((Meter { device, direction, label }, counter?))
}

pub(super) async fn run(arguments: &[&str]) -> Result<String, KernelError> {
    const WHAT: &str = "have nft count what goes by";
    let output = said(arguments).await.map_err(KernelError::to(WHAT))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(KernelError::to(WHAT)(String::from_utf8_lossy(&output.stderr).trim()))
}

async fn said(arguments: &[&str]) -> io::Result<Output> {
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
    use serde_json::json;

    #[test]
    fn elements_are_found() {
        let set = |name: &str, packets: u64| {
            let counted = json!({"packets": packets, "bytes": 84 * packets});
            let of = |device: Value| json!({"elem": {"val": {"concat": [device, 0x64100]}, "counter": counted}});
            // The second device is gone.
            json!({"set": {"name": name, "elem": [of("fl3".into()), of(17.into())]}})
        };
        let limit = json!({"rate": 12500, "per": "second", "inv": true});
        let rates = json!([{"elem": {"val": {"concat": ["fl3", 0x64100]}, "limit": limit}}]);
        let listed = json!({"nftables": [
            {"metainfo": {}},
            {"table": {"name": "octet_forward"}},
            set("labels", 3),
            set("sent", 4),
            {"set": {"name": "rates", "elem": rates}},
            set("above", 5),
            {"chain": {"name": "labels"}},
            {"rule": {"chain": "labels", "expr": [{"counter": {"packets": 0, "bytes": 0}}]}},
        ]});
        let text = listed.to_string();
        let of = |direction, packets| {
            let label = Label::new(100).unwrap();
            let meter = Meter { device: "fl3".into(), direction, label };
            (meter, Count { packets, bytes: 84 * packets })
        };
        let expected =
            [of(Direction::In, 3), of(Direction::Out, 4), of(Direction::Above, 5)].into();
        assert_eq!(read(&text).unwrap(), expected);
        let empty = json!({"nftables": [{"set": {"name": "labels"}}]}).to_string();
        assert_eq!(read(&empty).unwrap(), MeterCounts::new());
        assert!(read(&text[1..]).is_err());
    }
}

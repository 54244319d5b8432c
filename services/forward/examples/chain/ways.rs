//! The ways that the kernel knows by itself, and what it is told for them: links, labels and ends of paths, as
//! forward's daemon tells it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use octet_forward::exchange::public;
use octet_forward::kernel::links::{IN, Tunnel};
use octet_forward::kernel::meter::{
    self, Count, Direction, GateChange, GuardedDevice, Meter, Quotas,
};
use octet_forward::kernel::paths::KernelPathEnd;
use octet_forward::kernel::usage;
use octet_forward::label::Label;
use octet_forward::mtu::LONGEST_OF_PATH;
use octet_forward::neighbour::PORT;

use crate::node::Here;
use crate::wires::Plug;
use crate::{ENDS, Failed};

/// By which bytes are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Plain,
    /// The kernel's WireGuard from each node to the next, and forwarding.
    Wireguard,
    /// Labels, or a whole path.
    Path(Path),
    Yggdrasil,
    Nebula,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Of those that there are.
    number: u8,
    /// Whether it goes by plain links, and not by WireGuard.
    is_plain: bool,
    /// Whether it has its own WireGuard within, from end to end.
    has_inner: bool,
}

/// All of them: they are there at once, and only one is ever used.
const PATHS: [Path; 4] = [
    Path { number: 0, is_plain: true, has_inner: false },
    Path { number: 1, is_plain: false, has_inner: false },
    Path { number: 2, is_plain: true, has_inner: true },
    Path { number: 3, is_plain: false, has_inner: true },
];

/// The device of a link that is there for its route alone.
const SPARE: &str = "fl99";

/// What labels begin their way with: one of those that forward draws.
const TTL: u8 = 200;

/// The port of the inner WireGuard of the first path.
const INNER_PORT: u16 = 52000;

impl Way {
    /// As the benchmark names it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "plain" => Self::Plain,
            "wireguard" => Self::Wireguard,
            "labels-plain" => Self::Path(PATHS[0]),
            "labels-wireguard" => Self::Path(PATHS[1]),
            "path-plain" => Self::Path(PATHS[2]),
            "path-wireguard" => Self::Path(PATHS[3]),
            "yggdrasil" => Self::Yggdrasil,
            "nebula" => Self::Nebula,
            _ => return None,
        })
    }

    /// The address by which packets to the last node take it, if it is always the same.
    pub fn end(self) -> Option<IpAddr> {
        match self {
            Self::Plain => Plug::before(ENDS[1]).map(|plug| plug.address().into()),
            Self::Wireguard => Some(by_wireguard(1).into()),
            Self::Path(path) if path.has_inner => Some(path.node(1).into()),
            Self::Path(path) => Some(path.outer(1).into()),
            Self::Yggdrasil | Self::Nebula => None,
        }
    }
}

/// The first end's address (0) or the last one's (1) within the links' WireGuard.
fn by_wireguard(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 0, 1 + end as u8)
}

impl Path {
    fn outer(self, end: usize) -> Ipv4Addr {
        Ipv4Addr::new(240, 0, self.number, 1 + end as u8)
    }

    /// What the node at an end is called by the other one.
    fn node(self, end: usize) -> Ipv6Addr {
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, self.number.into(), 1 + end as u16)
    }

    /// The label with which it goes by a wire, away from the end `from`.
    fn label(self, wire: usize, from: usize) -> Result<Label, Failed> {
        let number = 1000 + 100 * u32::from(self.number) + 10 * from as u32 + wire as u32;
        Ok(Label::new(number).ok_or("this is not a label")?)
    }

    fn secret(self, end: usize) -> [u8; 32] {
        [0x80 + 2 * self.number + end as u8; 32]
    }

    /// What there is at an end of it.
    fn at_end(self, end: usize) -> KernelPathEnd {
        let port = INNER_PORT + u16::from(self.number);
        let link = |end: usize| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1 + end as u16);
        KernelPathEnd {
            name: format!("fp{}", self.number),
            secret: self.secret(end),
            key: public(&self.secret(1 - end)),
            near: (self.outer(end), port),
            far: (self.outer(1 - end), port),
            inner: (link(end), link(1 - end)),
            nodes: (self.node(end), Some(self.node(1 - end))),
            private: None,
        }
    }
}

fn secret(node: usize) -> [u8; 32] {
    [1 + node as u8; 32]
}

/// The link by `plug`: WireGuard, or plain.
fn link(plug: Plug, is_plain: bool) -> Tunnel {
    let other = plug.other();
    let of = |plug: Plug| Ipv4Addr::new(100, 64, plug.wire as u8, 1 + plug.side as u8);
    Tunnel {
        name: device(plug, is_plain),
        key: public(&secret(other.node())),
        at: Some(SocketAddr::from((other.address(), PORT))),
        near: of(plug),
        far: of(other),
        plain: is_plain.then(|| (plug.address(), other.address())),
    }
}

/// The device of that link: the neighbour's number, and 10 more if it is plain.
fn device(plug: Plug, is_plain: bool) -> String {
    format!("fl{}", 1 + plug.other().node() + if is_plain { 10 } else { 0 })
}

/// Has the kernel know at the node `number` all that it does by itself.
pub async fn make(here: &Here, number: usize) -> Result<(), Failed> {
    links(here, number).await?;
    wireguard(here, number).await?;
    let mut gates = vec![];
    for path in PATHS {
        labels(here, number, path, &mut gates).await?;
    }
    Ok(here.kernel.change(&gates).await?)
}

async fn links(here: &Here, number: usize) -> Result<(), Failed> {
    here.kernel.prepare(secret(number), PORT).await?;
    meter::prepare().await?;
    usage::prepare().await?;
    let all = || Plug::of(number).flat_map(|plug| [false, true].map(|it| link(plug, it)));
    for link in all() {
        here.kernel.open(&link).await?;
    }
    let guarded = |link: Tunnel| GuardedDevice { name: link.name, has_quota: false };
    let devices: Vec<_> = all().map(guarded).collect();
    meter::guard(&devices, &Quotas::new()).await?;
    for link in all() {
        here.kernel.start(&link.name).await?;
    }
    Ok(())
}

/// Lets packets to the ends by WireGuard as they are: each neighbour may use the addresses of those behind it.
async fn wireguard(here: &Here, number: usize) -> Result<(), Failed> {
    for plug in Plug::of(number) {
        let link = link(plug, false);
        let far = by_wireguard(1 - plug.side);
        let own = ENDS.iter().position(|end| *end == number).map(by_wireguard);
        let near = own.unwrap_or(link.near);
        here.kernel.open(&Tunnel { name: SPARE.into(), near, far, ..link }).await?;
        here.kernel.remove(SPARE).await?;
    }
    Ok(())
}

/// The part of a path that is at a node, both ways.
async fn labels(
    here: &Here,
    number: usize,
    path: Path,
    gates: &mut Vec<GateChange>,
) -> Result<(), Failed> {
    let end = ENDS.iter().position(|end| *end == number);
    if let Some(end) = end {
        if path.has_inner {
            let at_end = path.at_end(end);
            here.kernel.open_end(&at_end).await?;
            let (near, far) = (path.node(end), path.node(1 - end));
            here.kernel.route_node(&at_end.name, near, far, LONGEST_OF_PATH).await?;
        } else {
            here.up(IN, Some((path.outer(end).into(), 32))).await?;
        }
    }
    let sides = [Plug::before(number), Plug::behind(number)];
    for from in [0, 1] {
        let of = |plug: Plug| {
            let label = path.label(plug.wire, from)?;
            Ok::<_, Failed>((device(plug, path.is_plain), label))
        };
        let came = sides[from].map(of).transpose()?;
        let goes = sides[1 - from].map(of).transpose()?;
        for (direction, counted) in [(Direction::In, &came), (Direction::Out, &goes)] {
            gates.extend(counted.clone().map(|(device, label)| {
                let meter = Meter { device, direction, label };
                GateChange::Allow { meter, begins: Count::default(), is_charged: false }
            }));
        }
        match (came, goes) {
            (Some((_, came)), Some((by, goes))) => here.kernel.swap(came, goes, &by).await?,
            (Some((_, came)), None) => here.kernel.pop(came).await?,
            (None, Some((by, goes))) => {
                let between = (path.outer(1 - from), path.outer(from));
                here.kernel.push(between, (goes, TTL), &by).await?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

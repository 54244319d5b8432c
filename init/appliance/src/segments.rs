//! Evaluates policies: which flow may begin between two zones, and which policy allows it.

use std::fmt;
use std::num::NonZeroU32;

use crate::allow_table::AllowTable;
use crate::cluster::{Board, Cluster, Lan};
use crate::document::span_of;
use crate::file_error::{FileError, nearest};
use crate::neighbour::{LINKS_PORT, Neighbour};
use crate::policy::{
    InvalidPolicy, MPLS_IN_IP, Policy, PolicyTraffic, PolicyZone, PortRange, Publish,
    PublishTarget, ServiceName,
};
use crate::unit::{Port, Protocol, Unit};
use crate::vpn::Vpn;

/// The sections of `appliance.toml` about a box with a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[[board]]`
    pub boards: Vec<Board>,
    /// `[lan]`
    pub lan: Option<Lan>,
    /// `[[policy]]`
    pub policies: Vec<Policy>,
    /// `[[publish]]`
    pub publish: Vec<Publish>,
    /// `[[neighbour]]`
    pub neighbours: Vec<Neighbour>,
    /// `[vpn]`
    pub vpn: Option<Vpn>,
}

/// A part of the box whose traffic with every other part passes the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// A board, by its number.
    Board(u8),
    Router,
    Lan,
    Uplink,
    /// Nodes that are reached by the devices of the unit `forward`.
    Path,
}

/// A kind of flow, without its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficKind {
    Tcp,
    Udp,
    /// Echo requests of ICMP and ICMPv6.
    Ping,
    Number(u8),
}

/// Source zone, destination zone and kind of flow.
pub type FlowKey = (Zone, Zone, TrafficKind);

/// The result of all policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    /// The allowed flows, by policy, counted from 0. Where two policies overlap, the earlier one
    /// counts.
    pub allowed: AllowTable<usize>,
    /// For each policy, the maximum number of new flows per second.
    pub rates: Vec<Option<NonZeroU32>>,
    /// Published ports of the router, and their destinations.
    pub published: Vec<Published>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub port: Port,
    /// The board, by its number.
    pub board: u8,
    pub target: Port,
}

/// All ports; also used for protocols without ports.
pub const ALL_PORTS: PortRange = PortRange { first: 0, last: u16::MAX };

/// The router's source ports for masqueraded flows whose own port is reserved on the uplink: no
/// inbound flow is allowed to them.
pub const MASQUERADE_PORTS: PortRange = PortRange { first: 61_000, last: 61_999 };

/// A mistake in a policy, or a policy without effect.
#[derive(Debug)]
struct Mistake {
    section: &'static str,
    index: usize,
    key: &'static str,
    /// The index in the key's list, if it is about one item.
    item: Option<usize>,
    message: String,
    hint: String,
}

impl Mistake {
    fn into_file_error(self, file: &str, text: &str) -> Box<FileError> {
        let (index, item) = (self.index.to_string(), self.item.map(|item| item.to_string()));
        let keys = [self.section, &index, self.key].into_iter().chain(item.as_deref());
        let at = span_of(text, &keys.collect::<Vec<_>>());
        // Settings from JSON have no lines: the policy is then identified by its number.
        let message = match text {
            "" => format!("{} {}: {}", self.section, self.index + 1, self.message),
            _ => self.message,
        };
        FileError::new(file, text, at, message, self.hint)
    }
}

impl Segments {
    /// Evaluates the policies of `settings`, which were read from `text`, the content of `file`, in
    /// an image with these units. Also returns policies without effect.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn evaluate(
        settings: &ClusterSettings,
        units: &[Unit],
        (file, text): (&str, &str),
    ) -> Result<(Self, Vec<FileError>), Box<FileError>> {
        let mut evaluation =
            Evaluation { settings, units, segments: Self::default(), warnings: vec![] };
        evaluation.run().map_err(|mistake| mistake.into_file_error(file, text))?;
        let warnings =
            evaluation.warnings.into_iter().map(|mistake| *mistake.into_file_error(file, text));
        Ok((evaluation.segments, warnings.collect()))
    }
}

/// The state of [`Segments::evaluate`].
struct Evaluation<'a> {
    settings: &'a ClusterSettings,
    units: &'a [Unit],
    segments: Segments,
    warnings: Vec<Mistake>,
}

impl Evaluation<'_> {
    fn run(&mut self) -> Result<(), Mistake> {
        let settings = self.settings;
        for (index, policy) in settings.policies.iter().enumerate() {
            let wrong = |key, (message, hint): (String, String)| Mistake {
                section: "policy",
                index,
                key,
                item: None,
                message,
                hint,
            };
            let of_list = |key, (item, reason)| Mistake { item: Some(item), ..wrong(key, reason) };
            self.segments.rates.push(policy.rate);
            let from = self.zones(&policy.from).map_err(|reason| of_list("from", reason))?;
            let to = self.zones(&policy.to).map_err(|reason| of_list("to", reason))?;
            let what = self.traffic(&policy.what).map_err(|reason| wrong("service", reason))?;
            for (list, zones, key) in [(&policy.from, &from, "from"), (&policy.to, &to, "to")] {
                if zones.is_empty() {
                    let message = format!("no board has the role of {}", join(list));
                    let hint = "give it to a board in [[board]], or remove the line";
                    self.warnings.push(wrong(key, (message, hint.into())));
                }
            }
            if policy.what == PolicyTraffic::Number(MPLS_IN_IP) {
                for (zones, key) in [(&from, "from"), (&to, "to")] {
                    let other = zones.iter().find(|zone| !matches!(zone, Zone::Board(_)));
                    if let Some(other) = other {
                        let message = format!(
                            "{other} is not a board: mpls-in-ip is for links between boards"
                        );
                        return Err(wrong(key, (message, "name boards".into())));
                    }
                }
            }
            if from.contains(&Zone::Uplink) && to.contains(&Zone::Router) {
                let key = if matches!(policy.what, PolicyTraffic::Service(_)) {
                    "service"
                } else {
                    "ports"
                };
                check_masquerade_ports(&what).map_err(|reason| wrong(key, reason))?;
            }
            let mut pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
            let mut pairs: Vec<_> = pairs.by_ref().filter(|(from, to)| from != to).collect();
            pairs.sort_unstable();
            pairs.dedup();
            if pairs.is_empty() && !from.is_empty() && !to.is_empty() {
                let message =
                    "this policy goes from a zone to itself, which has only one member".into();
                return Err(wrong("to", (message, "name another zone".into())));
            }
            let mut adds = false;
            for (from, to) in &pairs {
                for (traffic, ports) in &what {
                    let flow = (*from, *to, *traffic);
                    adds |= self.allow(flow, *ports, index).map_err(|said| wrong("rate", said))?;
                }
            }
            if !adds && !pairs.is_empty() {
                let message = "earlier policies already allow all of this".to_owned();
                self.warnings.push(wrong("from", (message, "remove this policy".into())));
            }
        }
        for index in 0..settings.publish.len() {
            self.publish(index)?;
        }
        settings.neighbours.iter().enumerate().try_for_each(|it| self.neighbour(it))
    }

    /// The zones that `list` names, each once.
    fn zones(&self, list: &[PolicyZone]) -> Result<Vec<Zone>, (usize, (String, String))> {
        let boards = self.settings.cluster.boards;
        let mut zones = vec![];
        for (index, who) in list.iter().enumerate() {
            match who {
                PolicyZone::Board(number) if *number <= boards => zones.push(Zone::Board(*number)),
                PolicyZone::Board(number) => {
                    let message = format!("there is no board {number}: the box has {boards}");
                    return Err((index, (message, "see `boards` in [cluster]".into())));
                }
                PolicyZone::Boards => zones.extend((1..=boards).map(Zone::Board)),
                PolicyZone::Role(role) => {
                    let all = self.settings.boards.iter();
                    let of_role = all.filter(|board| board.role.as_ref() == Some(role));
                    zones.extend(of_role.map(|board| Zone::Board(board.number)));
                }
                PolicyZone::Uplink => zones.push(Zone::Uplink),
                PolicyZone::Router => zones.push(Zone::Router),
                PolicyZone::Lan if self.settings.lan.is_some() => zones.push(Zone::Lan),
                PolicyZone::Lan => {
                    let reason = ("the box has no `lan`".into(), "add a section [lan]".into());
                    return Err((index, reason));
                }
                PolicyZone::Path => zones.push(Zone::Path),
            }
        }
        zones.sort_unstable();
        zones.dedup();
        Ok(zones)
    }

    fn traffic(
        &self,
        what: &PolicyTraffic,
    ) -> Result<Vec<(TrafficKind, PortRange)>, (String, String)> {
        Ok(match what {
            PolicyTraffic::Service(name) => {
                let Port { protocol, number } = self.service(name)?;
                vec![(protocol.into(), PortRange::one(number))]
            }
            PolicyTraffic::Ports(protocol, ports) => {
                ports.iter().map(|ports| ((*protocol).into(), *ports)).collect()
            }
            PolicyTraffic::Ping => vec![(TrafficKind::Ping, ALL_PORTS)],
            PolicyTraffic::Number(number) => vec![(TrafficKind::Number(*number), ALL_PORTS)],
        })
    }

    fn service(&self, name: &ServiceName) -> Result<Port, (String, String)> {
        let of = |unit: &&Unit| name.unit.as_ref().is_none_or(|wanted| *wanted == unit.name);
        let units = self.units.iter().filter(of);
        let mut found = units.filter_map(|unit| Some((&unit.name, *unit.ports.get(&name.port)?)));
        match (found.next(), found.next()) {
            (Some((_, port)), None) => Ok(port),
            (Some((one, _)), Some((other, _))) => {
                let message = format!("`{one}` and `{other}` both have a port `{}`", name.port);
                Err((message, format!("write `{one}.{0}` or `{other}.{0}`", name.port)))
            }
            (None, _) => {
                let known: Vec<_> = self.units.iter().flat_map(|unit| unit.ports.keys()).collect();
                let near = nearest(name.port.as_str(), known.iter().map(|name| name.as_str()));
                let hint = match near[..] {
                    [] => "units name their ports in unit.toml; or write `protocol` and `ports`"
                        .into(),
                    [best, ..] => format!("did you mean `{best}`?"),
                };
                Err((format!("no unit of this image has a port `{name}`"), hint))
            }
        }
    }

    /// Allows what is not allowed already. Returns whether there was anything.
    fn allow(
        &mut self,
        flow: FlowKey,
        ports: PortRange,
        policy: usize,
    ) -> Result<bool, (String, String)> {
        let Segments { allowed, rates, .. } = &mut self.segments;
        let others = allowed.rules(flow).iter().filter(|it| it.ports.overlaps(ports));
        if let Some(other) = { others }.find(|it| rates[it.rule] != rates[policy]) {
            let message = format!("policy {} allows part of this at another rate", other.rule + 1);
            return Err((message, "write the same rate in both, or make them disjoint".into()));
        }
        Ok(allowed.add(flow, ports, policy))
    }

    fn publish(&mut self, index: usize) -> Result<(), Mistake> {
        let publish = &self.settings.publish[index];
        let wrong = |key, message: String, hint: &str| Mistake {
            section: "publish",
            index,
            key,
            item: None,
            message,
            hint: hint.into(),
        };
        let boards = self.settings.cluster.boards;
        if publish.board > boards {
            let message = format!("there is no board {}: the box has {boards}", publish.board);
            return Err(wrong("to", message, "see `boards` in [cluster]"));
        }
        let port = publish.port;
        let target = match &publish.target {
            PublishTarget::Port(port) => *port,
            PublishTarget::Service(name) => {
                let found = self.service(name);
                found.map_err(|(message, hint)| wrong("service", message, &hint))?
            }
        };
        if target.protocol != port.protocol {
            let message = format!("the router's port is {port}, the unit's {target}");
            return Err(wrong("port", message, "use the unit's protocol"));
        }
        let number = PortRange::one(port.number);
        check_masquerade_ports(&[(port.protocol.into(), number)])
            .map_err(|(message, hint)| wrong("port", message, &hint))?;
        if self.segments.published.iter().any(|other| other.port == port) {
            let message = format!("{port} is published twice");
            return Err(wrong("port", message, "a port can be published once"));
        }
        let flow = (Zone::Uplink, Zone::Router, port.protocol.into());
        if let Some(policy) = self.segments.allowed.rule(flow, port.number) {
            let message = format!("policy {} opens {port} on the router itself", policy + 1);
            return Err(wrong("port", message, "a port can be published once"));
        }
        self.segments.published.push(Published { port, board: publish.board, target });
        Ok(())
    }

    /// Traffic between the router and a neighbour needs no policy. Between a board and a neighbour
    /// it passes the router like any other traffic: the owner must allow it.
    fn neighbour(&self, (index, neighbour): (usize, &Neighbour)) -> Result<(), Mistake> {
        let Neighbour { name, at, board, .. } = neighbour;
        let wrong = |key, message: String, hint: String| {
            Err(Mistake { section: "neighbour", index, key, item: None, message, hint })
        };
        let mut published = self.segments.published.iter();
        let Some(board) = *board else {
            let Some(taken) = published.find(|it| it.port == LINKS) else { return Ok(()) };
            let message = format!(
                "the router itself takes the link to `{name}` at {LINKS}, which is published to board-{}",
                taken.board
            );
            let hint = "publish another port for the board, or say `board = N` here".into();
            return wrong("name", message, hint);
        };
        let zone = Zone::Board(board);
        let flow = (zone, Zone::Uplink, TrafficKind::Udp);
        let is_allowed = |port| self.segments.allowed.rule(flow, port).is_some();
        if at.is_some_and(|at| is_allowed(at.socket().port()))
            || published.any(|it| it.board == board && it.target == LINKS)
        {
            return Ok(());
        }
        let message = format!("no policy allows traffic between {zone} and `{name}`");
        let publish = format!(
            "add [[publish]] with `port = \"{LINKS}\"`, `to = \"{zone}\"` and `at = \"{LINKS}\"`"
        );
        let hint = match at {
            Some(at) => format!(
                "add [[policy]] from \"{zone}\" to \"uplink\" with `protocol = \"udp\"` and `ports = [{}]`; or {publish}",
                at.socket().port()
            ),
            None => format!("{publish}: without `at`, `{name}` has to find this box"),
        };
        wrong("board", message, hint)
    }
}

/// The port of links, on a board or the router.
const LINKS: Port = Port { protocol: Protocol::Udp, number: LINKS_PORT };

/// Rejects policies that allow inbound flows to [`MASQUERADE_PORTS`].
fn check_masquerade_ports(what: &[(TrafficKind, PortRange)]) -> Result<(), (String, String)> {
    let PortRange { first, last } = MASQUERADE_PORTS;
    let is_one = |(traffic, it): &&(TrafficKind, PortRange)| {
        matches!(traffic, TrafficKind::Tcp | TrafficKind::Udp)
            && it.first <= last
            && first <= it.last
    };
    let Some((traffic, _)) = what.iter().find(is_one) else { return Ok(()) };
    let message = format!(
        "the router keeps {traffic} {MASQUERADE_PORTS} for its own connections to the outside"
    );
    Err((message, format!("leave out {MASQUERADE_PORTS}, or use another port")))
}

fn join(list: &[PolicyZone]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl From<Protocol> for TrafficKind {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

impl std::str::FromStr for Zone {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        match PolicyZone::try_from(text.to_owned())? {
            PolicyZone::Board(number) => Ok(Self::Board(number)),
            PolicyZone::Router => Ok(Self::Router),
            PolicyZone::Lan => Ok(Self::Lan),
            PolicyZone::Uplink => Ok(Self::Uplink),
            PolicyZone::Path => Ok(Self::Path),
            PolicyZone::Boards | PolicyZone::Role(_) => Err(InvalidPolicy::Zone(text.to_owned())),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board(number) => write!(f, "board-{number}"),
            Self::Router => f.write_str("router"),
            Self::Lan => f.write_str("lan"),
            Self::Uplink => f.write_str("uplink"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl fmt::Display for TrafficKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Ping => f.write_str("icmp"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests;

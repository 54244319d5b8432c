//! Decides what happens to the first packet of a new flow.

use std::fmt;

use crate::by::By;
use crate::line::Line;
use crate::traffic::{Traffic, Version};
use crate::world::World;
use crate::zone::Zone;

/// The verdict on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Arrives {
        at: Zone,
        /// The first rule that allows it.
        by: By,
    },
    Dropped {
        why: String,
    },
}

impl Verdict {
    pub fn at(&self) -> Option<Zone> {
        match self {
            Self::Arrives { at, .. } => Some(*at),
            Self::Dropped { .. } => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrives { at, by } => write!(f, "arrives at {at} by {by}"),
            Self::Dropped { why } => write!(f, "is dropped: {why}"),
        }
    }
}

impl World {
    /// The verdict on a packet from a host in `from`, with its own source and MAC address, to an
    /// address of `addressed`. The router is addressed as `from` knows it: from the uplink by its
    /// uplink address, otherwise by the one in the network of `from`.
    pub fn verdict(
        &self,
        from: Zone,
        addressed: Zone,
        traffic: Traffic,
        version: Version,
    ) -> Verdict {
        let dropped = |why: &str| Verdict::Dropped { why: why.to_owned() };
        for zone in [from, addressed] {
            if !self.has(zone) {
                return dropped(&format!("there is no {zone}"));
            }
        }
        if from == addressed {
            return dropped("a zone and itself make no pair");
        }
        if let Some(why) = at_the_port(from, traffic, version) {
            return dropped(why);
        }
        if self.vpn {
            match (from, addressed, version) {
                (Zone::Uplink, Zone::Lan, _) => return dropped("by the VPN nobody comes in"),
                (Zone::Lan, Zone::Uplink, Version::V6) => {
                    return dropped("no exit hands IPv6 on");
                }
                _ => {}
            }
        }
        if (from, addressed) == (Zone::Uplink, Zone::Router) {
            for publish in &self.publishes {
                if publish.outside == traffic {
                    return Verdict::Arrives { at: Zone::Board(publish.board), by: publish.by };
                }
            }
        }
        for line in &self.lines {
            if self.lets(line, from, addressed, traffic) {
                return Verdict::Arrives { at: addressed, by: line.by };
            }
        }
        // A host that may query DNS servers outside may query the router of its exit.
        if (from, addressed) == (Zone::Path, Zone::Router)
            && matches!(traffic, Traffic::Udp(53) | Traffic::Tcp(53))
            && let Some(line) =
                self.lines.iter().find(|line| self.lets(line, from, Zone::Uplink, traffic))
        {
            return Verdict::Arrives { at: addressed, by: line.by };
        }
        dropped("no policy allows it")
    }

    /// The router's device by which packets from `from` to `to` leave, if there is one.
    pub fn leaves_by(&self, from: Zone, to: Zone) -> Option<&str> {
        match (from, to) {
            (Zone::Lan, Zone::Uplink) if self.vpn => Some("fvpn"),
            _ => self.device(to),
        }
    }

    /// The verdict on a packet that must arrive in `to` itself.
    pub fn arrives(&self, from: Zone, to: Zone, traffic: Traffic, version: Version) -> Verdict {
        match self.verdict(from, to, traffic, version) {
            Verdict::Arrives { at, by } if at != to => {
                Verdict::Dropped { why: format!("{by} sends it to {at}") }
            }
            verdict => verdict,
        }
    }

    /// The zone in which the packet arrives, which tests compare.
    pub fn reaches(
        &self,
        from: Zone,
        addressed: Zone,
        traffic: Traffic,
        version: Version,
    ) -> Option<Zone> {
        self.verdict(from, addressed, traffic, version).at()
    }

    /// The destination of a port of the router's uplink addresses, and its port there.
    pub fn published(&self, outside: Traffic) -> Option<(Zone, Traffic)> {
        let mut all = self.publishes.iter();
        let publish = all.find(|publish| publish.outside == outside)?;
        Some((Zone::Board(publish.board), publish.inside))
    }

    /// The rate limit of the first rule that allows the flow, in new flows per second.
    pub fn rate(&self, from: Zone, to: Zone, traffic: Traffic, version: Version) -> Option<u32> {
        let Verdict::Arrives { by, .. } = self.verdict(from, to, traffic, version) else {
            return None;
        };
        self.lines.iter().find(|line| line.by == by)?.rate
    }

    /// The verdict, and every rule for the two zones: for the message of a failed test.
    pub fn explain(
        &self,
        from: Zone,
        addressed: Zone,
        traffic: Traffic,
        version: Version,
    ) -> String {
        let verdict = self.verdict(from, addressed, traffic, version);
        let mut text = format!("{traffic} of {version} from {from} to {addressed} {verdict}");
        for line in self.lines.iter().filter(|line| self.pairs(line, from, addressed)) {
            text.push_str(&format!("\n  {line}"));
        }
        text
    }

    fn lets(&self, line: &Line, from: Zone, to: Zone, traffic: Traffic) -> bool {
        self.pairs(line, from, to) && line.what.iter().any(|what| what.covers(traffic))
    }

    fn pairs(&self, line: &Line, from: Zone, to: Zone) -> bool {
        from != to
            && line.from.iter().any(|word| self.means(word, from))
            && line.to.iter().any(|word| self.means(word, to))
    }
}

/// The reason if the packet is dropped before any rule is evaluated, among the kinds of
/// [`Traffic`]: misplaced DHCP. The router and `path` do not send through a port.
fn at_the_port(from: Zone, traffic: Traffic, version: Version) -> Option<&'static str> {
    let port = matches!(from, Zone::Board(_) | Zone::Lan | Zone::Uplink);
    match (traffic, version) {
        (Traffic::Udp(68), Version::V4) | (Traffic::Udp(546), Version::V6) if port => {
            Some("dhcp-server: only a DHCP server sends it")
        }
        _ => None,
    }
}

//! Which flows that have begun may go on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use octet_appliance::{Traffic, Zone};

use super::plan::{Plan, Segment};
use crate::conntrack::{Ends, Flow};

impl Plan {
    /// Whether some line lets `flow` begin now, on a router whose own addresses are these. Of another address
    /// that is not inside it is not known whether it is somebody outside or on a path: then both count.
    pub fn still_lets(&self, flow: &Flow, own: &BTreeSet<IpAddr>) -> bool {
        let Flow { protocol, original, reply, .. } = flow;
        let (from, to) = (self.zones_of(original.from, own), self.zones_of(reply.from, own));
        // Within one zone the router has no say; what it speaks with itself is its own.
        if !from.is_empty() && from == to {
            return true;
        }
        // It goes to another than it is addressed to.
        if original.to != reply.from {
            return self.is_published(original, reply);
        }
        let traffic = match protocol {
            6 => Traffic::Tcp,
            17 => Traffic::Udp,
            1 | 58 => Traffic::Ping,
            number => Traffic::Number(*number),
        };
        let port = original.port.unwrap_or(0);
        let mut pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        pairs.any(|(from, to)| {
            let line = self.lets.get(&(from, to, traffic)).into_iter().flatten();
            { line }.any(|it| (it.ports.first..=it.ports.last).contains(&port))
        })
    }

    fn is_published(&self, original: &Ends, reply: &Ends) -> bool {
        self.published.iter().any(|it| {
            let board = self.boards.iter().find(|board| board.zone == Zone::Board(it.board));
            let is_board = board.is_some_and(|board| has(board, reply.from));
            is_board && original.to != reply.from && original.port == Some(it.port.number)
        })
    }

    /// Who may have `address`; nobody, if it is of a segment that is not there (any more).
    fn zones_of(&self, address: IpAddr, own: &BTreeSet<IpAddr>) -> Vec<Zone> {
        if own.contains(&address) {
            return vec![Zone::Router];
        }
        if let Some(segment) = self.segments().find(|it| has(it, address)) {
            return vec![segment.zone];
        }
        let is_inside = match address {
            IpAddr::V4(address) => self.network.has(address),
            IpAddr::V6(address) => self.network6.has(address),
        };
        if is_inside { vec![] } else { vec![Zone::Uplink, Zone::Path] }
    }
}

/// Whether `address` is in the networks of `segment`.
fn has(segment: &Segment, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == segment.router.0.octets()[..3],
        IpAddr::V6(address) => address.segments()[..4] == segment.router.1.segments()[..4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{Appliance, Segments};

    const LINES: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[network]\naddress = \"dhcp\"\n[cluster]\nboards = 4\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"tcp\"\nports = [80]\n\
        [[policy]]\nfrom = \"board-1\"\nto = \"uplink\"\nprotocol = \"tcp\"\nports = [443]\n\
        [[policy]]\nfrom = \"uplink\"\nto = \"router\"\nprotocol = \"tcp\"\nports = [4040]\n\
        [[publish]]\nport = \"tcp/8443\"\nto = \"board-3\"\nat = \"tcp/80\"\n";

    fn flow(protocol: u8, original: (&str, &str, u16), reply_from: &str) -> Flow {
        let ip = |text: &str| text.parse().unwrap();
        let (from, to, port) = original;
        let original = Ends { from: ip(from), to: ip(to), port: Some(port) };
        let reply = Ends { from: ip(reply_from), to: ip(from), port: None };
        Flow::new(protocol, original, reply)
    }

    #[test]
    fn a_flow_goes_on_as_long_as_a_line_lets_it() {
        let appliance = Appliance::parse("appliance.toml", LINES).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        let (segments, _) = Segments::of(&settings, &[], ("appliance.toml", LINES)).unwrap();
        let plan = Plan::new(&settings, &segments, &[]);
        let own = ["192.0.2.7", "10.20.1.1", "fd6f:6374:6574:1::1"];
        let own: BTreeSet<IpAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        let straight = |protocol, from, to, port| flow(protocol, (from, to, port), to);
        for (lets, flow) in [
            (true, straight(6, "10.20.1.2", "10.20.2.2", 80)),
            (true, straight(6, "fd6f:6374:6574:1::2", "fd6f:6374:6574:2::2", 80)),
            (false, straight(6, "10.20.1.2", "10.20.2.2", 81)),
            (false, straight(17, "10.20.1.2", "10.20.2.2", 80)),
            (false, straight(6, "10.20.2.2", "10.20.1.2", 80)),
            (true, straight(6, "10.20.1.2", "203.0.113.9", 443)),
            (true, straight(6, "203.0.113.9", "192.0.2.7", 4040)),
            (false, straight(6, "203.0.113.9", "10.20.1.2", 4040)),
            (false, straight(6, "203.0.113.9", "192.0.2.7", 4041)),
            // `relay` is for the router, and not for everybody outside.
            (true, straight(1, "192.0.2.7", "10.20.1.2", 0)),
            (false, straight(1, "203.0.113.9", "10.20.1.2", 0)),
            // The owner's devices are no segment any more.
            (false, straight(1, "10.20.250.2", "10.20.1.2", 0)),
            (false, straight(1, "10.20.250.2", "10.20.250.3", 0)),
            (true, flow(6, ("203.0.113.9", "192.0.2.7", 8443), "10.20.3.2")),
            (false, flow(6, ("203.0.113.9", "192.0.2.7", 8444), "10.20.3.2")),
            (false, flow(6, ("203.0.113.9", "192.0.2.7", 8443), "10.20.2.2")),
        ] {
            assert_eq!(plan.still_lets(&flow, &own), lets, "{flow:?}");
        }
    }
}

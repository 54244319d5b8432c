//! The table `octet_fw` of a node that is no router: what may come in from a network, and what units may
//! say to each other. It is the text of one transaction for nft.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use octet_appliance::{Port, Protocol, Unit};

use crate::on_board::{self, OnBoard};
use crate::router::text::elements;

/// The unit for whom the door is open.
const GATE: &str = "gate";

/// What may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbound {
    /// TCP ports.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
    /// Whether DHCP servers are heard.
    pub dhcp: bool,
    /// What units may say to each other.
    pub on_board: OnBoard,
}

impl Inbound {
    /// The ports of the gate, if it is among `units`, and nobody else's.
    pub fn of(units: &[Unit], dhcp: bool) -> Self {
        let gate = units.iter().find(|unit| unit.name.as_str() == GATE);
        let ports = |protocol| {
            let all = gate.into_iter().flat_map(|unit| unit.ports.values());
            all.filter(move |port: &&Port| port.protocol == protocol)
                .map(|port| port.number)
                .collect()
        };
        let (tcp, udp) = (ports(Protocol::Tcp), ports(Protocol::Udp));
        Self { tcp, udp, dhcp, on_board: OnBoard::of(units) }
    }

    /// The transaction that makes the rules stand. Whatever was there before, there is no moment
    /// without rules and none with half of them, and counters go on.
    pub fn text(&self) -> String {
        let mut open = String::new();
        for (protocol, ports) in [("tcp", &self.tcp), ("udp", &self.udp)] {
            if !ports.is_empty() {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                let _ = writeln!(
                    open,
                    "    {protocol} dport {{ {} }} counter name gate accept",
                    ports.join(", ")
                );
            }
        }
        let dhcp = if self.dhcp {
            "    meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept\n"
        } else {
            ""
        };
        FRAME
            .replace("$frame", on_board::FRAME)
            .replace("$on_board", on_board::CHAIN)
            .replace("$kind", on_board::KIND)
            .replace("$own_ports", &elements(self.on_board.elements()))
            .replace("    @open\n", &open)
            .replace("    @dhcp\n", dhcp)
    }
}

/// All but what differs. Chains are named first, so that the flush finds them, and filled again.
///
/// - Neighbour discovery comes from the link itself (RFC 4861, 7.1: hop limit 255), questions of
///   switches about groups too (RFC 2710, 3: hop limit 1): without answers they stop handing on the
///   groups of neighbour discovery.
/// - Router advertisements are not taken: nobody on the network says how this box is addressed.
/// - A node that was a router has a guard; a guard's ports are no concern of this one.
const FRAME: &str = "\
table netdev octet_guard { }
delete table netdev octet_guard
table inet octet_fw {
  counter gate { }
  counter dhcp { }
  counter neighbours { }
  counter denied { }
  counter not_forwarded { }
  set own_ports { $kind; }
$frame  chain input { type filter hook input priority filter; policy drop; }
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy accept; }
}
flush table inet octet_fw
flush set inet octet_fw own_ports
table inet octet_fw {
  set own_ports { $kind;$own_ports }
$on_board  chain input {
    iif lo accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 counter name neighbours accept
    icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept
    ct state invalid counter name denied drop
    @open
    @dhcp
    counter name denied drop
  }
  chain forward {
    counter name not_forwarded drop
  }
  chain output {
    oifname lo goto on_board
  }
}
";

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::UnitSource;
    use proptest::prelude::*;
    use std::path::Path;

    fn unit(name: &str, ports: &str) -> Unit {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}sandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    #[test]
    fn as_it_was_looked_at() {
        let units =
            [unit("web", "ports.http = \"tcp/80\"\n"), unit("gate", "ports.gate = \"tcp/4040\"\n")];
        let inbound = Inbound::of(&units, true);
        for (name, text) in [
            ("gate-and-dhcp.nft", inbound.text()),
            ("closed.nft", Inbound::of(&units[..1], false).text()),
        ] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata").join(name);
            if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            assert_eq!(text, std::fs::read_to_string(file).unwrap(), "{name}");
        }
    }

    proptest! {
        /// Whatever is open: the last word of the chain is a drop, and nothing else opens a port.
        #[test]
        fn what_is_not_named_is_dropped(tcp: BTreeSet<u16>, udp: BTreeSet<u16>, dhcp: bool) {
            let text = Inbound { tcp: tcp.clone(), udp: udp.clone(), dhcp, on_board: OnBoard::default() }.text();
            prop_assert!(!text.contains('$'));
            prop_assert!(!text.replace("@own_ports", "").contains('@'));
            let lines: Vec<_> = text.lines().map(str::trim).collect();
            let end = lines.iter().rposition(|line| *line == "chain forward {").unwrap();
            prop_assert_eq!(lines[end - 2], "counter name denied drop");
            let opened = lines.iter().filter(|line| line.contains("name gate accept")).count();
            prop_assert_eq!(opened, usize::from(!tcp.is_empty()) + usize::from(!udp.is_empty()));
            prop_assert_eq!(text.contains("dport 68"), dhcp);
        }
    }
}

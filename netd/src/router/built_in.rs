//! What is let without a line in the file (docs/segments.md has the table).

use std::fmt;

use octet_appliance::{ALL_PORTS, Port, PortRange, Traffic, Way, Zone};

/// A built-in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// DHCP of boards and the owner's devices.
    Dhcp,
    /// Their questions about names.
    Dns,
    /// Their questions about time.
    Time,
    /// Boards that become part of the box.
    Enrolment,
    /// The owner at the gate.
    Gate,
    /// Echo requests to the router.
    Ping,
    /// Operators who are handed on to a board's gate.
    Relay,
    /// Echo requests of the router.
    Reach,
    /// The router's own questions to those outside.
    Ask,
}

/// The port at which boards become part of the box (TCP).
const ENROLMENT: u16 = 4041;

impl BuiltIn {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Dns => "dns",
            Self::Time => "time",
            Self::Enrolment => "enrolment",
            Self::Gate => "gate",
            Self::Ping => "ping",
            Self::Relay => "relay",
            Self::Reach => "reach",
            Self::Ask => "ask",
        }
    }

    /// All of them, between these zones, with the ports of the gate.
    pub fn all(zones: &[Zone], gate: &[Port]) -> Vec<(Self, Way, PortRange)> {
        let mut all = vec![];
        for zone in zones {
            let mut into =
                |line, traffic, port| all.push((line, (*zone, Zone::Router, traffic), port));
            let is_inside = matches!(zone, Zone::Board(_) | Zone::Lan);
            if is_inside {
                for port in [67, 547] {
                    into(Self::Dhcp, Traffic::Udp, one(port));
                }
                for traffic in [Traffic::Udp, Traffic::Tcp] {
                    into(Self::Dns, traffic, one(53));
                }
                into(Self::Time, Traffic::Udp, one(123));
                into(Self::Ping, Traffic::Ping, ALL_PORTS);
            }
            match zone {
                Zone::Board(_) => into(Self::Enrolment, Traffic::Tcp, one(ENROLMENT)),
                Zone::Lan => {
                    for port in gate {
                        into(Self::Gate, port.protocol.into(), one(port.number));
                    }
                }
                _ => {}
            }
            let mut out =
                |line, traffic, port| all.push((line, (Zone::Router, *zone, traffic), port));
            if is_inside || *zone == Zone::Uplink {
                out(Self::Reach, Traffic::Ping, ALL_PORTS);
            }
            match zone {
                Zone::Board(_) => {
                    for port in gate {
                        out(Self::Relay, port.protocol.into(), one(port.number));
                    }
                }
                Zone::Uplink => {
                    for traffic in [Traffic::Udp, Traffic::Tcp] {
                        out(Self::Ask, traffic, one(53));
                    }
                    for port in [67, 123] {
                        out(Self::Ask, Traffic::Udp, one(port));
                    }
                }
                _ => {}
            }
        }
        all
    }
}

fn one(port: u16) -> PortRange {
    PortRange { first: port, last: port }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

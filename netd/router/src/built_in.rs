//! What is allowed without a rule in the configuration (docs/segments.md has the table).

use std::fmt;

use octet_appliance::{ALL_PORTS, FlowKey, Port, PortRange, TrafficKind, Zone};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// DHCP of boards and of the owner's devices.
    Dhcp,
    Dns,
    Time,
    /// Enrolment of boards in the box.
    Enrolment,
    /// The owner's access to the gate.
    Gate,
    /// Echo requests to the router.
    Ping,
    /// Operators whom the router relays to a board's gate.
    Relay,
    /// Echo requests from the router.
    Reach,
    /// The router's own queries to servers outside (DNS, DHCP, NTP).
    Ask,
    /// Enrolment of boards in a box whose coordinator is a board.
    ManagerEnrolment,
    /// The owner's access to that board's gate.
    ManagerGate,
    /// Operators whom that board relays to another board's gate.
    ManagerRelay,
    /// Access of the coordinator's unit `router` to the web server of a router with OpenWrt.
    ManagerRouter,
}

/// The TCP port of enrolment.
pub const ENROLMENT: u16 = 4041;

impl BuiltIn {
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
            Self::ManagerEnrolment => "manager-enrolment",
            Self::ManagerGate => "manager-gate",
            Self::ManagerRelay => "manager-relay",
            Self::ManagerRouter => "manager-router",
        }
    }

    /// All built-in rules between these zones, with the ports of the gate. Rules for the
    /// coordinator concern the router, or else the board `manager`; the router then has none of
    /// them. That board may reach the port `web` of the router, if there is one.
    pub fn all(
        zones: &[Zone],
        gate: &[Port],
        manager: Option<u8>,
        web: Option<u16>,
    ) -> Vec<(Self, FlowKey, PortRange)> {
        let (coordinator, [enrolment, owners, relay]) = match manager.map(Zone::Board) {
            None => (Zone::Router, [Self::Enrolment, Self::Gate, Self::Relay]),
            Some(board) => (board, [Self::ManagerEnrolment, Self::ManagerGate, Self::ManagerRelay]),
        };
        let mut all = vec![];
        let mut push = |line, way, port| all.push((line, way, port));
        for zone in zones {
            let into = |traffic| (*zone, Zone::Router, traffic);
            let out = |traffic| (Zone::Router, *zone, traffic);
            let is_inside = matches!(zone, Zone::Board(_) | Zone::Lan);
            if is_inside {
                for port in [67, 547] {
                    push(Self::Dhcp, into(TrafficKind::Udp), one(port));
                }
                for traffic in [TrafficKind::Udp, TrafficKind::Tcp] {
                    push(Self::Dns, into(traffic), one(53));
                }
                push(Self::Time, into(TrafficKind::Udp), one(123));
                push(Self::Ping, into(TrafficKind::Ping), ALL_PORTS);
            }
            if is_inside || *zone == Zone::Uplink {
                push(Self::Reach, out(TrafficKind::Ping), ALL_PORTS);
            }
            match zone {
                Zone::Board(_) if *zone != coordinator => {
                    push(enrolment, (*zone, coordinator, TrafficKind::Tcp), one(ENROLMENT));
                    for port in gate {
                        push(relay, (coordinator, *zone, port.protocol.into()), one(port.number));
                    }
                }
                Zone::Lan => {
                    for port in gate {
                        push(owners, (*zone, coordinator, port.protocol.into()), one(port.number));
                    }
                }
                Zone::Uplink => {
                    for traffic in [TrafficKind::Udp, TrafficKind::Tcp] {
                        push(Self::Ask, out(traffic), one(53));
                    }
                    for port in [67, 123] {
                        push(Self::Ask, out(TrafficKind::Udp), one(port));
                    }
                }
                _ => {}
            }
        }
        if let (Some(board), Some(port)) = (manager, web) {
            let way = (Zone::Board(board), Zone::Router, TrafficKind::Tcp);
            all.push((Self::ManagerRouter, way, one(port)));
        }
        all
    }
}

fn one(port: u16) -> PortRange {
    PortRange::one(port)
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! What is let without a line in the file (docs/segments.md has the table).

use std::fmt;

use octet_appliance::{ALL_PORTS, FlowKey, Port, PortRange, TrafficKind, Zone};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// DHCP of boards and the owner's devices.
    Dhcp,
    Dns,
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
    /// Boards that become part of a box whose manager is a board.
    ManagerEnrolment,
    /// The owner at that one's gate.
    ManagerGate,
    /// Operators whom it hands on to another board's gate.
    ManagerRelay,
    /// Its unit `router`, at the web server of a router with OpenWrt.
    ManagerRouter,
}

/// The port at which boards become part of the box (TCP).
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

    /// All of them, between these zones, with the ports of the gate. What is for the coordinator is
    /// for the router, or for the board `manager` if there is one: then nothing of it is for the router. That board
    /// reaches the port `web` of the router, if there is one.
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
    PortRange { first: port, last: port }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

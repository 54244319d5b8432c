//! The position of this node: its number, and the coordinator. A thread follows the number from PID
//! 1.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use octet_appliance::{Board, Cluster};
use octet_node::control::INIT;
use octet_node::follow;
use serde_json::Value;
use tokio::sync::watch;

/// The coordinator's TCP port for enrolment.
pub const ENROLMENT_PORT: u16 = 4041;

/// The router's number at PID 1.
const ROUTER: u8 = 0;

/// The router's host number in each board's network.
const ROUTER_HOST: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePosition {
    /// The number is unknown, or the box has no such board.
    Unknown,
    /// This node is the coordinator, with this number: 0 if it is the router.
    Coordinator(u8),
    /// This node is a board, with the coordinator at this address.
    Board(u8, SocketAddr),
    /// This node is a router, but the settings describe another kind.
    OtherRouter,
}

/// Maps an address to the board with it.
pub type NumberOf = dyn Fn(&Cluster, IpAddr) -> Option<u8>;

/// The coordinator's address for a board (the last argument): of the manager, if there is one, or
/// of the router.
pub type CoordinatorOf = dyn Fn(&Cluster, Option<u8>, u8) -> SocketAddr;

/// The source address of a board; `None` lets the kernel choose.
pub type SourceOf = dyn Fn(u8) -> Option<IpAddr>;

/// The addressing within a box.
pub struct BoxAddressing {
    /// Maps an address to the board with it.
    pub number_of: Box<NumberOf>,
    /// The coordinator's address for a board.
    pub coordinator_of: Box<CoordinatorOf>,
    pub source_of: Box<SourceOf>,
}

impl Default for BoxAddressing {
    fn default() -> Self {
        Self {
            number_of: Box::new(Cluster::board_at),
            coordinator_of: Box::new(|cluster, manager, number| {
                let router = || cluster.network.host(number, ROUTER_HOST);
                let address = manager.map_or_else(router, |number| cluster.addresses(number).0);
                (address, ENROLMENT_PORT).into()
            }),
            source_of: Box::new(|_| None),
        }
    }
}

impl BoxAddressing {
    /// The position of the node with this `number`.
    pub fn position(
        &self,
        cluster: &Cluster,
        boards: &[Board],
        number: Option<u8>,
    ) -> NodePosition {
        let manager = cluster.manager(boards);
        match number {
            Some(number) if number == manager.unwrap_or(ROUTER) => {
                NodePosition::Coordinator(number)
            }
            Some(ROUTER) => NodePosition::OtherRouter,
            Some(number) if (1..=cluster.boards).contains(&number) => {
                NodePosition::Board(number, (self.coordinator_of)(cluster, manager, number))
            }
            _ => NodePosition::Unknown,
        }
    }
}

/// This node's data from PID 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeConfig {
    pub number: Option<u8>,
}

/// Updates `config` at each change of PID 1's data; its socket is in the folder `sockets`.
///
/// # Errors
/// No thread can be started.
pub fn follow_init(sockets: PathBuf, config: watch::Sender<NodeConfig>) -> io::Result<()> {
    let socket = sockets.join(format!("{INIT}.sock"));
    follow::keep(socket, "watch", "PID 1 does not tell which node this is", move |status: Value| {
        let next = read(&status);
        config.send_if_modified(|before| std::mem::replace(before, next) != next);
        true
    })
}

fn read(status: &Value) -> NodeConfig {
    let number = status.get("board").and_then(Value::as_u64).and_then(|it| it.try_into().ok());
    NodeConfig { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{UnitSource, start_order};
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn a_board_reaches_the_router_in_its_own_network() {
        let cluster: Cluster = serde_json::from_value(json!({"boards": 4})).unwrap();
        let wiring = BoxAddressing::default();
        let place = |number| wiring.position(&cluster, &[], number);
        assert_eq!(place(Some(3)), NodePosition::Board(3, "10.20.3.1:4041".parse().unwrap()));
        assert_eq!(place(Some(0)), NodePosition::Coordinator(0));
        assert_eq!((place(None), place(Some(5))), (NodePosition::Unknown, NodePosition::Unknown));
        let address = "10.20.3.2".parse().unwrap();
        assert_eq!((wiring.number_of)(&cluster, address), Some(3));
    }

    #[test]
    fn or_the_manager_in_the_network_of_that_one() {
        let cluster = json!({"boards": 4, "router": "openwrt"});
        let cluster: Cluster = serde_json::from_value(cluster).unwrap();
        let boards = json!([{"number": 1, "role": "cache"}, {"number": 2, "role": "manager"}]);
        let boards: Vec<Board> = serde_json::from_value(boards).unwrap();
        let place = |number| BoxAddressing::default().position(&cluster, &boards, number);
        assert_eq!(place(Some(3)), NodePosition::Board(3, "10.20.2.2:4041".parse().unwrap()));
        assert_eq!(
            (place(Some(2)), place(Some(0))),
            (NodePosition::Coordinator(2), NodePosition::OtherRouter)
        );
        assert_eq!((place(None), place(Some(5))), (NodePosition::Unknown, NodePosition::Unknown));
    }

    /// The unit file matches the code, and fits the other units.
    #[test]
    fn the_unit_file_fits() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| {
            let file = folder.join(file);
            let text = std::fs::read_to_string(&file).unwrap();
            UnitSource::parse(file.display().to_string(), text).unwrap()
        };
        let others = ["identity", "config", "gate", "clock", "logd"];
        let others = others.map(|name| format!("../{name}/unit.toml"));
        let files =
            ["../../netd/unit.toml", "../../init/data.unit.toml", "../../init/modules.unit.toml"];
        let files = files.into_iter().map(str::to_owned).chain(others);
        let more = ["../../init/first-modules.unit.toml", "unit.toml"].map(str::to_owned);
        let units: Vec<_> = files.chain(more).map(|file| read(&file)).collect();
        start_order(&units).unwrap();
        let unit = &units.last().unwrap().unit;
        let ports: Vec<_> = unit.ports.values().map(ToString::to_string).collect();
        assert_eq!(ports, [format!("tcp/{ENROLMENT_PORT}")]);
        let sections: Vec<_> = unit.config.iter().map(ToString::to_string).collect();
        assert_eq!(sections, ["cluster", "board", "operator"]);
    }

    #[test]
    fn what_pid_1_says() {
        assert_eq!(read(&json!({"board": 3, "state": "degraded"})).number, Some(3));
        for nothing in [json!({"board": null}), json!({"board": 256}), json!([]), json!(7)] {
            assert_eq!(read(&nothing).number, None);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                read(&value);
            }
        }
    }
}

//! Test packets between the boards of a box, for `octetctl openwrt verify`. Boards are reached
//! through the gate of the coordinator.

use std::collections::{BTreeMap, BTreeSet};

use octet_appliance::Zone;
use octet_control::{Client, PublicKey, UnitName};
use octet_node::key::PrivateKey;
use octet_node::map::CLUSTER;
use octet_router::kind::FlowKind;
use octet_router::matrix::{BoardEnd, CAME, Matrix, PROBE, ReceivedProbes, SentProbe, WATCH};
use octet_router::plan::RouterPlan;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::board::{self, BoardArgument, Through};
use crate::boxes::Boxes;
use crate::remote::{self, RemoteError, RemoteStream};
use crate::target::BoxAddress;

const NETD: &str = "netd";

/// The maximum number of flow kinds per request (netd, `MAX`).
const AT_ONCE: usize = 200;

/// The number of rounds. Packets that should have arrived are sent again, because packets can be
/// lost.
const ROUNDS: usize = 3;

/// The sending board, and the destination.
type Pair = (u8, Zone);

/// Why boards cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum PacketsError {
    /// The coordinator cannot be called.
    #[error(transparent)]
    Manager(RemoteError),
    /// Another board cannot be called.
    #[error("board {0}: {1}")]
    Board(u8, RemoteError),
    #[error("board {0} answers something else: {1}")]
    Answer(u8, serde_json::Error),
}

impl PacketsError {
    pub fn help(&self) -> &str {
        match self {
            Self::Manager(error) | Self::Board(_, error) => error.help(),
            Self::Answer(..) => "it may run another version of Octet: update the box",
        }
    }
}

pub struct PacketTest {
    /// The box, by the address of its coordinator.
    pub target: BoxAddress,
    pub key: PrivateKey,
    /// The known boxes.
    pub boxes: Boxes,
}

#[derive(Debug, Default)]
pub struct PacketReport {
    /// The number of received packets per pair.
    pub table: Vec<String>,
    /// Deviations from the plan.
    pub found: Vec<String>,
    /// What could not be tested.
    pub unknown: Vec<String>,
}

enum Netd {
    /// A connection to the coordinator, which is this board.
    Manager(u8, Box<Client<RemoteStream>>),
    Other(u8, Box<Client<Through>>),
}

impl Netd {
    fn call<T: DeserializeOwned>(&mut self, verb: &str, args: Value) -> Result<T, PacketsError> {
        let args = if let Value::Object(args) = args { args } else { Map::new() };
        let (number, answer) = match self {
            Self::Manager(number, client) => (*number, client.call(verb, args)),
            Self::Other(number, client) => (*number, client.call(verb, args)),
        };
        let answer = answer.map_err(|error| PacketsError::Board(number, error.into()))?;
        serde_json::from_value(answer).map_err(|error| PacketsError::Answer(number, error))
    }
}

impl PacketTest {
    fn manager(&mut self) -> Result<(Client<RemoteStream>, PublicKey), RemoteError> {
        remote::connect(&self.target, &self.key, &mut self.boxes)
    }

    fn netd(&mut self, number: u8, manager: u8) -> Result<Netd, PacketsError> {
        let (client, node) = self.manager().map_err(PacketsError::Manager)?;
        let unit: Option<UnitName> = NETD.parse().ok();
        if number == manager {
            return Ok(Netd::Manager(number, Box::new(client.with_unit(unit))));
        }
        let board = BoardArgument { number, key: None };
        let through = board::connect(client, node, board, &self.key, &mut self.boxes);
        let (client, _) = through.map_err(|error| PacketsError::Board(number, error))?;
        Ok(Netd::Other(number, Box::new(client.with_unit(unit))))
    }

    /// The boards that `manager` reaches, itself included, and a line about each of the others.
    fn boards(
        &mut self,
        plan: &RouterPlan,
        manager: u8,
    ) -> Result<(Vec<u8>, Vec<String>), PacketsError> {
        let (mut client, _) = self.manager().map_err(PacketsError::Manager)?;
        client.set_unit(CLUSTER.parse().ok());
        let shown = client.call("show", Map::new());
        let shown = shown.map_err(|error| PacketsError::Manager(error.into()))?;
        let rows = shown["boards"].as_array().cloned().unwrap_or_default();
        let (mut there, mut others) = (vec![], vec![]);
        for zone in plan.boards.iter().map(|it| it.zone) {
            let Zone::Board(number) = zone else { continue };
            let row = rows.iter().find(|row| row["board"] == number);
            if number == manager || row.is_some_and(|row| row["connected"] == true) {
                there.push(number);
            } else {
                others.push(format!("{zone} has sent nothing: it is not connected"));
            }
        }
        Ok((there, others))
    }

    /// Sends test packets between all boards, and reports which have arrived.
    ///
    /// # Errors
    /// The coordinator cannot be called, or a board fails during the test.
    pub fn packets(
        &mut self,
        plan: &RouterPlan,
        manager: u8,
    ) -> Result<PacketReport, PacketsError> {
        let (there, mut unknown) = self.boards(plan, manager)?;
        let mut seats = vec![];
        for number in there {
            match self.netd(number, manager).and_then(|mut netd| netd.call(WATCH, json!({}))) {
                Ok(seat) => seats.push(BoardEnd { number, ..seat }),
                Err(PacketsError::Manager(error)) => return Err(PacketsError::Manager(error)),
                Err(error) => unknown.push(format!("board-{number} has sent nothing: {error}")),
            }
        }
        let mut matrix = Matrix::new(plan, seats);
        let pairs = pairs(&matrix);
        // A pair whose last packet was not echoed by the router has no reliable result yet.
        let mut unechoed = pairs.clone();
        for round in 0..ROUNDS {
            let kinds = |pair: &Pair| match unechoed.contains(pair) {
                true => matrix.kinds(pair.0, pair.1),
                false => matrix.missing(pair.0, pair.1),
            };
            let open = pairs.iter().map(|pair| (*pair, kinds(pair)));
            let open = open.filter(|(_, kinds)| !kinds.is_empty()).collect();
            unechoed = self.round(&mut matrix, manager, &open, round == 0)?;
        }
        let mut found = matrix.differences();
        found.extend(unechoed.iter().map(|(from, to)| {
            format!(
                "the router does not answer what board-{from} says last: that something does not reach {to} from there \
                 proves nothing"
            )
        }));
        unknown.extend(matrix.unsent());
        Ok(PacketReport { table: matrix.table(), found, unknown })
    }

    /// Sends the flows in `open`, and collects the received ones; with `past` it also tries to
    /// bypass the router. Returns the pairs whose last packet the router has not echoed.
    fn round(
        &mut self,
        matrix: &mut Matrix<'_>,
        manager: u8,
        open: &BTreeMap<Pair, Vec<FlowKind>>,
        past: bool,
    ) -> Result<BTreeSet<Pair>, PacketsError> {
        let mut unechoed = BTreeSet::new();
        let seats: Vec<_> = matrix.boards().cloned().collect();
        for from in seats.iter().map(|it| it.number) {
            let mut own = open.iter().filter(|(pair, _)| pair.0 == from).peekable();
            if own.peek().is_none() {
                continue;
            }
            let mut netd = self.netd(from, manager)?;
            for (pair, kinds) in own {
                let there = seats.iter().find(|it| past && Zone::Board(it.number) == pair.1);
                let mut mac = there.map(|it| it.mac);
                for kinds in kinds.chunks(AT_ONCE) {
                    let mut args = json!({ "to": pair.1.to_string(), "what": list(kinds) });
                    if let Some(mac) = mac.take() {
                        args["mac"] = json!(mac);
                    }
                    let sent: SentProbe = netd.call(PROBE, args)?;
                    matrix.add_answers(from, sent.answers);
                    if !sent.echoed {
                        unechoed.insert(*pair);
                    }
                }
            }
        }
        for at in seats.iter().map(|it| it.number) {
            if open.keys().any(|(_, to)| *to == Zone::Board(at)) {
                let came: ReceivedProbes = self.netd(at, manager)?.call(CAME, json!({}))?;
                matrix.add_received(at, came);
            }
        }
        Ok(unechoed)
    }
}

/// All pairs of a sending board and a destination.
fn pairs(matrix: &Matrix<'_>) -> BTreeSet<Pair> {
    let of = |number| matrix.targets(number).map(move |to| (number, to));
    matrix.boards().flat_map(|it| of(it.number)).collect()
}

fn list(kinds: &[FlowKind]) -> String {
    kinds.iter().map(FlowKind::to_string).collect::<Vec<_>>().join(",")
}

//! What boards of the box send each other, for `octetctl openwrt verify`: whoever runs Octet there is asked through the gate
//! of the board that holds the map.

use std::collections::BTreeSet;

use octet_appliance::Zone;
use octet_control::{Client, PublicKey, UnitName};
use octet_node::key::Key;
use octet_node::map::CLUSTER;
use octet_router::kind::Kind;
use octet_router::matrix::{CAME, Came, Matrix, PROBE, Seat, Sent, WATCH};
use octet_router::plan::Plan;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::board::{self, Board, Through};
use crate::boxes::Boxes;
use crate::remote::{self, RemoteError, Stream};
use crate::target::Target;

/// The unit that sends.
const NETD: &str = "netd";

/// As many kinds of flows are sent for one request (netd, `MOST`).
const AT_ONCE: usize = 200;

/// How often is sent what the plan lets, and has not come: a packet may be lost.
const ROUNDS: usize = 3;

/// Why boards cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum PacketsError {
    /// The board that holds the map cannot be.
    #[error(transparent)]
    Manager(RemoteError),
    /// A board does not answer any more.
    #[error("board {0}: {1}")]
    Board(u8, RemoteError),
    /// It answers something else.
    #[error("board {0} answers something else: {1}")]
    Answer(u8, serde_json::Error),
}

impl PacketsError {
    /// What to do.
    pub fn help(&self) -> &str {
        match self {
            Self::Manager(error) | Self::Board(_, error) => error.help(),
            Self::Answer(..) => "it may run another version of Octet: update the box",
        }
    }
}

/// Who asks, and whom.
pub struct Asks {
    /// The box, by the address of the board that holds its map.
    pub target: Target,
    /// The operator's key.
    pub key: Key,
    /// The boxes that are known.
    pub boxes: Boxes,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How much has come, from whom to whom.
    pub table: Vec<String>,
    /// What is not as the plan says.
    pub found: Vec<String>,
    /// What nothing is known of.
    pub unknown: Vec<String>,
}

/// A board's netd.
enum Netd {
    /// Of the board that holds the map.
    Manager(u8, Box<Client<Stream>>),
    /// Of another one.
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

impl Asks {
    fn manager(&mut self) -> Result<(Client<Stream>, PublicKey), RemoteError> {
        remote::connect(&self.target, &self.key, &mut self.boxes)
    }

    fn netd(&mut self, number: u8, manager: u8) -> Result<Netd, PacketsError> {
        let (client, node) = self.manager().map_err(PacketsError::Manager)?;
        let unit: Option<UnitName> = NETD.parse().ok();
        if number == manager {
            return Ok(Netd::Manager(number, Box::new(client.to_unit(unit))));
        }
        let board = Board { number, key: None };
        let through = board::connect(client, node, board, &self.key, &mut self.boxes);
        let (client, _) = through.map_err(|error| PacketsError::Board(number, error))?;
        Ok(Netd::Other(number, Box::new(client.to_unit(unit))))
    }

    /// The boards that are connected to `manager`, with it, and the others, each with how it is.
    fn boards(&mut self, plan: &Plan, manager: u8) -> Result<(Vec<u8>, Vec<String>), PacketsError> {
        let (mut client, _) = self.manager().map_err(PacketsError::Manager)?;
        client.speak_to(CLUSTER.parse().ok());
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

    /// Has all boards send each other what is worth it, and says what has come.
    ///
    /// # Errors
    /// Nobody can be asked, or a board goes away meanwhile.
    pub fn packets(&mut self, plan: &Plan, manager: u8) -> Result<Report, PacketsError> {
        let (there, mut unknown) = self.boards(plan, manager)?;
        let mut seats = vec![];
        for number in there {
            match self.netd(number, manager).and_then(|mut netd| netd.call(WATCH, json!({}))) {
                Ok(seat) => seats.push(Seat { number, ..seat }),
                Err(PacketsError::Manager(error)) => return Err(PacketsError::Manager(error)),
                Err(error) => unknown.push(format!("board-{number} has sent nothing: {error}")),
            }
        }
        let mut matrix = Matrix::new(plan, seats);
        let mut unechoed = pairs(&matrix);
        for round in 0..ROUNDS {
            let numbers: Vec<_> = matrix.seats().map(|it| it.number).collect();
            for from in &numbers {
                let mut netd = self.netd(*from, manager)?;
                for to in matrix.targets(*from).collect::<Vec<_>>() {
                    // Nothing is known of a way by which the last one did not come back.
                    let kinds = match unechoed.contains(&(*from, to)) {
                        true => matrix.kinds(*from, to),
                        false => matrix.missing(*from, to),
                    };
                    let mac = matrix.seats().find(|it| Zone::Board(it.number) == to);
                    let mut mac = mac.filter(|_| round == 0).map(|it| it.mac.to_string());
                    for kinds in kinds.chunks(AT_ONCE) {
                        let args = json!({ "to": to.to_string(), "what": list(kinds) });
                        let sent: Sent = netd.call(PROBE, with_mac(args, mac.take()))?;
                        matrix.take_answers(*from, sent.answers);
                        if sent.echoed {
                            unechoed.remove(&(*from, to));
                        } else {
                            unechoed.insert((*from, to));
                        }
                    }
                }
            }
            for at in &numbers {
                let came: Came = self.netd(*at, manager)?.call(CAME, json!({}))?;
                matrix.take(*at, came);
            }
            let is_missing = |(from, to): &(u8, Zone)| !matrix.missing(*from, *to).is_empty();
            if unechoed.is_empty() && !pairs(&matrix).iter().any(is_missing) {
                break;
            }
        }
        let mut found = matrix.found();
        found.extend(unechoed.iter().map(|(from, to)| {
            format!(
                "the router does not answer what board-{from} says last: that something does not reach {to} from there \
                 proves nothing"
            )
        }));
        unknown.extend(matrix.unsent());
        Ok(Report { table: matrix.table(), found, unknown })
    }
}

/// All pairs of those who send, and to whom.
fn pairs(matrix: &Matrix<'_>) -> BTreeSet<(u8, Zone)> {
    let of = |number| matrix.targets(number).map(move |to| (number, to));
    matrix.seats().flat_map(|it| of(it.number)).collect()
}

fn list(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(",")
}

fn with_mac(mut args: Value, mac: Option<String>) -> Value {
    if let Some(mac) = mac {
        args["mac"] = mac.into();
    }
    args
}

//! When a box is whole: every board enrolled, with the same map, and reached under its name from the router.

use std::time::{Duration, Instant};

use miette::miette;
use octet_machine::{Cluster, Machine, Node, UnitState, UnitStatus};
use serde_json::{Value, json};

use super::progress::{BootPhase, BootProgress};
use super::services::ServiceRow;
use crate::report;

/// The pause between two looks.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// What the router says of one board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoardStatus {
    /// Its place in the map.
    state: String,
    /// The number of the map that it has.
    map_sequence: Option<u64>,
    /// The address under its name.
    address: Option<String>,
    reachable: bool,
}

/// Waits until the box is whole.
///
/// # Errors
/// It is not in time; what is missing is told.
pub fn wait(
    cluster: &Cluster,
    boards: u8,
    deadline: Instant,
    progress: &BootProgress,
) -> miette::Result<(u64, Vec<BoardStatus>)> {
    let router = cluster.node(Node::Router).ok_or_else(|| miette!("the router is off"))?;
    loop {
        let (sequence, statuses) = query(&router, boards)?;
        let is_whole = |it: &BoardStatus| {
            it.state == "enrolled"
                && it.map_sequence == Some(sequence)
                && it.address.is_some()
                && it.reachable
        };
        for (it, number) in statuses.iter().zip(1..) {
            let phase = if is_whole(it) { BootPhase::Services } else { BootPhase::Enrolment };
            progress.show(Node::Board(number), phase, &it.describe_missing(sequence));
        }
        if statuses.iter().all(is_whole) {
            router.release_control();
            return Ok((sequence, statuses));
        }
        if Instant::now() >= deadline {
            let missing = statuses.iter().zip(1..).filter(|(it, _)| !is_whole(it));
            let missing: Vec<String> =
                missing.map(|(it, number)| format!("board-{number}: {it:?}")).collect();
            return Err(miette!(
                "the box is not whole: {}\n{}",
                missing.join("; "),
                router.tail(20)
            ));
        }
        std::thread::sleep(RETRY_DELAY);
    }
}

impl BoardStatus {
    /// What a board still lacks, for people.
    fn describe_missing(&self, sequence: u64) -> String {
        let what = match self {
            Self { state, .. } if state != "enrolled" => "its key is not taken yet".to_owned(),
            Self { map_sequence: has, .. } if *has != Some(sequence) => {
                format!("it has not got map {sequence} yet")
            }
            Self { address: None, .. } => "its name is not known yet".to_owned(),
            Self { reachable: false, .. } => "it does not answer at its address yet".to_owned(),
            _ => return String::new(),
        };
        format!(": {what}")
    }
}

fn query(router: &Machine, boards: u8) -> miette::Result<(u64, Vec<BoardStatus>)> {
    let ask = |unit, verb, args| router.call_unit(unit, verb, args).map_err(|it| miette!("{it}"));
    let (map, links) = (ask("cluster", "show", json!({}))?, ask("lan", "show", json!({}))?);
    let statuses = (1..=boards).map(|number| {
        let row = find_row(&map["boards"], "board", &json!(number));
        let name = json!({ "name": format!("board-{number}") });
        // Without a name it is asked again.
        let found = router.call_unit("lan", "lookup", name).unwrap_or_default();
        let address = found["addresses"][0].as_str().map(str::to_owned);
        let neighbour = find_row(&links["neighbours"], "address", &json!(address));
        BoardStatus {
            state: row["state"].as_str().unwrap_or("unknown").to_owned(),
            map_sequence: row["has_map"].as_u64(),
            reachable: neighbour["answers"] == true,
            address,
        }
    });
    Ok((map["sequence"].as_u64().unwrap_or_default(), statuses.collect()))
}

fn find_row(rows: &Value, key: &str, wanted: &Value) -> Value {
    let rows = rows.as_array().into_iter().flatten();
    { rows }.find(|row| row[key] == *wanted).cloned().unwrap_or_default()
}

/// One line per machine, with the services that run on it and not on all.
pub fn table(nodes: &[ServiceRow], sequence: u64, statuses: &[BoardStatus]) -> String {
    let rows = nodes.iter().map(|ServiceRow { node, status, services }| {
        let ready = status.ready_at.map_or_else(|| "?".to_owned(), report::seconds);
        let is_running = |unit: &&UnitStatus| unit.state == UnitState::Ready && unit.pid.is_some();
        let units = status.units.iter().filter(is_running).count();
        let (state, map, address) = match node {
            Node::Router => ("coordinator".to_owned(), sequence.to_string(), String::new()),
            Node::Board(number) => {
                let status = &statuses[usize::from(*number) - 1];
                let map = status.map_sequence.map(|number| number.to_string()).unwrap_or_default();
                (status.state.clone(), map, status.address.clone().unwrap_or_default())
            }
        };
        let services = services.join(", ");
        [node.to_string(), state, map, address, ready, units.to_string(), services]
    });
    report::table(["NODE", "IS", "MAP", "ADDRESS", "READY", "UNITS", "SERVICES"], rows)
}

//! When each service that the file has put on some boards runs there, and nowhere else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use miette::miette;
use octet_appliance::Board;
use octet_machine::{Cluster, Node, Status, UnitState};

use super::progress::{BootPhase, BootProgress};

/// The pause between two looks.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// A machine of the box.
pub struct ServiceRow {
    pub node: Node,
    pub status: Status,
    /// What runs on it and not on all.
    pub services: Vec<String>,
}

/// Waits until all is as `boards` say.
///
/// # Errors
/// It is not in time; what is wrong is told.
pub fn wait(
    cluster: &Cluster,
    boards: &[Board],
    deadline: Instant,
    progress: &BootProgress,
) -> miette::Result<Vec<ServiceRow>> {
    let mut rows = vec![];
    for (node, machine) in cluster.nodes() {
        loop {
            let status = machine.status().map_err(|error| miette!("{node}: {error}"))?;
            let wrong = mismatches(node, &status, boards);
            if wrong.is_empty() {
                progress.show(node, BootPhase::Done, "");
                let services = expected(node, boards).into_iter().collect();
                rows.push(ServiceRow { node, status, services });
                break;
            }
            if Instant::now() >= deadline {
                return Err(miette!("{node}: {}\n{}", wrong.join("; "), machine.tail(20)));
            }
            progress.show(node, BootPhase::Services, &format!(": {}", wrong.join("; ")));
            std::thread::sleep(RETRY_DELAY);
        }
        machine.release_control();
    }
    Ok(rows)
}

/// The services that the file puts on `node`.
fn expected(node: Node, boards: &[Board]) -> BTreeSet<String> {
    let here = |board: &&Board| node == Node::Board(board.number);
    boards.iter().filter(here).flat_map(|board| &board.services).map(ToString::to_string).collect()
}

/// What runs and should not, or should and does not.
fn mismatches(node: Node, status: &Status, boards: &[Board]) -> Vec<String> {
    let expected_units = expected(node, boards);
    let all: BTreeSet<String> =
        boards.iter().flat_map(|board| &board.services).map(ToString::to_string).collect();
    let is_wrong = |name: &String| {
        let state = status.unit(name).map(|unit| unit.state);
        let is_there = matches!(state, Some(UnitState::Ready | UnitState::Exited));
        let is_off = matches!(state, None | Some(UnitState::Stopped));
        let right = if expected_units.contains(name) { is_there } else { is_off };
        (!right)
            .then(|| format!("{name}: {state:?}, wanted here: {}", expected_units.contains(name)))
    };
    all.iter().filter_map(is_wrong).collect()
}

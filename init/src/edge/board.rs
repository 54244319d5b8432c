//! Learns the board's number while the node runs: from its flash, or from its port.

use octet_appliance::BoardId;
use octet_control::{Arguments, Failure, FailureCode};
use serde_json::Value;

use super::Edge;
use super::managed::Managed;
use crate::console::write_line;
use crate::facts;
use crate::phases::board_number::{BoardNumber, NumberSource};
use crate::supervisor::UnitId;

/// The unit that reads the flash.
const DATA_UNIT: &str = "data";

#[derive(Debug, PartialEq, Eq)]
enum FlashBoard {
    Nothing,
    Board(BoardId),
    Problem(String),
}

impl FlashBoard {
    /// Parses what the unit `data` has recorded.
    fn new(fact: &Value) -> Self {
        if let Some(problem) = fact["problem"].as_str() {
            return Self::Problem(problem.to_owned());
        }
        match fact["board"].as_u64() {
            None => Self::Nothing,
            Some(0) => Self::Board(BoardId::ROUTER),
            Some(number) => BoardId::board(number).map_or(Self::Nothing, Self::Board),
        }
    }
}

/// The unit whose end is awaited.
pub fn flash_unit(units: &[Managed]) -> Option<UnitId> {
    units.iter().position(|unit| unit.name() == DATA_UNIT).map(UnitId)
}

impl Edge {
    /// Takes over what the flash says once the unit that reads it has ended: units that start later
    /// find the number set.
    pub(super) fn poll_flash(&mut self) {
        let settled = |id: &UnitId| self.status(*id).state.is_settled();
        if !self.flash.as_ref().is_some_and(settled) {
            return;
        }
        self.flash = None;
        match FlashBoard::new(&facts::read(facts::BOARD)) {
            FlashBoard::Nothing => {}
            FlashBoard::Board(board) => self.set_board_number(self.boot.board.with_flash(board)),
            FlashBoard::Problem(problem) => {
                write_line(&problem); // the log has it from the unit
                self.problems.push(problem);
            }
        }
    }

    /// Takes over the number of the port, if no other number is known.
    pub(super) fn assign_board_number(&mut self, args: &Arguments) -> Result<(), Failure> {
        let Some(board) = args.integer("number").and_then(BoardId::board) else {
            let message = "there is no such board";
            let help = format!("give a number from 1 to {}", BoardId::MAX);
            return Err(Failure::new(FailureCode::BadArgument, message, help));
        };
        match self.boot.board.with_port(board) {
            Ok(known) => {
                self.set_board_number(known);
                Ok(())
            }
            Err((said, source)) => {
                let problem = format!("ALARM: by its port this is {board}, by {source} {said}");
                self.logs.log(&problem);
                let help = match source {
                    NumberSource::CommandLine => {
                        "plug it into its own port, or remove `octet.board` from the command line"
                    }
                    NumberSource::Flash => "plug it into its own port, or correct the file",
                };
                Err(Failure::new(FailureCode::Denied, problem, help))
            }
        }
    }

    fn set_board_number(&mut self, known: BoardNumber) {
        if known != self.boot.board {
            self.boot.board = known;
            self.clients.mark_changed();
            self.reconcile_placement();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fact_says_a_board_or_why_not() {
        for (fact, meant) in [
            (Value::Null, FlashBoard::Nothing),
            (json!({ "board": 0 }), FlashBoard::Board(BoardId::ROUTER)),
            (json!({ "board": 3 }), FlashBoard::Board(BoardId::board(3).unwrap())),
            (json!({ "board": 33 }), FlashBoard::Nothing),
            (json!({ "board": "3" }), FlashBoard::Nothing),
            (json!({ "problem": "it is odd" }), FlashBoard::Problem("it is odd".into())),
        ] {
            assert_eq!(FlashBoard::new(&fact), meant, "{fact}");
        }
    }
}

//! The displayed state of a path or a route, and why it is not up.

use std::fmt;

use octet_node::address::NodeAddress;

use crate::engine::PathState;
use crate::onion::{PathFailure, Reason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupPhase {
    Pending,
    Up,
    /// There is no path, or its other end does not answer.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    pub phase: SetupPhase,
    /// Why it is not up, if known.
    pub reason: Option<String>,
}

/// What the source knows of a path.
#[derive(Debug, Clone, Copy)]
pub struct PathStatus<'a> {
    /// The state by the hops' answers.
    pub state: &'a PathState,
    /// The hops, the last being the end.
    pub hops: &'a [NodeAddress],
    /// Whether the end has authenticated as the requested node.
    pub is_introduced: bool,
    /// Whether the end uses an outdated introduction.
    pub is_outdated: bool,
    /// Whether the end has stopped answering probes.
    pub is_silent: bool,
    /// Whether the link to the first hop is up.
    pub is_linked: bool,
}

impl SetupPhase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Up => "up",
            Self::Failed => "failed",
        }
    }
}

impl RouteStatus {
    /// A failed state with this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { phase: SetupPhase::Failed, reason: Some(reason.into()) }
    }
}

impl fmt::Display for RouteStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phase.name())?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl PathStatus<'_> {
    /// The state of the path; `called` gives the display name of a node.
    pub fn status(&self, called: impl Fn(NodeAddress) -> String) -> RouteStatus {
        let hop = |at: usize| self.hops.get(at).map_or("a hop".to_owned(), |node| called(*node));
        let end = || hop(self.hops.len().saturating_sub(1));
        let no_answer = |what: String| match self.is_linked {
            true => what,
            false => format!("the link to {} is down", hop(0)),
        };
        let over = || match self.hops {
            [] | [_] => String::new(),
            [relays @ .., _] => {
                let relays: Vec<_> = relays.iter().map(|relay| called(*relay)).collect();
                format!(" over {}", relays.join(", "))
            }
        };
        let reason = match self.state {
            PathState::Pending => return RouteStatus { phase: SetupPhase::Pending, reason: None },
            PathState::Up if !self.is_introduced && self.is_outdated => {
                let reason = format!("{} introduces itself as older versions do: update it", end());
                return RouteStatus { phase: SetupPhase::Pending, reason: Some(reason) };
            }
            PathState::Up if !self.is_introduced => {
                let reason = no_answer(format!("{} has not answered{} yet", end(), over()));
                return RouteStatus { phase: SetupPhase::Pending, reason: Some(reason) };
            }
            PathState::Up if !self.is_silent => {
                return RouteStatus { phase: SetupPhase::Up, reason: None };
            }
            PathState::Up => no_answer(format!("{} does not answer{}", end(), over())),
            PathState::Silent => no_answer(format!("{} has not answered", hop(0))),
            PathState::Unreadable => {
                format!("{} could not read the set-up: it has another onion key by now", hop(0))
            }
            PathState::Failed(PathFailure::Broken(at)) => {
                format!("the answer of {}, or of a node behind it, was altered", hop(*at))
            }
            PathState::Failed(PathFailure::Refused(at, reason)) => {
                let (says, next) = (hop(*at), || hop(at + 1));
                match reason {
                    Reason::NoLink => format!("{says} has no link to {}", next()),
                    // All relays before the silent one have the same timeout.
                    Reason::Silent => {
                        format!("{}, or a node behind it, has not answered {says}", next())
                    }
                    Reason::Unreadable => {
                        let next = next();
                        format!(
                            "{next} could not read the set-up that {says} passed on: it has another onion key by now"
                        )
                    }
                    reason => format!("{says} refuses: {reason}"),
                }
            }
        };
        RouteStatus::failed(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;

    fn board(number: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([number; 32]))
    }

    /// A path over boards 2 and 3 to board 4, as its source displays it.
    fn shown(state: PathState, is_introduced: bool, is_silent: bool, is_linked: bool) -> String {
        let hops = [2, 3, 4].map(board);
        let is_outdated = false;
        let seen = PathStatus {
            state: &state,
            hops: &hops,
            is_introduced,
            is_outdated,
            is_silent,
            is_linked,
        };
        let called = |node| (2..=4).find(|it| board(*it) == node).map(|it| format!("board-{it}"));
        seen.status(|node| called(node).unwrap()).to_string()
    }

    #[test]
    fn the_node_that_failed_is_named() {
        let refused = |at, reason| PathState::Failed(PathFailure::Refused(at, reason));
        for (state, expected) in [
            (PathState::Pending, "pending"),
            (PathState::Silent, "failed: board-2 has not answered"),
            (
                refused(0, Reason::Silent),
                "failed: board-3, or a node behind it, has not answered board-2",
            ),
            (refused(1, Reason::NoLink), "failed: board-3 has no link to board-4"),
            (refused(2, Reason::Full), "failed: board-4 refuses: it takes no more paths now"),
            (
                PathState::Failed(PathFailure::Broken(1)),
                "failed: the answer of board-3, or of a node behind it, was altered",
            ),
        ] {
            assert_eq!(shown(state, false, false, true), expected);
        }
        let unreadable = shown(refused(0, Reason::Unreadable), false, false, true);
        assert!(unreadable.starts_with("failed: board-3 could not read"), "{unreadable}");
        let unreadable = shown(PathState::Unreadable, false, false, true);
        assert!(unreadable.starts_with("failed: board-2 could not read"), "{unreadable}");
    }

    /// The end answers, but with an outdated introduction.
    #[test]
    fn an_end_that_is_of_an_older_version_is_named() {
        let hops = [2, 3].map(board);
        let outdated = |is_introduced| {
            let seen = PathStatus {
                state: &PathState::Up,
                hops: &hops,
                is_introduced,
                is_outdated: true,
                is_silent: false,
                is_linked: true,
            };
            seen.status(|node| node.to_string()).to_string()
        };
        let of_old =
            format!("pending: {} introduces itself as older versions do: update it", hops[1]);
        assert_eq!((outdated(false), outdated(true)), (of_old, "up".to_owned()));
    }

    /// The acceptance of all hops is not enough.
    #[test]
    fn it_is_up_while_its_end_answers() {
        let stands = |introduced, silent, linked| shown(PathState::Up, introduced, silent, linked);
        assert_eq!(
            stands(false, false, true),
            "pending: board-4 has not answered over board-2, board-3 yet"
        );
        assert_eq!(stands(true, false, true), "up");
        assert_eq!(
            stands(true, true, true),
            "failed: board-4 does not answer over board-2, board-3"
        );
        // The link to the first hop is known to be down.
        assert_eq!(stands(true, true, false), "failed: the link to board-2 is down");
        assert_eq!(
            shown(PathState::Silent, false, false, false),
            "failed: the link to board-2 is down"
        );
    }
}

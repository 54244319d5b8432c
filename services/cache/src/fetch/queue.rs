//! The order in which nodes are asked for an object: those of this box first, and neighbours only if
//! none of these gives it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use octet_node::control::PublicKey;

use super::giver::Giver;

/// When a node that serves too many others is asked again.
pub const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// How often in succession a node is asked again that gives nothing.
const MAX_TRIES: u32 = 60;

#[derive(Debug)]
pub struct GiverQueue {
    boards: VecDeque<Giver>,
    neighbours: VecDeque<Giver>,
    /// Nodes that are asked again later.
    put_off: Vec<(Instant, Giver)>,
    /// How often each has been put off without giving anything.
    tries: BTreeMap<PublicKey, u32>,
    /// The number of boards that are being asked.
    boards_asked: usize,
}

impl GiverQueue {
    /// Nodes are asked in the order in which they are given, boards first.
    pub fn new(givers: Vec<Giver>) -> Self {
        let (boards, neighbours): (Vec<_>, Vec<_>) = givers.into_iter().partition(Giver::is_board);
        Self {
            boards: boards.into(),
            neighbours: neighbours.into(),
            put_off: vec![],
            tries: BTreeMap::new(),
            boards_asked: 0,
        }
    }

    /// The next node to ask.
    pub fn next(&mut self, now: Instant) -> Option<Giver> {
        let due = self.put_off.iter().position(|(at, _)| *at <= now);
        let giver = match due {
            Some(due) => Some(self.put_off.swap_remove(due).1),
            None => self.boards.pop_front(),
        };
        let boards_may_give =
            self.boards_asked > 0 || self.put_off.iter().any(|(_, it)| it.is_board());
        let giver = match giver {
            None if !boards_may_give => self.neighbours.pop_front(),
            giver => giver,
        }?;
        self.boards_asked += usize::from(giver.is_board());
        Some(giver)
    }

    /// A node is not asked any more.
    pub fn ended(&mut self, giver: &Giver) {
        self.boards_asked -= usize::from(giver.is_board());
    }

    /// A node is asked again after `pause`; `gave` is whether it has given something since it was
    /// asked. Returns whether it is: not if that happens too often.
    pub fn put_off(&mut self, giver: Giver, gave: bool, pause: Duration, now: Instant) -> bool {
        let tries = self.tries.entry(giver.node()).or_default();
        *tries = if gave { 1 } else { *tries + 1 };
        let is_asked_again = *tries <= MAX_TRIES;
        if is_asked_again {
            self.put_off.push((now + pause, giver));
        }
        is_asked_again
    }

    /// When the next of the nodes that were put off is asked again.
    pub fn wakes(&self) -> Option<Instant> {
        self.put_off.iter().map(|(at, _)| *at).min()
    }

    /// The neighbours that are asked next, if the last board is being asked.
    pub fn next_neighbours(&self) -> impl Iterator<Item = &Giver> {
        self.neighbours.iter().filter(|_| self.boards.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::NeighbourNode;
    use crate::peers::PeerNode;

    fn board(number: u8) -> Giver {
        let node = PublicKey::new([number; 32]);
        Giver::Board(PeerNode { number, node, key: node, addresses: vec![], is_drained: false })
    }

    fn neighbour(number: u8) -> Giver {
        let node = PublicKey::new([number; 32]);
        let address = ([127, 0, 0, 1], 4433).into();
        Giver::Neighbour(NeighbourNode { name: "hill".to_owned(), node, address })
    }

    #[test]
    fn neighbours_only_if_no_board_gives_it() {
        let now = Instant::now();
        let mut queue = GiverQueue::new(vec![neighbour(9), board(1), board(2)]);
        let [one, two] = [(); 2].map(|()| queue.next(now).unwrap());
        assert_eq!([one.node(), two.node()], [board(1).node(), board(2).node()]);
        assert!(queue.next(now).is_none(), "two boards may have it");
        assert_eq!(queue.next_neighbours().count(), 1);
        queue.ended(&one);
        queue.ended(&two);
        assert!(queue.put_off(two, false, BUSY_PAUSE, now));
        assert!(queue.next(now).is_none(), "a busy board may have it");
        assert_eq!(queue.wakes(), Some(now + BUSY_PAUSE));
        let two = queue.next(now + BUSY_PAUSE).unwrap();
        assert_eq!(two.node(), board(2).node());
        queue.ended(&two);
        assert_eq!(queue.next(now).unwrap().node(), neighbour(9).node());
    }

    #[test]
    fn who_gives_nothing_is_given_up() {
        let now = Instant::now();
        let mut queue = GiverQueue::new(vec![]);
        let mut put_off = |gave| queue.put_off(neighbour(9), gave, BUSY_PAUSE, now);
        assert!((0..100).all(|_| put_off(true)));
        assert!((1..MAX_TRIES).all(|_| put_off(false)));
        assert!(!put_off(false));
    }
}

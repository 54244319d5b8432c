//! Eight boards and the router with simulated stores, connections and time.

use super::*;

const BOARDS: u8 = 8;
const ROUTER: u8 = 0;
const OBJECTS: u64 = 200;
const COPIES: u8 = 3;

/// Boards ask each other every ten minutes here: the more often, the longer a test takes.
const PAUSE: Duration = Duration::from_secs(10 * 60);
const TIMES: KeepTimes = KeepTimes {
    dead: Duration::from_secs(60 * 60),
    recent: Duration::from_secs(30 * 60),
    turn: Duration::from_secs(15 * 60),
};

/// The number of looks in three hours.
const THREE_HOURS: usize = 18;

/// The number of objects that a board fetches between two looks.
const FETCHES: usize = 20;

fn object(number: u64) -> Hash {
    Hash::new(number.to_be_bytes())
}

#[derive(Clone)]
struct Node {
    member: KeepMember,
    view: KeepView,
    /// What is on its disk.
    copies: HashMap<Hash, KeptState>,
    is_on: bool,
    /// Which part of a split box it is in.
    side: u8,
    has_room: bool,
}

#[derive(Clone)]
struct Cluster {
    now: Duration,
    nodes: Vec<Node>,
    kept: Vec<(Hash, KeepGoal)>,
    moved: usize,
    /// The number of changes on disks until the power of all nodes fails once.
    until_cut: Option<usize>,
}

impl Cluster {
    /// Each object is on one board, where an operator has added it.
    fn new(objects: u64) -> Self {
        let nodes = (ROUTER..=BOARDS).map(|number| {
            let key = [number; 32];
            let is_holder = number != ROUTER;
            let member = KeepMember { number, key, is_holder, is_drained: false };
            let view = KeepView::new(TIMES, member);
            Node { member, view, copies: HashMap::new(), is_on: true, side: 0, has_room: true }
        });
        let kept = (0..objects).map(|number| (object(number), KeepGoal::Copies(COPIES))).collect();
        let nodes = nodes.collect();
        let mut cluster = Self { now: PAUSE, nodes, kept, moved: 0, until_cut: None };
        for number in 0..objects {
            let board = 1 + number as usize % usize::from(BOARDS);
            cluster.nodes[board].copies.insert(object(number), KeptState::Loose);
        }
        cluster
    }

    /// The same once all have their copies.
    fn settled(objects: u64) -> Self {
        let mut cluster = Self::new(objects);
        cluster.run(8);
        for (hash, _) in &cluster.kept {
            assert_eq!(cluster.pinned(hash), usize::from(COPIES));
        }
        cluster.moved = 0;
        cluster
    }

    fn node(&mut self, number: u8) -> &mut Node {
        &mut self.nodes[usize::from(number)]
    }

    fn own(&self, index: usize, hash: &Hash) -> KeptState {
        let node = &self.nodes[index];
        let none = if node.has_room { KeptState::Absent } else { KeptState::NoRoom };
        node.copies.get(hash).copied().unwrap_or(none)
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        let [from, to] = [from, to].map(|it| &self.nodes[it]);
        from.is_on && to.is_on && from.side == to.side
    }

    /// The number of nodes that are on, and have pinned the object.
    fn pinned(&self, hash: &Hash) -> usize {
        let is_one = |it: &&Node| it.is_on && it.copies.get(hash) == Some(&KeptState::Kept);
        self.nodes.iter().filter(is_one).count()
    }

    /// The number of nodes that are on, and have the object.
    fn copies(&self, hash: &Hash) -> usize {
        self.nodes.iter().filter(|it| it.is_on && it.copies.contains_key(hash)).count()
    }

    fn fewest(&self) -> usize {
        self.kept.iter().map(|(hash, _)| self.pinned(hash)).min().unwrap()
    }

    /// All nodes look once.
    fn look(&mut self) {
        self.now += PAUSE;
        let members: Vec<_> = self.nodes.iter().map(|node| node.member).collect();
        let objects: Vec<Hash> = self.kept.iter().map(|(hash, _)| *hash).collect();
        for from in 0..self.nodes.len() {
            self.nodes[from].view.set_members(&members, self.now);
            // Nobody asks the router, which has no address in the map.
            for to in (1..self.nodes.len()).filter(|to| *to != from) {
                if !self.reaches(from, to) {
                    continue;
                }
                let reports = objects.iter().map(|hash| self.own(to, hash).into()).collect();
                let now = self.now;
                self.nodes[to].view.reached(from as u8, now);
                let reached = self.nodes[to].view.reached_nodes(now);
                let answer = KeepAnswer { objects: reports, reached };
                self.nodes[from].view.answered(to as u8, &objects, &answer, now);
            }
        }
        for index in 0..self.nodes.len() {
            if !self.nodes[index].is_on {
                continue;
            }
            let steps =
                self.nodes[index].view.steps(&self.kept, |it| self.own(index, it).into(), self.now);
            let mut fetches = 0;
            for step in steps {
                let (hash, next) = match step {
                    KeepStep::Fetch(hash) => {
                        let has = |of: usize| self.nodes[of].copies.contains_key(&hash);
                        let found =
                            (0..self.nodes.len()).any(|of| self.reaches(index, of) && has(of));
                        if !found || fetches == FETCHES {
                            continue;
                        }
                        fetches += 1;
                        self.moved += 1;
                        if self.change(index, hash, KeptState::Loose) {
                            return;
                        }
                        (hash, KeptState::Kept)
                    }
                    KeepStep::Pin(hash) => (hash, KeptState::Kept),
                    KeepStep::Unpin(hash) => {
                        assert!(self.pinned(&hash) > usize::from(COPIES), "a copy too few");
                        (hash, KeptState::Loose)
                    }
                    step => panic!("{step:?} is for shards"),
                };
                if self.change(index, hash, next) {
                    return;
                }
            }
        }
    }

    /// Changes a disk. Returns whether the power has failed then.
    fn change(&mut self, index: usize, hash: Hash, next: KeptState) -> bool {
        self.nodes[index].copies.insert(hash, next);
        self.until_cut = self.until_cut.map(|left| left.saturating_sub(1));
        if self.until_cut != Some(0) {
            return false;
        }
        self.until_cut = None;
        for node in &mut self.nodes {
            node.view = KeepView::new(TIMES, node.member);
        }
        true
    }

    fn run(&mut self, looks: usize) {
        for _ in 0..looks {
            self.look();
        }
    }

    /// What a repair has to move at least: one object for each copy that is gone.
    fn lost(&self) -> usize {
        self.kept.iter().map(|(hash, _)| usize::from(COPIES) - self.pinned(hash)).sum()
    }
}

#[test]
fn any_two_boards_can_be_lost_and_after_a_repair_a_third_and_a_fourth() {
    let settled = Cluster::settled(OBJECTS);
    for first in 1..BOARDS {
        for second in first + 1..=BOARDS {
            let mut cluster = settled.clone();
            cluster.node(first).is_on = false;
            cluster.node(second).is_on = false;
            assert!(cluster.fewest() >= 1, "boards {first} and {second}");
            // The repair is the same for all pairs but for the objects: the rest is done for some of them.
            if second != first + 1 {
                continue;
            }
            let mut optimum = cluster.lost();
            cluster.run(THREE_HOURS);
            assert_eq!(cluster.fewest(), 3);
            let alive: Vec<u8> = (1..=BOARDS).filter(|it| ![first, second].contains(it)).collect();
            let [third, fourth] = [alive[0], alive[1]];
            cluster.node(third).is_on = false;
            cluster.node(fourth).is_on = false;
            optimum += cluster.lost();
            cluster.run(THREE_HOURS);
            assert_eq!(cluster.fewest(), 3, "boards {first}, {second}, {third} and {fourth}");
            assert!(4 * cluster.moved <= 5 * optimum, "{} moved, {optimum} needed", cluster.moved);
            // They come back with what they had: nothing moves, and what is too much goes.
            let before = cluster.moved;
            for board in [first, second, third, fourth] {
                cluster.node(board).is_on = true;
            }
            cluster.run(6);
            assert!(cluster.kept.iter().all(|(hash, _)| cluster.pinned(hash) == 3));
            assert_eq!(cluster.moved, before);
        }
    }
}

#[test]
fn an_outage_of_fifty_minutes_moves_nothing_and_one_of_seventy_does() {
    for (minutes, is_moved) in [(50, false), (70, true)] {
        let mut cluster = Cluster::settled(40);
        cluster.node(3).is_on = false;
        cluster.run(minutes / 10);
        cluster.node(3).is_on = true;
        cluster.run(THREE_HOURS);
        assert_eq!(cluster.moved > 0, is_moved, "{minutes} minutes");
        assert!(cluster.kept.iter().all(|(hash, _)| cluster.pinned(hash) == 3));
    }
}

#[test]
fn of_a_split_box_the_larger_part_repairs() {
    let mut cluster = Cluster::settled(40);
    for board in 5..=BOARDS {
        cluster.node(board).side = 1;
    }
    let on_a_side = |cluster: &Cluster, side: u8| {
        let copies = cluster.nodes.iter().filter(|it| it.side == side).map(|it| it.copies.len());
        copies.sum::<usize>()
    };
    let before = [0, 1].map(|side| on_a_side(&cluster, side));
    cluster.run(THREE_HOURS);
    let after = [0, 1].map(|side| on_a_side(&cluster, side));
    // The router makes the difference: five of nine nodes.
    assert!(after[0] > before[0], "{after:?}");
    assert_eq!(after[1], before[1]);
    for node in &mut cluster.nodes {
        node.side = 0;
    }
    cluster.run(6);
    assert!(cluster.kept.iter().all(|(hash, _)| cluster.pinned(hash) == 3));
}

#[test]
fn the_power_can_fail_at_each_change_of_a_repair() {
    let settled = Cluster::settled(32);
    let mut whole = settled.clone();
    whole.node(2).is_on = false;
    whole.run(THREE_HOURS);
    // A fetch and a pin for each.
    let changes = 2 * whole.moved;
    assert!(changes > 15);
    for cut in 1..=changes {
        let mut cluster = settled.clone();
        cluster.node(2).is_on = false;
        cluster.until_cut = Some(cut);
        cluster.run(24);
        assert_eq!((cluster.until_cut, cluster.fewest()), (None, 3), "at change {cut}");
        assert!(cluster.moved <= whole.moved + 1, "at change {cut}");
    }
}

#[test]
fn a_drained_board_keeps_its_copies_until_others_have_them() {
    let mut cluster = Cluster::settled(40);
    cluster.node(4).member.is_drained = true;
    // `look` fails if one goes too early.
    cluster.run(6);
    let own = cluster.nodes[4].copies.values().filter(|it| **it == KeptState::Kept).count();
    assert_eq!((own, cluster.fewest()), (0, 3));
}

#[test]
fn a_board_without_room_is_passed_over() {
    let mut cluster = Cluster::new(40);
    cluster.node(5).has_room = false;
    cluster.run(THREE_HOURS);
    assert_eq!(cluster.fewest(), 3);
    let view = &cluster.nodes[1].view;
    let (hash, _) = cluster.kept[0];
    let found = view.copies(&hash, COPIES, cluster.own(1, &hash), cluster.now);
    assert_eq!((found.kept.len(), found.lacking.len()), (3, 0));
    let is_refused = cluster.nodes[5].copies.contains_key(&hash);
    assert_eq!(found.no_room.contains(&5), !is_refused);
}

#[test]
fn one_liar_keeps_no_dead_board_alive() {
    for (witnesses, is_dead) in [(0, true), (1, true), (2, false)] {
        let mut cluster = Cluster::settled(40);
        cluster.node(8).is_on = false;
        cluster.run(THREE_HOURS);
        let now = cluster.now;
        for number in 1..=witnesses {
            let answer = KeepAnswer { objects: vec![], reached: vec![(8, 0)] };
            cluster.node(7).view.answered(number, &[], &answer, now);
        }
        assert_eq!(cluster.nodes[7].view.dead(now), if is_dead { vec![8] } else { vec![] });
    }
}

#[test]
fn what_has_the_fewest_copies_is_fetched_first() {
    let mut cluster = Cluster::settled(40);
    cluster.node(1).is_on = false;
    cluster.node(2).is_on = false;
    cluster.run(5);
    let now = cluster.now + 2 * PAUSE;
    let mut counts = vec![];
    for index in 3..=usize::from(BOARDS) {
        let steps =
            cluster.nodes[index].view.steps(&cluster.kept, |it| cluster.own(index, it).into(), now);
        let copies = steps.iter().map(|step| match step {
            KeepStep::Fetch(hash) | KeepStep::Pin(hash) => cluster.copies(hash),
            step => panic!("{step:?}"),
        });
        let copies: Vec<usize> = copies.collect();
        assert!(copies.is_sorted(), "board {index}: {copies:?}");
        counts.extend(copies);
    }
    counts.sort_unstable();
    assert!(counts.first() < counts.last(), "{counts:?}");
}

#[test]
fn another_node_with_the_number_of_a_dead_one_takes_over_its_copies() {
    let mut cluster = Cluster::settled(40);
    let had = cluster.nodes[6].copies.len();
    let member = KeepMember { key: [99; 32], ..cluster.nodes[6].member };
    let node = cluster.node(6);
    (node.member, node.view) = (member, KeepView::new(TIMES, member));
    node.copies.clear();
    cluster.run(6);
    assert_eq!(cluster.fewest(), 3);
    assert!(cluster.moved <= had, "{} moved, {had} lost", cluster.moved);
}

//! Shards on simulated boards.

mod cluster;

use std::collections::HashSet;

use super::*;
use crate::keep::message::{HeldShards, KeepAnswer};
use crate::keep::view::{KeepGoal, KeepMember, KeepView};
use cluster::{
    BOARDS, Cluster, LAYOUT, Lie, Node, PAUSE, REPAIRED, TIMES, empty, triples, without,
};

#[test]
fn any_three_boards_can_be_lost_and_after_a_repair_any_three_again() {
    let settled = Cluster::settled(200);
    for lost in triples() {
        assert!(without(&settled, &lost).all_readable(), "{lost:?}");
    }
    // The repair is the same for all but for the objects: a few, far from each other, stand for them.
    for lost in triples().into_iter().skip(5).step_by(30) {
        let mut cluster = without(&settled, &lost);
        let optimum = cluster.optimum();
        cluster.run(REPAIRED);
        for hash in &cluster.objects {
            assert!(cluster.boards(hash).iter().all(|count| *count == 1), "{lost:?}");
        }
        assert!(4 * cluster.moved <= 5 * optimum, "{} moved, {optimum} needed", cluster.moved);
        // Five boards have eight shards, none more than two: one more board may be lost.
        for next in (1..=BOARDS).filter(|board| !lost.contains(board)) {
            assert!(without(&cluster, &[next]).all_readable(), "{lost:?} and {next}");
        }
        // Other boards take the places of the lost ones, and then it may be any three again.
        for board in lost {
            *cluster.node(board) = empty(board, 100 + board);
        }
        cluster.run(6);
        for hash in &cluster.objects {
            assert_eq!(cluster.boards(hash), [1; 8], "{lost:?}");
        }
        for lost in triples() {
            assert!(without(&cluster, &lost).all_readable(), "{lost:?} again");
        }
    }
}

#[test]
fn boards_that_return_have_their_shards_and_nothing_moves() {
    let settled = Cluster::settled(40);
    let mut cluster = without(&settled, &[2, 7]);
    cluster.run(REPAIRED);
    let before = cluster.moved;
    assert!(before > 0);
    for board in [2, 7] {
        cluster.node(board).is_on = true;
    }
    cluster.run(6);
    assert_eq!(cluster.moved, before);
    assert!(cluster.objects.iter().all(|hash| cluster.boards(hash) == [1; 8]));
}

#[test]
fn an_outage_of_fifty_minutes_moves_no_shard_and_one_of_seventy_does() {
    for (minutes, is_moved) in [(50, false), (70, true)] {
        let mut cluster = Cluster::settled(40);
        cluster.node(3).is_on = false;
        cluster.run(minutes / 10);
        cluster.node(3).is_on = true;
        cluster.run(REPAIRED);
        assert_eq!(cluster.moved > 0, is_moved, "{minutes} minutes");
        assert!(cluster.objects.iter().all(|hash| cluster.boards(hash) == [1; 8]));
    }
}

#[test]
fn a_board_that_starts_while_another_one_is_off_makes_nothing() {
    let mut cluster = Cluster::settled(40);
    cluster.node(3).is_on = false;
    cluster.look();
    let node = cluster.node(4);
    node.view = KeepView::new(TIMES, node.member);
    cluster.run(4);
    assert_eq!(cluster.moved, 0);
}

#[test]
fn of_a_split_box_the_larger_part_makes_shards() {
    let mut cluster = Cluster::settled(40);
    for board in 6..=BOARDS {
        cluster.node(board).side = 1;
    }
    let on_a_side = |cluster: &Cluster, side: u8| -> u32 {
        let nodes = cluster.nodes.iter().filter(|it| it.side == side);
        nodes.flat_map(|it| it.held.values()).map(|held| held.count_ones()).sum()
    };
    let before = [0, 1].map(|side| on_a_side(&cluster, side));
    cluster.run(REPAIRED);
    let after = [0, 1].map(|side| on_a_side(&cluster, side));
    assert!(after[0] > before[0], "{after:?}");
    assert_eq!(after[1], before[1]);
    for node in &mut cluster.nodes {
        node.side = 0;
    }
    cluster.run(6);
    assert!(cluster.objects.iter().all(|hash| cluster.boards(hash) == [1; 8]));
}

#[test]
fn the_power_can_fail_at_each_change_of_a_beginning_and_of_a_repair() {
    let new = Cluster::new(3, BOARDS);
    let settled = Cluster::settled(6);
    for (start, lost) in [(&new, &[][..]), (&settled, &[2, 5])] {
        let start = without(start, lost);
        // Counts the changes of a run without a cut.
        let mut whole = start.clone();
        whole.until_cut = Some(usize::MAX);
        whole.run(REPAIRED);
        let changes = usize::MAX - whole.until_cut.unwrap();
        assert!(changes > 10, "{changes}");
        for cut in 1..=changes {
            let mut cluster = start.clone();
            cluster.until_cut = Some(cut);
            cluster.run(REPAIRED);
            // It takes an hour again until a board is dead, and a whole copy is proved anew.
            cluster.run(REPAIRED);
            assert_eq!(cluster.until_cut, None, "at change {cut}");
            for hash in &cluster.objects {
                assert_eq!(cluster.boards(hash), [1; 8], "at change {cut}");
            }
            let pinned = cluster.nodes.iter().flat_map(|node| node.whole.values());
            assert_eq!(pinned.filter(|it| **it == KeptState::Kept).count(), 0, "at change {cut}");
            // Of an object some shards were there, so each of the others is made of them.
            assert!(cluster.moved <= whole.moved + 15, "at change {cut}: {}", cluster.moved);
        }
    }
}

#[test]
fn four_boards_have_two_shards_each_and_share_them_with_those_that_come() {
    let mut cluster = Cluster::new(24, 4);
    // The other four are not in the map yet.
    let later = cluster.nodes.split_off(5);
    cluster.run(8);
    for hash in &cluster.objects {
        assert_eq!(cluster.boards(hash), [1; 8]);
        let counts = cluster.nodes[1..].iter().map(|it| it.held[hash].count_ones());
        assert_eq!(counts.collect::<Vec<_>>(), [2; 4]);
        let shown = cluster.shown(1, hash);
        // Three boards have six of eight shards.
        assert!(shown.is_placed && !shown.is_safe, "{shown:?}");
    }
    cluster.evict();
    cluster.moved = 0;
    cluster.nodes.extend(later.into_iter().map(|node| Node { is_on: true, ..node }));
    cluster.run(6);
    for hash in &cluster.objects {
        assert_eq!(cluster.boards(hash), [1; 8]);
        assert!(cluster.nodes[1..].iter().all(|it| it.held[hash].count_ones() == 1));
        let shown = cluster.shown(1, hash);
        assert!(shown.is_placed && shown.is_safe, "{shown:?}");
    }
    assert_eq!(cluster.moved, 4 * 24);
}

/// Board 1 of four, which asks the others for 20 objects in 2 + `parity` shards.
struct Asking {
    view: KeepView,
    objects: Vec<Hash>,
    goals: Vec<(Hash, KeepGoal)>,
}

impl Asking {
    fn new(parity: u8) -> Self {
        let member = |number: u8| KeepMember {
            number,
            key: [number; 32],
            is_holder: true,
            is_drained: false,
        };
        let mut view = KeepView::new(TIMES, member(1));
        view.set_members(&[1, 2, 3, 4].map(member), PAUSE);
        let objects: Vec<Hash> = (0..20u64).map(|number| Hash::new(number.to_be_bytes())).collect();
        let known = KnownManifest { hash: Hash::EMPTY, is_proved: true, is_disputed: false };
        let goal = ShardGoal { data: 2, parity, manifest: Some(known) };
        let goals = objects.iter().map(|hash| (*hash, KeepGoal::Shards(goal))).collect();
        Self { view, objects, goals }
    }

    /// A board has said that it has these shards.
    fn answered(&mut self, board: u8, held: u32, now: Duration) {
        let shards = Some(HeldShards { manifest: *Hash::EMPTY.as_bytes(), held });
        let report = KeptReport { shards, ..KeptReport::default() };
        let answer = KeepAnswer { objects: vec![report; self.objects.len()], reached: vec![] };
        self.view.answered(board, &self.objects, &answer, now);
    }

    fn steps(&self, now: Duration) -> Vec<KeepStep> {
        self.view.steps(&self.goals, |_| KeptReport::default(), now)
    }
}

#[test]
fn a_shard_is_made_only_after_all_boards_have_said_what_they_have() {
    let mut asking = Asking::new(1);
    asking.answered(2, 0b01, PAUSE);
    asking.answered(3, 0b10, PAUSE);
    // The fourth board may have the last shard.
    assert_eq!(asking.steps(PAUSE), []);
    asking.answered(4, 0, PAUSE);
    let made = asking.steps(PAUSE).len();
    assert!(0 < made && made < 20, "{made}");
}

#[test]
fn what_a_silent_board_has_is_made_once_it_is_dead() {
    let mut asking = Asking::new(2);
    // One of its two shards is to be here.
    asking.answered(2, 0b1100, PAUSE);
    let answer = |asking: &mut Asking, now| {
        asking.answered(3, 0b10, now);
        asking.answered(4, 0b01, now);
        asking.steps(now)
    };
    let is_made = |step: &KeepStep| matches!(step, KeepStep::MakeShards(..));
    let is_taken = |step: &KeepStep| matches!(step, KeepStep::TakeShard(..));
    let steps = answer(&mut asking, PAUSE);
    assert!(steps.len() == 20 && steps.iter().all(is_taken), "{steps:?}");
    assert_eq!(answer(&mut asking, 6 * PAUSE), []);
    let steps = answer(&mut asking, 7 * PAUSE);
    assert!(steps.len() == 20 && steps.iter().all(is_made), "{steps:?}");
}

#[test]
fn a_copy_is_pinned_before_it_is_seen_which_manifest_is_right() {
    let asking = Asking::new(1);
    let (hash, KeepGoal::Shards(goal)) = asking.goals[0] else { panic!("{:?}", asking.goals[0]) };
    let known = KnownManifest { hash: Hash::EMPTY, is_proved: false, is_disputed: true };
    let goals = [(hash, KeepGoal::Shards(ShardGoal { manifest: Some(known), ..goal }))];
    let steps = |state: KeptState| asking.view.steps(&goals, |_| state.into(), PAUSE);
    assert_eq!(steps(KeptState::Loose), [KeepStep::Pin(hash), KeepStep::Prove(hash)]);
    assert_eq!(steps(KeptState::Kept), [KeepStep::Prove(hash)]);
    assert_eq!(steps(KeptState::Absent), [KeepStep::Check(hash)]);
}

#[test]
fn a_liar_costs_one_shard_at_most() {
    for lie in [Lie::Manifest, Lie::Shards, Lie::Whole] {
        let mut cluster = Cluster::new(40, BOARDS);
        // It lies from the beginning, and is no one's only board.
        let moved: Vec<_> = cluster.node(6).whole.drain().collect();
        cluster.node(7).whole.extend(moved);
        cluster.node(6).lie = Some(lie);
        cluster.look();
        // What is not pinned by now is lost.
        cluster.evict();
        cluster.run(REPAIRED);
        let honest = |cluster: &Cluster, hash: &Hash| {
            cluster.boards(hash).iter().filter(|count| **count > 0).count()
        };
        let found: Vec<_> = cluster.objects.iter().map(|hash| honest(&cluster, hash)).collect();
        assert!(found.iter().all(|count| *count >= 7), "{lie:?}: {found:?}");
        assert!(cluster.objects.iter().all(|hash| {
            let nodes = cluster.nodes[1..].iter().filter(|node| node.lie.is_none());
            nodes.into_iter().all(|node| {
                let used = node.manifests.best(hash, Some(LAYOUT)).map(|it| it.0);
                used == Some(cluster.hashes[hash])
            })
        }));
        cluster.evict();
        // Two more boards may be lost.
        for pair in [[1, 2], [3, 8], [5, 7]] {
            assert!(without(&cluster, &pair).all_readable(), "{lie:?} {pair:?}");
        }
        let mut repaired = without(&cluster, &[1, 2]);
        repaired.run(REPAIRED + 6);
        let found: HashSet<_> =
            repaired.objects.iter().map(|hash| honest(&repaired, hash)).collect();
        assert!(found.iter().all(|count| *count >= 6), "{lie:?}: {found:?}");
    }
}

#[test]
fn a_drained_board_has_its_shards_until_others_have_them() {
    let mut cluster = Cluster::settled(40);
    cluster.node(4).member.is_drained = true;
    // `look` fails if one goes too early.
    cluster.run(6);
    assert!(cluster.nodes[4].held.values().all(|held| *held == 0));
    assert!(cluster.objects.iter().all(|hash| cluster.boards(hash) == [1; 8]));
    assert!(cluster.moved <= 40, "{}", cluster.moved);
}

#[test]
fn a_board_without_room_is_passed_over_and_has_what_it_had() {
    let mut cluster = Cluster::new(20, BOARDS);
    cluster.node(5).has_room = false;
    cluster.node(5).whole.clear();
    cluster.objects.retain(|hash| cluster.nodes.iter().any(|it| it.whole.contains_key(hash)));
    cluster.run(8);
    assert!(cluster.nodes[5].held.values().all(|held| *held == 0));
    for hash in &cluster.objects {
        assert_eq!(cluster.boards(hash), [1; 8]);
        assert_eq!(cluster.shown(1, hash).no_room, [5]);
    }
    let mut cluster = Cluster::settled(20);
    cluster.node(5).has_room = false;
    cluster.run(6);
    assert_eq!(cluster.moved, 0);
}

#[test]
fn what_is_lost_with_the_fewest_boards_is_made_first() {
    let mut cluster = Cluster::settled(40);
    // Of one object only six shards are left once a board is lost.
    let rare = cluster.objects[7];
    let held = cluster.nodes[3].held.remove(&rare);
    assert!(held.is_some());
    cluster.node(1).is_on = false;
    cluster.run(6);
    cluster.now += PAUSE;
    cluster.nodes[3].held.remove(&rare);
    for index in 2..=usize::from(BOARDS) {
        let steps = cluster.nodes[index].view.steps(
            &cluster.goals(index),
            |it| cluster.report(index, it),
            cluster.now,
        );
        if let Some(place) = steps.iter().position(|step| step.object() == rare) {
            assert_eq!(place, 0, "board {index}");
        }
    }
}

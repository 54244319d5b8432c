//! Without faults, or with nodes that are away.

use std::time::Duration;

use octet_ledger::log::RECORDS;

use crate::world::World;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn all_decide_what_one_was_given() {
    for validators in [4, 7] {
        let mut world = World::new(1, validators, 0);
        for at in 0..validators {
            world.submit(at);
        }
        world.run(seconds(10));
        for at in 0..validators {
            assert_eq!(world.transactions(at), validators);
        }
        assert_eq!(world.contradictions, 0);
    }
}

#[test]
fn nothing_is_written_while_nothing_waits() {
    let mut world = World::new(2, 4, 0);
    world.submit(0);
    world.run(seconds(10));
    let height = world.height(0);
    assert!(height > 0);
    let written = |world: &World| -> Vec<u64> {
        world.nodes.iter().map(|node| node.store.written() + node.log.written()).collect()
    };
    let (before, frames) = (written(&world), world.frames);
    world.run(seconds(3600));
    assert_eq!(written(&world), before);
    // Each tells each other one its height in each second.
    assert!(world.frames - frames <= 4 * 3 * 3601, "{}", world.frames - frames);
    assert_eq!(world.height(0), height);
    assert!(world.nodes.iter().all(|node| !node.node.as_ref().unwrap().is_deciding()));
}

#[test]
fn blocks_have_the_spacing_of_the_genesis() {
    let mut world = World::new(3, 4, 0);
    let mut begun = vec![];
    for _ in 0..200 {
        world.submit(0);
        let before = world.height(0);
        world.run(Duration::from_millis(100));
        if world.height(0) > before {
            begun.push(world.now);
        }
    }
    assert!(begun.len() >= 15, "{}", begun.len());
    let spacing = begun.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(spacing >= Duration::from_millis(800), "{spacing:?}");
}

#[test]
fn a_transaction_that_waits_for_another_begins_no_height() {
    let mut world = World::new(4, 4, 0);
    world.submit(0);
    world.run(seconds(10));
    let height = world.height(0);
    // The owner's third, without the second.
    let gap = world.transaction_of(0, 3);
    let now = world.now;
    let node = world.nodes[0].node.as_mut().unwrap();
    assert_eq!(node.submit(gap, now).unwrap(), Ok(true));
    world.run(seconds(60));
    assert_eq!(world.height(0), height);
}

#[test]
fn three_of_four_go_on() {
    let mut world = World::new(5, 4, 0);
    world.stop(3, false);
    for _ in 0..8 {
        world.submit(0);
        world.run(seconds(20));
    }
    assert_eq!(world.transactions(0), 8);
    world.start(3);
    world.run(seconds(30));
    assert_eq!(world.transactions(3), 8);
}

#[test]
fn two_of_four_decide_nothing_and_go_on_when_a_third_is_back() {
    let mut world = World::new(6, 4, 0);
    world.submit(0);
    world.run(seconds(10));
    assert_eq!(world.transactions(0), 1);
    let height = world.height(0);
    world.stop(2, false);
    world.stop(3, false);
    world.submit(0);
    world.run(seconds(600));
    assert_eq!((world.height(0), world.height(1)), (height, height));
    world.start(2);
    world.run(seconds(60));
    assert_eq!(world.transactions(0), 2);
    assert_eq!(world.transactions(2), 2);
}

#[test]
fn a_node_from_nothing_and_a_follower_get_all_blocks() {
    let mut world = World::new(7, 4, 1);
    world.stop(3, false);
    world.stop(4, false);
    for _ in 0..60 {
        world.submit(0);
        world.run(seconds(5));
    }
    assert!(world.height(0) >= 50);
    for at in [3, 4] {
        world.nodes[at].store.erase();
        world.nodes[at].log.erase();
        world.nodes[at].starts = 0;
        world.start(at);
    }
    world.run(seconds(20));
    assert_eq!(world.transactions(3), 60);
    assert_eq!(world.transactions(4), 60);
    // The follower has no part in what follows, but it passes on what it is given, and has it in the end.
    world.submit(4);
    world.run(seconds(30));
    for at in 0..5 {
        assert_eq!(world.transactions(at), 61);
    }
    let log = &world.nodes[4].log;
    assert_eq!(log.bytes().len(), RECORDS, "the log of a follower has headers only");
}

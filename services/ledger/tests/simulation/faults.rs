//! Honest nodes, and everything else fails.

use std::time::Duration;

use crate::seeds;
use crate::world::{Faults, World};

fn storm(seed: u64, validators: usize, faults: Faults) -> World {
    let mut world = World::new(seed, validators, 1);
    world.faults = faults;
    for _ in 0..12 {
        let at = world.rng.usize(..validators);
        world.submit(at);
        if world.rng.u32(..4) == 0 {
            world.submit_again();
        }
        match world.rng.u32(..6) {
            0 => {
                for node in 0..validators {
                    world.nodes[node].group = world.rng.u8(..2);
                }
            }
            1 => world.nodes.iter_mut().for_each(|node| node.group = 0),
            2 => {
                // All at once.
                for at in 0..validators {
                    if world.nodes[at].node.is_some() {
                        world.crash(at);
                    }
                }
            }
            _ => {}
        }
        let time = Duration::from_millis(world.rng.u64(200..8_000));
        world.run(time);
    }
    world
}

fn faults() -> Faults {
    let (crashes, cuts) = (40, true);
    Faults { lost: 50, doubled: 50, delay: 300, crashes, cuts, ..Faults::default() }
}

#[test]
fn honest_nodes_agree_whatever_fails() {
    let (mut crashes, mut frames, mut blocks) = (0, 0, 0);
    for seed in seeds(16) {
        let validators = if seed % 4 == 3 { 7 } else { 4 };
        let mut world = storm(seed, validators, faults());
        assert_eq!(world.contradictions, 0, "seed {seed}");
        world.heal();
        assert_eq!(world.contradictions, 0, "seed {seed}");
        for at in 0..validators {
            assert!(world.accused(at).is_empty(), "seed {seed}");
        }
        crashes += world.crashes;
        frames += world.frames;
        blocks += world.evaluator.height();
    }
    println!("{crashes} crashes, {frames} frames, {blocks} blocks");
    assert!(crashes > 100 && blocks > 50, "{crashes} crashes, {blocks} blocks");
}

/// A node whose store is gone fetches blocks, and votes again only as its log allows.
///
/// Consensus allows this fault: what a validator must remember is what it voted at heights that are not decided, and that
/// is in the log. It does not vote at heights before the log's newest one, of which the log may have been emptied.
#[test]
fn a_log_outlives_its_store() {
    let mut crashes = 0;
    for seed in seeds(6) {
        let mut world = storm(500 + seed, 4, Faults { lost_stores: true, ..faults() });
        world.heal();
        assert_eq!(world.contradictions, 0, "seed {seed}");
        (0..4).for_each(|at| assert!(world.accused(at).is_empty(), "seed {seed}"));
        crashes += world.crashes;
    }
    assert!(crashes > 50, "{crashes}");
}

/// The control: without the log, nodes contradict themselves, and the others have evidence of it.
#[test]
fn nodes_without_a_log_contradict_themselves() {
    let (mut contradictions, mut accused) = (0, 0);
    for seed in seeds(16) {
        let mut world = storm(seed, 4, Faults { amnesia: true, ..faults() });
        world.faults = Faults { delay: 20, ..Faults::default() };
        world.run(Duration::from_secs(60));
        contradictions += world.contradictions;
        accused += (0..4).map(|at| world.accused(at).len()).sum::<usize>();
        if contradictions > 0 && accused > 0 {
            return;
        }
    }
    panic!("{contradictions} contradictions, {accused} accused");
}

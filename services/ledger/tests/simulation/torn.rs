//! The log's last record is torn at every byte: it was not on the disk, so no vote that follows from it has left.

use std::time::Duration;

use octet_ledger::consensus::{ConsensusNode, ConsensusSettings};

use crate::disk::Disk;
use crate::world::World;

#[test]
fn a_node_goes_on_from_a_log_that_is_torn_at_any_byte() {
    let mut cuts = 0;
    for operation in 0..9 {
        let mut world = World::new(20 + operation, 4, 0);
        world.submit(0);
        world.run(Duration::from_secs(5));
        world.submit(0);
        world.run_until_killed(1, operation);
        let (store, log) = (world.nodes[1].store.clone(), world.nodes[1].log.clone());
        let (synced, written) = (log.synced(), log.bytes());
        for length in synced.len()..=written.len() {
            cuts += 1;
            let torn = Disk::with(written[..length].to_vec());
            let settings = ConsensusSettings::new(world.genesis.clone());
            let key = world.nodes[1].key.clone();
            let store = Disk::with(store.synced());
            let mut now = world.now;
            let mut evaluator = world.evaluator.clone();
            let mut node = ConsensusNode::open(settings, key, store, Box::new(torn), now).unwrap();
            // Time passes, so that it votes again in all steps.
            for _ in 0..20 {
                for (_, frame) in node.take_frames() {
                    let own = world.nodes[1].public;
                    assert!(!evaluator.is_contradiction(own, &frame));
                }
                now = node.deadline();
                node.tick(now).unwrap();
            }
        }
    }
    assert!(cuts > 500, "{cuts}");
}

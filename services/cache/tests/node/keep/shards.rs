//! `[[keep]]` with shards on four boards.

use std::collections::BTreeSet;

use octet_appliance::KeepRedundancy;
use octet_cache::fetch::Missing;
use octet_cache::keep::{KeptShards, ShardLayout, ShardManifest, ShardPart};

use super::*;
use crate::scrub::flip;

/// The size of the object: its last stripe is not full.
const SIZE: usize = (1 << 20) + 12_345;

/// A board that is gone is known as dead sooner: with copies the tests wait for one, here for two.
fn soon() -> CacheLimits {
    CacheLimits {
        keep_dead: Duration::from_secs(8),
        connect_timeout: Duration::from_secs(1),
        ..super::soon()
    }
}

fn keep(hash: Hash) -> Value {
    json!([{ "object": hash.to_hex().to_string(), "data": 2, "parity": 1 }])
}

fn shards(node: &Node) -> Option<KeptShards> {
    row(node).shards
}

/// Whether each of the three shards is on one board, and all that reach each other know.
fn are_settled(boards: &Boards, numbers: &[u8]) -> bool {
    numbers.iter().all(|number| {
        let row = row(boards.node(*number));
        let shards = row.shards.unwrap_or_default();
        let holders: BTreeSet<u8> = shards.boards.iter().flatten().copied().collect();
        let is_one_each = shards.boards.len() == 3 && shards.boards.iter().all(|it| it.len() == 1);
        row.condition == KeepCondition::Kept && is_one_each && holders.len() == 3
    })
}

/// Evicts all that is not pinned.
fn evict(boards: &Boards) {
    for node in &boards.nodes {
        boards.runtime.block_on(async {
            node.objects.set_quota(Some(1)).await.unwrap();
            node.objects.set_quota(Some(1 << 30)).await.unwrap();
        });
    }
}

/// Four boards with an object in shards, and no copy of all of it.
fn settled() -> (Boards, Vec<u8>, Hash) {
    let boards = Boards::start(soon(), soon());
    let content = bytes(SIZE, 1);
    let added = boards.runtime.block_on(add(&boards.nodes[0].objects, &content, ObjectKind::Loose));
    let hash = added.unwrap().hash;
    boards.set(&keep(hash));
    boards.until("each shard is on a board", || are_settled(&boards, &[1, 2, 3, 4]));
    boards.until("nobody pins all of it", || boards.keeping(hash).is_empty());
    evict(&boards);
    assert!(boards.nodes.iter().all(|node| node.objects.size(hash).is_none()));
    (boards, content, hash)
}

/// The boards with the shards, by their indices.
fn holders(boards: &Boards, number: u8) -> Vec<u8> {
    shards(boards.node(number)).unwrap().boards.concat()
}

#[test]
fn an_object_is_read_from_its_shards_and_a_lost_one_is_made_anew() {
    let (boards, content, hash) = settled();
    let holders = holders(&boards, 1);
    let gone = boards.node(holders[0]);
    boards.runtime.block_on(gone.endpoint.close());
    let rest: Vec<u8> = (1..=4).filter(|number| *number != holders[0]).collect();
    // A board that has a shard decodes the object once for both clients.
    let reader = boards.node(holders[1]);
    let (http, path) = (reader.http, path(hash));
    let also = path.clone();
    let other = std::thread::spawn(move || get(http, &also, &[]).body);
    assert!(get(http, &path, &[]).body == content);
    assert!(other.join().unwrap() == content);
    assert_eq!(reader.keeper.restored.get(), 1);
    let fourth = *rest.iter().find(|number| !holders.contains(number)).unwrap();
    boards.until("the fourth board makes the shard", || {
        let shards = shards(boards.node(fourth)).unwrap_or_default();
        are_settled(&boards, &rest) && shards.boards[0] == [fourth]
    });
    // Two of the four are gone, and the object is still read.
    evict(&boards);
    let second = boards.node(holders[1]);
    boards.runtime.block_on(second.endpoint.close());
    let last = boards.node(fourth);
    assert!(get(last.http, &path, &[]).body == content);
    // With one shard it is not.
    evict(&boards);
    boards.runtime.block_on(boards.node(holders[2]).endpoint.close());
    boards.until("it is missing", || row(last).condition == KeepCondition::Missing);
    assert!(get(last.http, &path, &[]).code >= 400);
}

#[test]
fn what_a_board_has_of_shards_is_known_after_a_power_cut() {
    let (boards, _, hash) = settled();
    let number = holders(&boards, 1)[2];
    let node = boards.node(number);
    let kept = node.objects.policy().kept();
    let parts: Vec<_> = kept.iter().map(|it| node.keeper.part(it).unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert!(
        parts.contains(&ShardPart::Manifest(hash)) && parts.contains(&ShardPart::Shard(hash, 2))
    );
    boards.runtime.block_on(async {
        let again = Node::start_in(node.killed().await, soon()).await;
        again.peers.send_replace(vec![again.as_peer(number)]);
        again.keeper.set(&serde_json::from_value::<Vec<KeepSection>>(keep(hash)).unwrap());
        until("the shard is known", || {
            let found = again.keeper.rows().remove(0).shards.unwrap_or_default();
            found.boards.get(2) == Some(&vec![number])
        })
        .await;
        assert!(kept.iter().all(|it| again.objects.policy().is_kept(it)));
    });
}

#[test]
fn a_shard_that_the_disk_has_changed_is_made_anew_from_the_others() {
    let (boards, _, hash) = settled();
    let node = boards.node(holders(&boards, 1)[1]);
    let kept = node.objects.policy().kept();
    let is_shard = |it: &&Hash| node.keeper.part(it) == Some(ShardPart::Shard(hash, 1));
    let shard = *kept.iter().find(is_shard).unwrap();
    flip(&node.objects.path_of(shard), 70_000);
    node.scrubber.start();
    boards.until("it is found", || node.scrubber.found.get() == 1);
    boards.until("it is made anew", || node.objects.policy().is_kept(&shard));
    let content = std::fs::read(node.objects.path_of(shard)).unwrap();
    assert_eq!(Hash::new(content), shard);
}

#[test]
fn other_settings_have_the_object_kept_in_another_way() {
    let (boards, content, hash) = settled();
    let object = hash.to_hex().to_string();
    boards.set(&json!([{ "object": object, "copies": 2 }]));
    boards.until("two boards keep all of it, and nobody a shard", || {
        let kept: usize = boards.nodes.iter().map(|it| it.objects.policy().kept().len()).sum();
        boards.keeping(hash).len() == 2 && kept == 2
    });
    boards.set(&json!([{ "object": object, "data": 3, "parity": 1 }]));
    boards.until("four boards have a shard each", || {
        let shards = shards(&boards.nodes[0]).unwrap_or_default();
        shards.is_placed && shards.is_safe && boards.keeping(hash).is_empty()
    });
    evict(&boards);
    boards.set(&keep(hash));
    boards.until("three boards have one", || are_settled(&boards, &[1, 2, 3, 4]));
    evict(&boards);
    assert!(get(boards.nodes[1].http, &path(hash), &[]).body == content);
}

#[test]
fn of_a_small_object_whole_copies_are_kept() {
    let boards = Boards::start(soon(), soon());
    let hash = boards.runtime.block_on(boards.nodes[1].add(b"it is small")).hash;
    boards.set(&keep(hash));
    boards.until("two boards keep it, and know", || {
        let is_kept = |node: &Node| row(node).condition == KeepCondition::Kept;
        boards.keeping(hash).len() == 2 && boards.nodes.iter().all(is_kept)
    });
    let row = row(&boards.nodes[0]);
    assert_eq!(row.keep.redundancy, KeepRedundancy::Shards { data: 2, parity: 1 });
    assert_eq!((row.copies.kept.len(), row.shards), (2, None));
}

/// Has a board pin the shards of a manifest that are not those of the object, and the manifest.
fn plant(boards: &Boards, number: u8, object: Hash) -> ShardManifest {
    let layout = ShardLayout::new(2, 1);
    let size = layout.shard_size(SIZE as u64) as usize;
    let node = boards.node(number);
    let pin = |bytes: &[u8]| {
        boards.runtime.block_on(add(&node.objects, bytes, ObjectKind::Kept)).unwrap().hash
    };
    let shards = (0..3).map(|index| pin(&bytes(size, 40 + index))).collect();
    let manifest = ShardManifest { object, size: SIZE as u64, layout, shards };
    assert_eq!(pin(&manifest.to_bytes()), manifest.hash());
    manifest
}

#[test]
fn shards_that_are_not_of_the_object_are_refused() {
    let boards = Boards::start(soon(), soon());
    let content = bytes(SIZE, 2);
    let hash = Hash::new(&content);
    let wrong = plant(&boards, 4, hash);
    boards.set(&keep(hash));
    boards.until("others believe it", || {
        boards.nodes.iter().all(|node| node.keeper.part(&wrong.hash()).is_some())
    });
    // Nobody has the object: what the shards give is not stored.
    let asked = &boards.nodes[1];
    let answer = get(asked.http, &path(hash), &[]);
    assert_eq!(answer.code, 500);
    assert!(String::from_utf8(answer.body).unwrap().contains("give another content"));
    assert_eq!(asked.objects.size(hash), None);
    let refused = boards.runtime.block_on(asked.keeper.restore(hash, Missing::Nowhere));
    assert!(matches!(refused, Err(Missing::Store(_))), "{refused:?}");
    // A board that has it finds out, and then all others do.
    boards.runtime.block_on(add(&boards.nodes[0].objects, &content, ObjectKind::Loose)).unwrap();
    boards.until("each right shard is on a board", || are_settled(&boards, &[1, 2, 3, 4]));
    boards.until("nobody has a part of the wrong ones pinned", || {
        let parts = wrong.shards.iter().chain([&hash]);
        let is_pinned = |part: &Hash| !boards.keeping(*part).is_empty();
        !parts.into_iter().any(is_pinned)
    });
    evict(&boards);
    assert!(get(boards.nodes[3].http, &path(hash), &[]).body == content);
}

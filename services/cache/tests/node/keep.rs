//! `[[keep]]` on four boards: copies are made, made anew when a board is gone, and moved with a name.

mod folders;
mod shards;

use std::time::Duration;

use iroh_blobs::Hash;
use octet_appliance::KeepSection;
use octet_cache::keep::{ALPN, KeepAnswer, KeepCondition, KeepRequest, KeepRow};
use octet_cache::limits::CacheLimits;
use octet_cache::peers::PeerNode;
use octet_cache::policy::{ObjectKind, PinnedBy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::host::{Node, add, bytes, limits, path, runtime, until};
use crate::request::get;
use crate::verbs::{add as add_by_verb, args, config, connect, start_at};

/// Boards look often, and a board is dead soon. One that a busy machine makes late gets its copies again, so tests wait
/// until all is as it should be.
fn soon() -> CacheLimits {
    CacheLimits {
        keep_pause: Duration::from_millis(200),
        keep_dead: Duration::from_secs(15),
        keep_retry: Duration::from_millis(200),
        keep_shards_from: 1 << 20,
        connect_timeout: Duration::from_secs(2),
        ..limits()
    }
}

struct Boards {
    nodes: Vec<Node>,
    // The last one, because nodes run in it.
    runtime: Runtime,
}

impl Boards {
    fn start(limits: CacheLimits, last: CacheLimits) -> Self {
        let runtime = runtime();
        let mut nodes = vec![];
        for limits in [limits, limits, limits, last] {
            nodes.push(runtime.block_on(Node::start(limits)));
        }
        let boards = Self { nodes, runtime };
        boards.set_map(&boards.map());
        boards
    }

    fn map(&self) -> Vec<PeerNode> {
        // A name begins with the key of a node, so nodes have their own ones here.
        let peer =
            |(number, node): (u8, &Node)| PeerNode { node: node.node, ..node.as_peer(number) };
        (1..).zip(&self.nodes).map(peer).collect()
    }

    fn set_map(&self, map: &[PeerNode]) {
        for node in &self.nodes {
            node.peers.send_replace(map.to_vec());
        }
    }

    fn set(&self, keep: &Value) {
        let sections: Vec<KeepSection> = serde_json::from_value(keep.clone()).unwrap();
        for node in &self.nodes {
            node.keeper.set(&sections);
        }
    }

    fn node(&self, number: u8) -> &Node {
        &self.nodes[usize::from(number) - 1]
    }

    /// The boards that keep it.
    fn keeping(&self, hash: Hash) -> Vec<u8> {
        let is_kept = |it: &(u8, &Node)| it.1.objects.policy().is_kept(&hash);
        (1..).zip(&self.nodes).filter(is_kept).map(|(number, _)| number).collect()
    }

    fn until(&self, what: &str, wanted: impl FnMut() -> bool) {
        self.runtime.block_on(until(what, wanted));
    }
}

fn row(node: &Node) -> KeepRow {
    node.keeper.rows().remove(0)
}

#[test]
fn three_boards_keep_an_object_and_the_fourth_takes_the_place_of_one_that_is_gone() {
    let boards = Boards::start(soon(), soon());
    let content = bytes(3 << 20, 1);
    let added = boards.runtime.block_on(add(&boards.nodes[0].objects, &content, ObjectKind::Loose));
    let hash = added.unwrap().hash;
    let keep = json!([{ "object": hash.to_hex().to_string(), "copies": 3 }]);
    boards.set(&keep);
    let mut keeping = vec![];
    boards.until("three boards keep it, and one of them knows", || {
        keeping = boards.keeping(hash);
        let is_known = |witness: &u8| row(boards.node(*witness)).copies.kept == keeping;
        keeping.len() == 3 && keeping.first().is_some_and(is_known)
    });
    let witness = boards.node(keeping[0]);
    assert_eq!(row(witness).condition, KeepCondition::Kept);

    let gone = boards.node(keeping[2]);
    boards.runtime.block_on(gone.endpoint.close());
    boards.until("it is at risk", || row(witness).condition == KeepCondition::AtRisk);
    let rest: Vec<u8> = (1..=4).filter(|number| *number != keeping[2]).collect();
    boards.until("the others keep it", || {
        rest.iter().all(|number| boards.keeping(hash).contains(number))
    });
    boards.until("it is not at risk", || {
        row(witness).condition == KeepCondition::Kept && row(witness).copies.kept == rest
    });
    let fourth = boards.node(*rest.iter().find(|number| !keeping.contains(number)).unwrap());
    assert!(get(fourth.http, &path(hash), &[]).body == content);

    // No `[[keep]]`: it stays where it is, and may be evicted.
    boards.set(&json!([]));
    boards.until("nobody pins it", || rest.iter().all(|it| !boards.keeping(hash).contains(it)));
    assert!(fourth.objects.size(hash).is_some() && witness.keeper.rows().is_empty());
}

#[test]
fn the_object_of_a_name_is_kept_whichever_it_is() {
    let boards = Boards::start(soon(), soon());
    let publish = |content: &[u8]| {
        boards.runtime.block_on(async {
            let home = &boards.nodes[0];
            let hash = add(&home.objects, content, ObjectKind::Loose).await.unwrap().hash;
            let path = "site/index.html".parse().unwrap();
            home.names.publish(path, hash, Duration::from_secs(3600), false).await.unwrap();
            hash
        })
    };
    let first = publish(b"<p>first");
    let name = format!("{}/site/index.html", boards.nodes[0].node);
    boards.set(&json!([{ "name": name }]));
    boards.until("two boards keep it", || boards.keeping(first).len() == 2);
    let second = publish(b"<p>second");
    boards.until("two boards keep the new one", || {
        boards.keeping(second).len() == 2 && boards.keeping(first).is_empty()
    });
    let witness = boards.node(boards.keeping(second)[0]);
    boards.until("one of them knows", || row(witness).condition == KeepCondition::Kept);
    assert_eq!(row(witness).hash, Some(second));
}

#[test]
fn a_board_without_room_is_passed_over_and_says_so() {
    let small = CacheLimits { quota: Some(1 << 20), ..soon() };
    let boards = Boards::start(soon(), small);
    // Of some objects the small board is to be one of three that keep it.
    let hashes: Vec<Hash> = (0..8)
        .map(|seed| {
            let content = bytes(2 << 20, seed);
            let added = add(&boards.nodes[0].objects, &content, ObjectKind::Loose);
            boards.runtime.block_on(added).unwrap().hash
        })
        .collect();
    let line = |hash: &Hash| json!({ "object": hash.to_hex().to_string(), "copies": 3 });
    boards.set(&hashes.iter().map(line).collect());
    boards.until("the others keep all of them", || {
        hashes.iter().all(|hash| boards.keeping(*hash) == [1, 2, 3])
    });
    boards.until("the first one knows", || {
        let rows = boards.nodes[0].keeper.rows();
        let is_kept = rows.iter().all(|row| row.condition == KeepCondition::Kept);
        is_kept && rows.iter().any(|row| row.copies.no_room == [4])
    });
}

#[test]
fn what_is_kept_is_known_after_a_power_cut() {
    let boards = Boards::start(soon(), soon());
    let hash = boards.runtime.block_on(boards.nodes[1].add(b"it is kept")).hash;
    boards.set(&json!([{ "object": hash.to_hex().to_string(), "copies": 4 }]));
    boards.until("all keep it", || boards.keeping(hash).len() == 4);
    boards.runtime.block_on(async {
        let copy = boards.nodes[2].killed().await;
        let again = Node::start_in(copy, soon()).await;
        assert!(again.objects.policy().is_kept(&hash) && !again.objects.policy().is_pinned(&hash));
        // An operator's pin is another one.
        again.objects.pin(hash, PinnedBy::Operator, true).await.unwrap();
        again.objects.pin(hash, PinnedBy::Keep, false).await.unwrap();
        assert!(!again.objects.policy().is_kept(&hash) && again.objects.policy().is_pinned(&hash));
        again.objects.pin(hash, PinnedBy::Operator, false).await.unwrap();
        assert_eq!(again.objects.policy().usage().pinned, 0);
    });
}

#[test]
fn only_boards_of_the_box_get_an_answer() {
    let boards = Boards::start(limits(), limits());
    let hash = boards.runtime.block_on(boards.nodes[0].add(b"here")).hash;
    let ask = async |from: &Node| {
        let connection = from.endpoint.connect(boards.nodes[0].address(), ALPN).await.ok()?;
        let (mut to, mut from) = connection.open_bi().await.ok()?;
        to.write_all(&KeepRequest::new(&[hash, Hash::EMPTY]).to_bytes()).await.ok()?;
        to.finish().ok()?;
        KeepAnswer::from_bytes(&from.read_to_end(1000).await.ok()?, 2)
    };
    boards.runtime.block_on(async {
        let stranger = Node::start(limits()).await;
        assert!(ask(&boards.nodes[1]).await.unwrap().objects[0].state.is_here());
        assert_eq!(ask(&stranger).await, None);
    });
}

#[test]
fn a_kept_object_is_not_removed() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&socket);
    let hash = add_by_verb(&mut client, b"it is kept").unwrap()["hash"].clone();
    let keep = json!([{ "object": hash, "copies": 1 }]);
    let mut apply = |keep: &Value| {
        let config = config(&folder, &json!({}), keep);
        client.call("config-apply", args(json!({}))).unwrap();
        config.join().unwrap();
        let removed = client.call("remove", args(json!({ "hash": hash })));
        (removed, client.call("keep-status", args(json!({}))).unwrap())
    };
    let (removed, status) = apply(&keep);
    assert!(removed.unwrap_err().to_string().contains("a `[[keep]]` keeps this object"));
    assert_eq!((&status[0]["hash"], &status[0]["copies"]), (&hash, &json!(1)));
    let (removed, status) = apply(&json!([]));
    assert_eq!((removed.unwrap()["removed"].clone(), status), (json!(true), json!([])));
}

//! `[[keep]]` of folders: a board has all of one or nothing, and nothing is left over.

use iroh_blobs::Hash;
use octet_cache::keep::KeepCondition;
use octet_cache::limits::CacheLimits;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Boards, row, soon};
use crate::folders::{add_folder, archive, store};
use crate::host::{bytes, path};
use crate::request::get;
use crate::verbs::{args, config, connect, start_at};

/// A folder of three files, of which this one is the second, and the hashes of them.
fn film(second: u64) -> (Vec<(&'static str, Vec<u8>)>, Vec<Hash>) {
    let files = vec![
        ("film.m3u8", b"#EXTM3U".to_vec()),
        ("parts/1.ts", bytes(200_000, second)),
        ("parts/2.ts", bytes(700_000, 9)),
    ];
    let hashes = files.iter().map(|(_, content)| Hash::new(content)).collect();
    (files, hashes)
}

fn keep(folders: &[Hash], copies: u8) -> Value {
    let line = |hash: &Hash| json!({ "object": hash.to_hex().to_string(), "folder": true, "copies": copies });
    folders.iter().map(line).collect()
}

impl Boards {
    fn are_kept_by(&self, objects: &[Hash], boards: &[u8]) -> bool {
        objects.iter().all(|hash| self.keeping(*hash) == boards)
    }
}

#[test]
fn a_board_that_keeps_a_folder_keeps_all_of_its_files() {
    let boards = Boards::start(soon(), soon());
    let (files, hashes) = film(1);
    let folder = boards.runtime.block_on(store(&boards.nodes[0], &files));
    boards.set(&keep(&[folder], 2));
    let mut keeping = vec![];
    boards.until("two boards keep it, and the first one knows", || {
        keeping = boards.keeping(folder);
        let is_known = |witness: &u8| row(boards.node(*witness)).copies.kept == keeping;
        keeping.len() == 2 && keeping.first().is_some_and(is_known)
    });
    assert!(boards.are_kept_by(&hashes, &keeping));
    let witness = boards.node(keeping[0]);
    assert_eq!(row(witness).condition, KeepCondition::Kept);
    // All five objects, and nothing else is pinned.
    assert_eq!(witness.objects.policy().kept().len(), 5);

    // Its files are not removed, as it is not itself.
    for hash in hashes.iter().chain([&folder]) {
        assert!(witness.keeper.kept_as(hash).is_some());
    }
    // A third one takes the place of one that is gone, without the board to which it was added.
    let gone = boards.node(keeping[1]);
    boards.runtime.block_on(gone.endpoint.close());
    let mut next = vec![];
    boards.until("another board keeps it", || {
        next = boards.keeping(folder);
        next.retain(|board| *board != keeping[1]);
        next.len() == 2
    });
    let third = boards.node(*next.iter().find(|board| **board != keeping[0]).unwrap());
    for (hash, (_, content)) in hashes.iter().zip(&files) {
        assert!(third.objects.policy().is_kept(hash));
        assert!(get(third.http, &path(*hash), &[]).body == *content);
    }
    boards.set(&json!([]));
    boards.until("nobody pins anything", || {
        next.iter().all(|board| boards.node(*board).objects.policy().kept().is_empty())
    });
    assert!(hashes.iter().all(|hash| third.keeper.kept_as(hash).is_none()));
}

/// The two folders have a file in common.
#[test]
fn what_another_kept_folder_has_stays() {
    let boards = Boards::start(soon(), soon());
    let (first, second) = (film(1), film(2));
    let home = &boards.nodes[0];
    let [one, other] =
        [&first.0, &second.0].map(|files| boards.runtime.block_on(store(home, files)));
    boards.set(&keep(&[one, other], 4));
    let all = [1, 2, 3, 4];
    boards.until("all keep both", || boards.are_kept_by(&[one, other], &all));
    assert!(boards.are_kept_by(&[&first.1[..], &second.1].concat(), &all));
    boards.set(&keep(&[other], 4));
    boards.until("what only the first one had is unpinned", || {
        boards.are_kept_by(&[one, first.1[1]], &[])
    });
    assert!(boards.are_kept_by(&second.1, &all));
    assert!(boards.are_kept_by(&[other], &all));
}

#[test]
fn of_a_folder_without_room_nothing_is_pinned() {
    // Room for the folder itself and some of its files.
    let small = CacheLimits { quota: Some(500_000), ..soon() };
    let boards = Boards::start(soon(), small);
    let (files, hashes) = film(1);
    let folder = boards.runtime.block_on(store(&boards.nodes[0], &files));
    boards.set(&keep(&[folder], 4));
    boards.until("the others keep it, and the first one knows why", || {
        let row = row(&boards.nodes[0]);
        row.copies.kept == [1, 2, 3] && row.copies.no_room == [4]
    });
    assert!(boards.are_kept_by(&hashes[2..], &[1, 2, 3]));
    boards
        .until("the last one pins nothing", || boards.nodes[3].objects.policy().kept().is_empty());
}

#[test]
fn the_status_says_that_it_is_a_folder() {
    let state = TempDir::new().unwrap();
    let (socket, _) = start_at(&state, Some(state.path().join("state")));
    let mut client = connect(&socket);
    let added = add_folder(&mut client, &archive(&film(1).0)).unwrap();
    let lines = json!([{ "object": added["hash"], "folder": true, "copies": 1 }]);
    let answering = config(&state, &json!({}), &lines);
    client.call("config-apply", args(json!({}))).unwrap();
    answering.join().unwrap();
    let status = client.call("keep-status", args(json!({}))).unwrap();
    assert_eq!((&status[0]["hash"], &status[0]["folder"]), (&added["hash"], &json!(true)));
}

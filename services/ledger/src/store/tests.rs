use std::time::Duration;

use octet_coins::{LedgerParameters, Validator};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;

use super::*;

fn key(of: u8) -> PublicKey {
    PrivateKey::from_seed([of; 32]).unwrap().public()
}

fn genesis(balance: u64) -> Genesis {
    let validator = |at: u8| Validator { owner: key(100 + at), key: key(at) };
    let validators = (0..4).map(validator).collect();
    let seconds = LedgerParameters::with_spacing(Duration::from_secs(1));
    let parameters = LedgerParameters { spacing: Duration::ZERO, ..seconds };
    Genesis::new("test", validators, [(key(9), balance)].into(), parameters).unwrap()
}

#[test]
fn a_creation_that_was_cut_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks");
    let new = folder.path().join("blocks.new");
    for rest in [&b""[..], &[0; 4096], b"redb, almost"] {
        fs::write(&new, rest).unwrap();
        drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
        assert!(path.exists() && !new.exists());
        // What is there stays.
        drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_store_is_of_one_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks");
    drop(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).unwrap());
    assert!(BlockStore::open(store_file(&path).unwrap(), &genesis(1)).is_ok());
    let error = BlockStore::open(store_file(&path).unwrap(), &genesis(2)).unwrap_err();
    assert!(matches!(error, StoreError::OtherGenesis), "{error}");
}

/// A store with three empty blocks, and the state after them.
fn three_blocks(genesis: &Genesis) -> (BlockStore, LedgerState) {
    let disk = redb::backends::InMemoryBackend::new();
    let (mut store, mut state) = BlockStore::open(disk, genesis).unwrap();
    for height in 1..=3 {
        let block = octet_coins::PendingTransactions::default().block(&state, 0);
        state = state.check(&block).unwrap();
        let certificate =
            BlockCertificate { height, round: 0, block: block.hash(), signatures: vec![] };
        store.insert(height, &block.to_bytes(), &certificate, &state, true).unwrap();
    }
    (store, state)
}

#[test]
fn rows_that_do_not_fit_are_made_anew() {
    let genesis = genesis(7);
    let (store, state) = three_blocks(&genesis);
    assert!(store.stored_state(&genesis).unwrap().as_ref() == Some(&state));
    let change = |change: &dyn Fn(&WriteTransaction)| {
        let write = store.database.begin_write().unwrap();
        change(&write);
        write.commit().unwrap();
        assert!(store.stored_state(&genesis).unwrap().is_none());
        assert!(store.state(&genesis).unwrap() == state);
        assert!(store.stored_state(&genesis).unwrap().as_ref() == Some(&state));
    };
    let (key, mut value) = state.rows().next().unwrap();
    // A lost row, a wrong one, no rows at all, and those of another block.
    change(&|write| drop(write.open_table(ROWS).unwrap().remove(&key[..]).unwrap()));
    value[0] ^= 1;
    change(&|write| {
        drop(write.open_table(ROWS).unwrap().insert(&key[..], &value[..]).unwrap());
    });
    change(&|write| assert!(write.delete_table(ROWS).unwrap()));
    change(&|write| assert!(write.delete_table(TIP).unwrap()));
    let old = (2, &state.tip().0, &state.hash());
    change(&|write| drop(write.open_table(TIP).unwrap().insert((), old).unwrap()));
}

/// The state needs no block that is gone. Without its rows it cannot be made anew then.
#[test]
fn only_the_newest_blocks_are_kept() {
    let genesis = genesis(7);
    let (mut store, mut state) = three_blocks(&genesis);
    store.keep_blocks(Some(2));
    let block = octet_coins::PendingTransactions::default().block(&state, 0);
    state = state.check(&block).unwrap();
    let certificate =
        BlockCertificate { height: 4, round: 0, block: block.hash(), signatures: vec![] };
    store.insert(4, &block.to_bytes(), &certificate, &state, true).unwrap();
    let kept = [1, 2, 3, 4].map(|height| store.block(height).unwrap().is_some());
    assert_eq!(kept, [false, false, true, true]);
    assert!(store.state(&genesis).unwrap() == state);
    let write = store.database.begin_write().unwrap();
    assert!(write.delete_table(ROWS).unwrap());
    write.commit().unwrap();
    assert!(matches!(store.state(&genesis), Err(StoreError::Block(3))));
}

#[test]
fn blocks_that_do_not_follow_are_found() {
    let genesis = genesis(1);
    let (mut store, state) = three_blocks(&genesis);
    let block = octet_coins::PendingTransactions::default().block(&LedgerState::new(&genesis), 0);
    let certificate =
        BlockCertificate { height: 4, round: 0, block: block.hash(), signatures: vec![] };
    store.insert(4, &block.to_bytes(), &certificate, &state, true).unwrap();
    assert!(matches!(store.state(&genesis), Err(StoreError::Block(4))));
}

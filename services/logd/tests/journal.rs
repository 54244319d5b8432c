//! The journal that a killed logd has left.

#![cfg(test)]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use octet_logd::clock::BothClocks;
use octet_logd::journal::{Journal, PipeChunk};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

fn memory() -> OwnedFd {
    memfd_create("journal", MemfdFlags::CLOEXEC).unwrap()
}

fn pipe() -> (OwnedFd, File) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    (reader, writer.into())
}

#[test]
fn moves_bytes_and_gives_them_again() {
    let memory = memory();
    let (reader, mut writer) = pipe();
    let (mut journal, before) = Journal::open(memory.try_clone().unwrap()).unwrap();
    assert!(before.is_empty());
    let now = BothClocks { wall: 5, uptime: 6 };
    assert_eq!(journal.take(&reader, "a", now, 100).unwrap(), None);
    writer.write_all(b"hello world").unwrap();
    let first = journal.take(&reader, "a", now, 5).unwrap().unwrap();
    let second = journal.take(&reader, "a", now, 100).unwrap().unwrap();
    assert_eq!((&first.bytes[..], &second.bytes[..]), (&b"hello"[..], &b" world"[..]));
    assert_eq!(journal.take(&reader, "a", now, 100).unwrap(), None);

    let (mut again, chunks) = Journal::open(memory.try_clone().unwrap()).unwrap();
    assert_eq!(chunks, [first.clone(), second.clone()]);
    assert_eq!((again.id(), again.end()), (journal.id(), journal.end()));
    again.forget(second.at).unwrap();
    assert_eq!(Journal::open(memory.try_clone().unwrap()).unwrap().1, [second]);
    again.forget(again.end()).unwrap();
    assert_eq!(Journal::open(memory).unwrap().1, []);

    drop(writer);
    let end = again.take(&reader, "a", now, 100).unwrap().unwrap();
    assert!(end.bytes.is_empty());
}

/// If logd is killed right after the bytes have moved, the record has no length yet.
#[test]
fn the_last_record_may_lack_its_length() {
    let memory = memory();
    let (reader, mut writer) = pipe();
    let (mut journal, _) = Journal::open(memory.try_clone().unwrap()).unwrap();
    writer.write_all(b"one").unwrap();
    let chunk = journal.take(&reader, "a", BothClocks::default(), 100).unwrap().unwrap();
    let length_at = chunk.at - 64 + 4;
    rustix::io::pwrite(&memory, &u32::MAX.to_ne_bytes(), length_at).unwrap();
    let (mut again, chunks) = Journal::open(memory.try_clone().unwrap()).unwrap();
    assert_eq!(chunks, std::slice::from_ref(&chunk));
    writer.write_all(b"two").unwrap();
    let next = again.take(&reader, "a", BothClocks::default(), 100).unwrap().unwrap();
    assert_eq!(Journal::open(memory).unwrap().1, [chunk, next]);
}

/// A pending line is restated at the end, so that its first record can be removed.
#[test]
fn restates_a_line() {
    let memory = memory();
    let (mut journal, _) = Journal::open(memory.try_clone().unwrap()).unwrap();
    let at = journal.restate("a", BothClocks::default(), b"begun").unwrap();
    journal.forget(at).unwrap();
    let (_, chunks) = Journal::open(memory).unwrap();
    assert_eq!((chunks.len(), &chunks[0].bytes[..], chunks[0].at), (1, &b"begun"[..], at));
    assert!(chunks[0].restates);
}

/// Removed records release their memory.
#[test]
fn gives_memory_back() {
    let memory = memory();
    let (reader, mut writer) = pipe();
    let (mut journal, _) = Journal::open(memory.try_clone().unwrap()).unwrap();
    for _ in 0..100 {
        writer.write_all(&[b'x'; 16 << 10]).unwrap();
        journal.take(&reader, "a", BothClocks::default(), 16 << 10).unwrap().unwrap();
    }
    let blocks = || rustix::fs::fstat(&memory).unwrap().st_blocks;
    assert!(blocks() * 512 > 1_600_000);
    journal.forget(journal.end()).unwrap();
    assert!(blocks() * 512 < 20_000, "{}", blocks());
}

proptest! {
    /// With arbitrary content there is no panic, and the journal is usable.
    #[test]
    fn survives_anything(
        begin in 4090u64..4200, whole in any::<bool>(),
        rest in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            Just(b"OCTJ\xff\xff\xff\xff".to_vec()), Just(b"OCTJ\x05\0\0\0".to_vec()),
        ], 0..5),
    ) {
        let memory = memory();
        let mut page = if whole { b"OCTETJNL\x01\0\0\0\0\0\0\0".to_vec() } else { vec![] };
        page.extend(begin.to_le_bytes());
        rustix::io::pwrite(&memory, &page, 0).unwrap();
        rustix::io::pwrite(&memory, &rest.concat(), 4096).unwrap();
        let (mut journal, before) = Journal::open(memory.try_clone().unwrap()).unwrap();
        let (reader, mut writer) = pipe();
        writer.write_all(b"line").unwrap();
        let chunk = journal.take(&reader, "a", BothClocks::default(), 100).unwrap().unwrap();
        prop_assert_eq!(&chunk.bytes[..], b"line");
        let all: Vec<PipeChunk> = before.into_iter().chain([chunk]).collect();
        prop_assert_eq!(Journal::open(memory).unwrap().1, all);
    }
}

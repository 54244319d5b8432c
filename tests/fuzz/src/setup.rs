//! Set-ups of paths from neighbours, and the answers to them.

use octet_forward::onion::{
    ANSWER, HopRecord, HopReply, HopRole, OnionSecret, PlannedHop, RECORD, Reason, SETUP, Terms,
    build, open,
};

/// The hop's secret, to which the inputs in `corpus/` are sealed.
const SECRET: [u8; 32] = [1; 32];

/// The seed of the set-up to which the input is an answer.
const SEED: [u8; 32] = [2; 32];

/// A layer that is opened is the same when it is opened again, the next layer is not for the same
/// hop, and the set-up can be answered. An answer never results in a path with other hops than
/// requested. Records and answers have one encoding.
pub fn setup(bytes: &[u8]) {
    let keys = [OnionSecret::new(&SECRET).expect("32 bytes are a secret")];
    let message: [u8; SETUP] = begin(bytes);
    if let Ok(opened) = open(&keys, &message) {
        assert_eq!(open(&keys, &message).map(|again| again.replay), Ok(opened.replay));
        assert!(open(&keys, &opened.forward).is_err());
        let back = opened.reply.answer(&opened.forward, HopReply::Refused(Reason::Policy));
        assert_ne!(back, opened.forward);
    }
    let terms = Terms { issued: 0, lifetime: 1, rate: 0, flags: 0 };
    let role = HopRole::End { inner_key: [3; 32], path: 0 };
    let hop = PlannedHop { onion_key: *keys[0].public(), record: HopRecord { terms, role } };
    let (_, pending) = build(&[hop], SEED).expect("one hop is a path");
    if let Ok(granted) = pending.finish(&message) {
        assert_eq!(granted.hops.len(), 1);
    }
    let record: [u8; RECORD] = begin(bytes);
    if let Some(read) = HopRecord::from_bytes(&record) {
        assert_eq!(read.to_bytes(), record);
    }
    let answer: [u8; ANSWER] = begin(bytes);
    if let Some(read) = HopReply::from_bytes(&answer) {
        assert_eq!(read.to_bytes(), answer);
    }
}

/// The first bytes, padded with zeros.
fn begin<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut begin = [0; N];
    let count = bytes.len().min(N);
    begin[..count].copy_from_slice(&bytes[..count]);
    begin
}

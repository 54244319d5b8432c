use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use octet_node::address::NodeAddress;

const NOW: u64 = 1_800_000_000;

const GRANT: HopGrant = HopGrant { lifetime: 600, rate: 9_000 };

/// A fixed secret, so that failures are reproducible.
fn secret(number: u8) -> OnionSecret {
    OnionSecret::new(&[number + 1; 32]).unwrap()
}

fn relay(number: u8) -> HopRecord {
    let mut octets = [number; 16];
    octets[0] = 0xfc;
    let next = NodeAddress::try_from(octets).unwrap();
    let terms = Terms { issued: NOW, lifetime: 900, rate: 10_000, flags: 0 };
    HopRecord { terms, role: HopRole::Relay { next } }
}

fn end() -> HopRecord {
    let role = HopRole::End { inner_key: [0x77; 32], path: 5 };
    HopRecord { role, ..relay(0) }
}

/// A path over the first `count` nodes.
fn hops(count: usize) -> Vec<PlannedHop> {
    let hop = |place: usize| {
        let number = u8::try_from(place).unwrap();
        let record = if place + 1 == count { end() } else { relay(number + 1) };
        PlannedHop { onion_key: *secret(number).public(), record }
    };
    (0..count).map(hop).collect()
}

fn own(number: usize) -> [OnionSecret; 2] {
    // The previous key is accepted, too.
    [secret(200), secret(u8::try_from(number).unwrap())]
}

/// The set-up as each hop receives it through `wire`, which gets the number of the link and the bytes.
fn out(
    count: usize,
    first: SetUp,
    wire: &dyn Fn(usize, &mut SetUp),
) -> Result<Vec<OpenedSetup>, usize> {
    let mut opened: Vec<OpenedSetup> = Vec::new();
    for place in 0..count {
        let mut bytes = opened.last().map_or(first, |it| it.forward);
        wire(place, &mut bytes);
        opened.push(open(&own(place), &bytes).map_err(|_| place)?);
    }
    Ok(opened)
}

fn accepts(role: HopRole) -> HopReply {
    match role {
        HopRole::Relay { .. } => HopReply::Relay(GRANT),
        HopRole::End { .. } => HopReply::End { grant: GRANT, inner_key: [0x55; 32] },
    }
}

/// The answer that the source receives when `opened` answer, the last one with `last`; the link has the number
/// of the sending hop.
fn back(opened: Vec<OpenedSetup>, last: HopReply, wire: &dyn Fn(usize, &mut SetUp)) -> SetUp {
    let mut bytes = opened.last().unwrap().forward;
    let turn = opened.len() - 1;
    for (place, it) in opened.into_iter().enumerate().rev() {
        let answer = if place == turn { last } else { accepts(it.record.role) };
        bytes = it.reply.answer(&bytes, answer);
        wire(place, &mut bytes);
    }
    bytes
}

fn untouched(_: usize, _: &mut SetUp) {}

fn share_a_window(one: &[u8], other: &[u8]) -> bool {
    let windows: std::collections::HashSet<&[u8]> = one.windows(16).collect();
    other.windows(16).any(|window| windows.contains(window))
}

#[test]
fn each_hop_reads_its_own_part_and_the_source_all_answers() {
    for count in 1..=HOPS {
        let hops = hops(count);
        let (first, pending) = build(&hops, [9; 32]).unwrap();
        let opened = out(count, first, &untouched).unwrap();
        for (place, it) in opened.iter().enumerate() {
            assert_eq!(it.record, hops[place].record);
        }
        let bytes = back(opened, accepts(end().role), &untouched);
        let granted = pending.finish(&bytes).unwrap();
        assert_eq!(granted, Granted { hops: vec![GRANT; count], inner_key: [0x55; 32] });
    }
}

#[test]
fn a_hop_finds_nothing_in_what_is_for_another() {
    let (first, _) = build(&hops(3), [9; 32]).unwrap();
    assert!(open(&own(0), &first).is_ok());
    assert_eq!(open(&own(1), &first).unwrap_err(), HopError::NotForUs);
    assert_eq!(open(&[], &first).unwrap_err(), HopError::NotForUs);
    // If one hop is left out, the hop after next finds no slot either.
    let second = open(&own(0), &first).unwrap().forward;
    assert_eq!(open(&own(2), &second).unwrap_err(), HopError::NotForUs);
    assert_eq!(open(&own(0), &second).unwrap_err(), HopError::NotForUs);
}

#[test]
fn the_source_learns_who_refuses_and_why() {
    for count in 1..=HOPS {
        for turn in 0..count {
            let (first, pending) = build(&hops(count), [3; 32]).unwrap();
            let mut opened = out(count, first, &untouched).unwrap();
            opened.truncate(turn + 1);
            let bytes = back(opened, HopReply::Refused(Reason::Full), &untouched);
            assert_eq!(pending.finish(&bytes), Err(PathFailure::Refused(turn, Reason::Full)));
        }
    }
}

#[test]
fn nobody_accepts_for_another() {
    let turned = |turn: usize, last| {
        let (first, pending) = build(&hops(3), [3; 32]).unwrap();
        let mut opened = out(3, first, &untouched).unwrap();
        opened.truncate(turn + 1);
        pending.finish(&back(opened, last, &untouched))
    };
    assert!(turned(2, accepts(end().role)).is_ok());
    assert_eq!(turned(1, HopReply::Relay(GRANT)), Err(PathFailure::Broken(1)));
    assert_eq!(turned(1, accepts(end().role)), Err(PathFailure::Broken(1)));
    assert_eq!(turned(2, HopReply::Relay(GRANT)), Err(PathFailure::Broken(2)));
}

#[test]
fn the_same_message_is_known_again() {
    let (first, _) = build(&hops(2), [3; 32]).unwrap();
    let replay = |bytes| open(&own(0), bytes).unwrap().replay;
    assert_eq!(replay(&first), replay(&first));
    let (other, _) = build(&hops(2), [4; 32]).unwrap();
    assert_ne!(replay(&first), replay(&other));
}

#[test]
fn what_is_no_path_is_not_built() {
    let built = |hops: &[PlannedHop]| build(hops, [3; 32]).unwrap_err();
    assert_eq!(built(&[]), InvalidHops::Length(0));
    assert_eq!(built(&hops(HOPS + 1)), InvalidHops::Length(HOPS + 1));
    assert_eq!(built(&hops(3)[..2]), InvalidHops::Role(1));
    assert_eq!(built(&[hops(1), hops(2)].concat()), InvalidHops::Role(0));
    // The neutral point gives the same result with every secret.
    let none = PlannedHop { onion_key: [0; 32], record: relay(1) };
    assert_eq!(built(&[vec![none], hops(1)].concat()), InvalidHops::Key(0));
}

#[test]
fn every_place_of_a_slot_comes_up() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (first, _) = build(&hops(1), [seed; 32]).unwrap();
        seen.insert(open(&own(0), &first).unwrap().session.to_bytes()[1]);
    }
    assert_eq!(seen.len(), SLOTS);
}

/// Flips each bit of a few bytes of every slot, on every link.
#[test]
fn what_is_altered_on_its_way_out_goes_no_further() {
    let count = 3;
    let (first, _) = build(&hops(count), [6; 32]).unwrap();
    assert!(out(count, first, &untouched).is_ok());
    for place in 0..count {
        for at in (0..SETUP).step_by(7) {
            let flip = |wire: usize, bytes: &mut SetUp| {
                if wire == place {
                    bytes[at] ^= 1 << (at % 8);
                }
            };
            assert_eq!(out(count, first, &flip).unwrap_err(), place, "byte {at}");
        }
    }
}

#[test]
fn what_is_altered_on_its_way_back_is_seen() {
    let count = 3;
    let (first, pending) = build(&hops(count), [6; 32]).unwrap();
    for turn in 0..count {
        for place in 0..=turn {
            for at in (0..SETUP).step_by(13) {
                let mut opened = out(count, first, &untouched).unwrap();
                opened.truncate(turn + 1);
                let flip = |wire: usize, bytes: &mut SetUp| {
                    if wire == place {
                        bytes[at] ^= 1 << (at % 8);
                    }
                };
                let bytes = back(opened, HopReply::Refused(Reason::Full), &flip);
                let Err(PathFailure::Broken(seen)) = pending.finish(&bytes) else {
                    panic!("byte {at} of what hop {place} sends")
                };
                assert!(seen <= place, "byte {at}: seen at {seen}, altered at {place}");
            }
        }
    }
}

fn path(count: usize, seed: [u8; 32]) -> (HopChanges, Vec<HopSession>) {
    let (first, pending) = build(&hops(count), seed).unwrap();
    let opened = out(count, first, &untouched).unwrap();
    (pending.changes(), opened.into_iter().map(|it| it.session).collect())
}

#[test]
fn a_change_reaches_every_hop_once() {
    for count in 1..=HOPS {
        let (mut source, mut sessions) = path(count, [5; 32]);
        for change in [HopChange::Refresh(GRANT), HopChange::TearDown] {
            let mut bytes = source.change(change);
            source = HopChanges::from_bytes(&source.to_bytes()).unwrap();
            for session in &mut sessions {
                let saved = HopSession::from_bytes(&session.to_bytes()).unwrap();
                assert_eq!(&saved, session);
                let (read, passed) = session.change(&bytes).unwrap();
                assert_eq!(read, change);
                assert_eq!(session.change(&bytes), Err(HopError::Old));
                assert!(!share_a_window(&bytes[COUNTER..], &passed[COUNTER..]));
                bytes = passed;
            }
        }
    }
}

#[test]
fn a_change_by_another_an_old_one_or_an_altered_one_is_none() {
    let (mut source, mut sessions) = path(3, [5; 32]);
    let (mut other, _) = path(3, [6; 32]);
    let session = &mut sessions[0];
    let (old, new) = (source.change(HopChange::TearDown), source.change(HopChange::Refresh(GRANT)));
    assert_eq!(session.change(&other.change(HopChange::TearDown)), Err(HopError::Forged));
    for bit in 0..CHANGE * 8 {
        let mut altered = new;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(session.change(&altered).is_err(), "bit {bit}");
    }
    assert_eq!(session.change(&new).unwrap().0, HopChange::Refresh(GRANT));
    assert_eq!(session.change(&old), Err(HopError::Old));
    // The next hop refuses it too, because it was not forwarded by the hop before.
    assert_eq!(sessions[1].change(&new), Err(HopError::Forged));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// For any path, no two links carry the same bytes at any position, in either direction.
    #[test]
    fn no_two_wires_are_alike(count in 1..=HOPS, seed: [u8; 32], turn: Index) {
        let (first, pending) = build(&hops(count), seed).unwrap();
        let mut opened = out(count, first, &untouched).unwrap();
        let mut wires = vec![first];
        wires.extend(opened.iter().map(|it| it.forward));
        let turn = turn.index(count);
        opened.truncate(turn + 1);
        wires.truncate(turn + 1);
        let mut bytes = opened.last().unwrap().forward;
        for it in opened.into_iter().rev() {
            bytes = it.reply.answer(&bytes, HopReply::Refused(Reason::Other(99)));
            wires.push(bytes);
        }
        for (at, one) in wires.iter().enumerate() {
            for other in &wires[at + 1..] {
                prop_assert!(!share_a_window(one, other));
            }
        }
        prop_assert_eq!(pending.finish(&bytes), Err(PathFailure::Refused(0, Reason::Other(99))));
    }

    /// With one bit flipped on any link of any path, the next hop refuses the message.
    #[test]
    fn any_bit_on_any_wire_out(
        count in 1..=HOPS, seed: [u8; 32], wire: Index, bit in 0..SETUP * 8,
    ) {
        let (first, _) = build(&hops(count), seed).unwrap();
        let place = wire.index(count);
        let flip = |wire: usize, bytes: &mut SetUp| {
            if wire == place {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        };
        prop_assert_eq!(out(count, first, &flip).unwrap_err(), place);
    }

    #[test]
    fn any_bit_on_any_wire_back(
        count in 1..=HOPS, seed: [u8; 32], wire: Index, bit in 0..SETUP * 8,
    ) {
        let (first, pending) = build(&hops(count), seed).unwrap();
        let opened = out(count, first, &untouched).unwrap();
        let place = wire.index(count);
        let flip = |wire: usize, bytes: &mut SetUp| {
            if wire == place {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        };
        let bytes = back(opened, accepts(end().role), &flip);
        prop_assert!(matches!(pending.finish(&bytes), Err(PathFailure::Broken(_))));
    }

    #[test]
    fn random_bytes_are_nothing(seed: [u8; 32]) {
        let mut bytes = [0; SETUP];
        keys::stream(&seed, 0, &mut bytes);
        prop_assert_eq!(open(&own(0), &bytes).unwrap_err(), HopError::NotForUs);
        prop_assert!(build(&hops(1), [5; 32]).unwrap().1.finish(&bytes).is_err());
        let (mut source, mut sessions) = path(1, [5; 32]);
        let mut change = source.change(HopChange::TearDown);
        change[COUNTER..].copy_from_slice(&bytes[..CHANGE - COUNTER]);
        prop_assert_eq!(sessions[0].change(&change), Err(HopError::Forged));
    }

    #[test]
    fn records_and_answers_have_one_encoding(
        record in prop::collection::vec(any::<u8>(), 56), answer in prop::collection::vec(any::<u8>(), 40),
        kind in 0u8..5, cut in 0usize..56,
    ) {
        let mut bytes = [0; RECORD];
        bytes[..56].copy_from_slice(&record);
        bytes[0] = kind;
        bytes[16] = 0xfc;
        bytes[cut.max(17)..].fill(0);
        if let Some(record) = HopRecord::from_bytes(&bytes) {
            prop_assert_eq!(record.to_bytes(), bytes);
        }
        let mut bytes = [0; ANSWER];
        bytes[..40].copy_from_slice(&answer);
        bytes[0] = kind;
        bytes[cut.max(1)..].fill(0);
        if let Some(answer) = HopReply::from_bytes(&bytes) {
            prop_assert_eq!(answer.to_bytes(), bytes);
        }
    }

    #[test]
    fn changes_have_one_encoding(bytes: [u8; 8], kind in 0u8..4) {
        let bytes = [kind, 0, bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]];
        if let Some(change) = HopChange::from_bytes(&bytes) {
            prop_assert_eq!(change.to_bytes(), bytes);
        }
    }
}

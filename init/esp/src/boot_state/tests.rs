use proptest::prelude::*;

use super::*;

/// What `mkenvimage -s 0x200 -p 0` of Debian's u-boot-tools 2023.01 makes of these variables, up to
/// the zeros.
const GOLDEN: &[u8] = b"\x9f\xbf\x40\xf9a=0.3.0-abcdef01\0a_left=good\0b=0.3.1-0123abcd\0\
                        b_left=3\0first=b\0seq=1f\0\0";

fn golden() -> [u8; COPY_SIZE] {
    let mut bytes = [0; COPY_SIZE];
    bytes[..GOLDEN.len()].copy_from_slice(GOLDEN);
    bytes
}

fn slot(name: &str, tries: TriesLeft) -> Option<PlacedSlot> {
    Some(PlacedSlot { name: name.parse().unwrap(), tries })
}

fn state() -> BootState {
    let (a, b) = (slot("0.3.0-abcdef01", TriesLeft::Good), slot("0.3.1-0123abcd", TriesLeft::NEW));
    BootState { a, b, first: SlotPlace::B, seq: 0x1f }
}

/// A copy with these variables and the right checksum.
fn copy(variables: &str) -> [u8; COPY_SIZE] {
    let mut bytes = [0; COPY_SIZE];
    bytes[4..4 + variables.len()].copy_from_slice(variables.as_bytes());
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn as_the_tools_of_u_boot_write_it() {
    assert_eq!(state().render(), golden());
    assert_eq!(BootState::parse(&golden()), Some(state()));
    let initial = BootState::initial("1.0-a".parse().unwrap());
    assert_eq!(initial.render(), copy("a=1.0-a\0a_left=3\0first=a\0seq=1\0"));
    assert_eq!(BootState::parse(&initial.render()), Some(initial));
}

#[test]
fn what_is_not_as_agreed_is_not_valid() {
    let good = "a=1\0a_left=3\0first=a\0other=x\0seq=7fffffff\0";
    assert_eq!(BootState::parse(&copy(good)).unwrap().seq, MAX_SEQ);
    for (from, to) in [
        ("=3", "=33"),
        ("=3", "="),
        ("=3", "=+"),
        ("a_left", "x"),
        ("a=1", "a=/"),
        ("first=a", "first=c"),
        ("first=a\0", ""),
        ("=7", "=8"),
        ("=7", "=0x7"),
        ("=7", "=+"),
        ("seq", "sequ"),
        ("a=1\0", "\0a=1\0"),
    ] {
        assert_eq!(BootState::parse(&copy(&good.replacen(from, to, 1))), None, "{from} {to}");
    }
    // What follows the end is no variable.
    let state = BootState::parse(&copy(&format!("{good}\0b=2\0b_left=3\0"))).unwrap();
    assert_eq!(state.b, None);
    assert_eq!(BootState::parse(&[0; COPY_SIZE]), None);
    assert_eq!(BootState::parse(&[0xff; COPY_SIZE]), None);
}

#[test]
fn the_older_copy_is_written() {
    let mut copies = [[0; COPY_SIZE]; 2];
    assert_eq!(BootState::newest(&copies), None);
    for (write, at) in (1..6).zip([0, 1, 0, 1, 0]) {
        let next = BootState { seq: 0, ..state() }.write_over(&copies).unwrap();
        assert_eq!(next.offset, COPY_OFFSETS[at]);
        copies[at] = next.bytes;
        assert_eq!(BootState::newest(&copies).unwrap().seq, write);
    }
    // A torn copy is the one that is written next, whatever its age.
    copies[0][20] ^= 1;
    assert_eq!(BootState::newest(&copies).unwrap().seq, 4);
    let next = state().write_over(&copies).unwrap();
    assert_eq!((next.offset, BootState::parse(&next.bytes).unwrap().seq), (0, 5));
    let last = [BootState { seq: MAX_SEQ, ..state() }.render(), [0; COPY_SIZE]];
    assert_eq!(state().write_over(&last), Err(StateWornOut));
}

#[test]
fn which_place_starts() {
    use SlotPlace::{A, B};
    let (good, tried, out) = (TriesLeft::Good, TriesLeft::Count(1), TriesLeft::Count(0));
    for (a, b, order) in [
        (Some(good), Some(good), [B, A]),
        (Some(good), Some(tried), [B, A]),
        (Some(good), Some(out), [A, B]),
        (Some(tried), Some(out), [A, B]),
        (Some(out), Some(out), [B, A]),
        (Some(good), None, [A, B]),
        (Some(out), None, [B, A]),
        (None, None, [B, A]),
    ] {
        let of = |tries: Option<TriesLeft>| tries.and_then(|tries| slot("1", tries));
        let state = BootState { a: of(a), b: of(b), first: B, seq: 1 };
        assert_eq!(state.start_order(), order, "{a:?} {b:?}");
    }
}

#[test]
fn restored_from_the_names_in_both_places() {
    let [old, new] = ["1-a", "1-b"].map(|name| name.parse::<SlotName>().unwrap());
    let state = BootState::restored([Some(old.clone()), Some(new.clone())], &new).unwrap();
    assert_eq!((state.first, state.place_of(&old)), (SlotPlace::B, Some(SlotPlace::A)));
    assert_eq!(state.a, slot("1-a", TriesLeft::NEW));
    assert_eq!(BootState::restored([Some(old), None], &new), None);
}

fn any_slot() -> impl Strategy<Value = Option<PlacedSlot>> {
    let tries = prop_oneof![Just(TriesLeft::Good), (0..10u8).prop_map(TriesLeft::Count)];
    prop::option::of(
        ("[a-z0-9]([a-z0-9.-]{0,46}[a-z0-9])?", tries)
            .prop_map(|(name, tries)| PlacedSlot { name: name.parse().unwrap(), tries }),
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(a in any_slot(), b in any_slot(), is_b: bool, seq in 0..=MAX_SEQ) {
        let first = if is_b { SlotPlace::B } else { SlotPlace::A };
        let state = BootState { a, b, first, seq };
        let bytes = state.render();
        prop_assert_eq!(BootState::parse(&bytes), Some(state));
    }

    #[test]
    fn a_changed_bit_is_noticed(at in 0..COPY_SIZE, bit in 0..8u8) {
        let mut bytes = golden();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(BootState::parse(&bytes), None);
    }

    #[test]
    fn never_panics(
        mut bytes in prop::collection::vec(any::<u8>(), COPY_SIZE),
        variables in "((a|b|first|seq)(_left)?=?[ab0-9.\\-]{0,5}\\x00){0,12}",
        is_summed: bool,
    ) {
        if is_summed {
            let sum = crc32fast::hash(&bytes[4..]);
            bytes[..4].copy_from_slice(&sum.to_le_bytes());
        }
        let copies = [bytes.try_into().unwrap(), copy(&variables)];
        let _ = BootState::newest(&copies);
        let write = state().write_over(&copies);
        prop_assert!(write.is_ok() || BootState::newest(&copies).unwrap().seq == MAX_SEQ);
    }
}

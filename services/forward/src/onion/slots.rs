//! The slots of a message, and the key streams over them.

use std::ops::Range;

use super::SLOTS;
use super::keys::stream;

/// Where slot `index` is in `body`, which is nothing but slots.
pub(super) fn range(body: &[u8], index: usize) -> Range<usize> {
    let size = body.len() / SLOTS;
    index * size..(index + 1) * size
}

/// What a hop passes on: its own slot emptied, and the key stream over all. Where its slot was there is nothing
/// but key stream, as there is under the slots that are in no use.
pub(super) fn pass(body: &mut [u8], own: usize, key: &[u8; 32], number: u64) {
    let range = range(body, own);
    body[range].fill(0);
    stream(key, number, body);
}

/// What all hops must get so that each finds its slot as `seal` made it: `hops` are their slots and the keys of
/// their streams, in the order of the path, and `body` has random bytes where no hop has its slot. `seal` gets
/// the number of the hop and the whole body as the hop will get it, with that slot zeroed, which it fills.
pub(super) fn wrap<E>(
    body: &mut [u8],
    hops: &[(usize, &[u8; 32])],
    number: u64,
    mut seal: impl FnMut(usize, Range<usize>, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    // As the last hop gets it, but for its slot.
    for (slot, key) in hops {
        pass(body, *slot, key, number);
    }
    for (place, (slot, key)) in hops.iter().enumerate().rev() {
        // Takes off what the hop lays over it, and leaves its own slot zeroed.
        stream(key, number, body);
        let range = range(body, *slot);
        seal(place, range, body)?;
    }
    Ok(())
}

//! The slots of a message, and their key streams.

use std::ops::Range;

use super::SLOTS;
use super::keys::stream;

/// The range of slot `index` in `body`, which consists of slots only.
pub(super) fn range(body: &[u8], index: usize) -> Range<usize> {
    let size = body.len() / SLOTS;
    index * size..(index + 1) * size
}

/// What a hop does before it forwards: it zeroes its slot and applies the key stream to all slots. Its slot
/// then holds nothing but key stream, as unused slots do.
pub(super) fn pass(body: &mut [u8], own: usize, key: &[u8; 32], number: u64) {
    let range = range(body, own);
    body[range].fill(0);
    stream(key, number, body);
}

/// Wraps the message so that each hop finds its slot as `seal` made it. `hops` are their slots and stream keys,
/// in the order of the path, and `body` has random bytes in unused slots. `seal` is called with the hop's
/// number and the whole body as the hop will receive it, with its slot zeroed, and fills that slot.
pub(super) fn wrap<E>(
    body: &mut [u8],
    hops: &[(usize, &[u8; 32])],
    number: u64,
    mut seal: impl FnMut(usize, Range<usize>, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    // The body as the last hop receives it, except its slot.
    for (slot, key) in hops {
        pass(body, *slot, key, number);
    }
    for (place, (slot, key)) in hops.iter().enumerate().rev() {
        // Undo the hop's key stream and leave its slot zeroed.
        stream(key, number, body);
        let range = range(body, *slot);
        seal(place, range, body)?;
    }
    Ok(())
}

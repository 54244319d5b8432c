//! Integers of variable length: seven bits per byte, lowest first (LEB128).

pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends the signed difference of `now` and `before`.
pub fn put_step(out: &mut Vec<u8>, before: u64, now: u64) {
    let step = now.wrapping_sub(before).cast_signed();
    put(out, ((step << 1) ^ (step >> 63)).cast_unsigned());
}

/// Removes a number from the front of `bytes`; `None` if there is none.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Removes a difference from the front of `bytes`, and adds it to `before`.
pub fn take_step(bytes: &mut &[u8], before: u64) -> Option<u64> {
    let coded = take(bytes)?;
    let step = (coded >> 1) ^ (coded & 1).wrapping_neg();
    Some(before.wrapping_add(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn come_back(number: u64, before: u64) {
            let mut out = Vec::new();
            put(&mut out, number);
            put_step(&mut out, before, number);
            let mut bytes = out.as_slice();
            prop_assert_eq!(take(&mut bytes), Some(number));
            prop_assert_eq!(take_step(&mut bytes, before), Some(number));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn never_panics(bytes: [u8; 12]) {
            take(&mut &bytes[..]);
        }
    }
}

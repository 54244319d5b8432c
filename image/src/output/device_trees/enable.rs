//! Switching a device on in a device tree (Devicetree Specification 0.4, chapter 5), in its place: a tree keeps its
//! length, and what becomes free is filled with `FDT_NOP`.

/// Where the header says where the structure and the strings are.
const STRUCTURE_AT: usize = 8;
const STRINGS_AT: usize = 12;

/// Tokens of the structure.
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

/// The value that switches on.
const OKAY: &[u8] = b"okay\0";

/// Sets `status` of the node at `path` (`/soc/i2c@1c2ac00`) to `okay`. A node without it is on.
///
/// # Errors
/// There is no such node, or the tree is damaged.
pub fn enable(tree: &mut [u8], path: &str) -> Result<(), &'static str> {
    const DAMAGED: &str = "it is damaged";
    let mut at = word(tree, STRUCTURE_AT).ok_or(DAMAGED)? as usize;
    let strings = word(tree, STRINGS_AT).ok_or(DAMAGED)? as usize;
    let wanted: Vec<&str> = path.split('/').collect();
    let (mut nodes, mut is_there) = (vec![], false);
    loop {
        let token = word(tree, at).ok_or(DAMAGED)?;
        at += 4;
        match token {
            BEGIN_NODE => {
                let name = text(tree, at).ok_or(DAMAGED)?;
                at += (name.len() + 1).next_multiple_of(4);
                nodes.push(name.to_vec());
                is_there |= is_path(&nodes, &wanted);
            }
            END_NODE if is_path(&nodes, &wanted) => return Ok(()),
            END_NODE => {
                nodes.pop().ok_or(DAMAGED)?;
            }
            PROPERTY => {
                let length = word(tree, at).ok_or(DAMAGED)? as usize;
                let name = strings.checked_add(word(tree, at + 4).ok_or(DAMAGED)? as usize);
                let is_status = name.and_then(|name| text(tree, name)).ok_or(DAMAGED)? == b"status";
                let value = at + 8;
                let end = length.checked_next_multiple_of(4).and_then(|it| value.checked_add(it));
                let end = end.filter(|end| *end <= tree.len()).ok_or(DAMAGED)?;
                if is_status && is_path(&nodes, &wanted) {
                    return set_okay(tree, at, value..end);
                }
                at = end;
            }
            NOP => {}
            _ if is_there => return Err(DAMAGED),
            _ => return Err("it has no such device"),
        }
    }
}

/// Writes the value of the property whose length is at `at`, and whose value has the bytes `area`.
fn set_okay(tree: &mut [u8], at: usize, area: std::ops::Range<usize>) -> Result<(), &'static str> {
    let area = &mut tree[area];
    if area.starts_with(OKAY) {
        return Ok(());
    }
    let Some((value, rest)) = area.split_at_mut_checked(OKAY.len().next_multiple_of(4)) else {
        return Err("the status of the device has another value than `disabled`");
    };
    value.fill(0);
    value[..OKAY.len()].copy_from_slice(OKAY);
    rest.chunks_exact_mut(4).for_each(|token| token.copy_from_slice(&NOP.to_be_bytes()));
    tree[at..at + 4].copy_from_slice(&(OKAY.len() as u32).to_be_bytes());
    Ok(())
}

/// Whether the open `nodes` are those of `path`; the root has no name.
fn is_path(nodes: &[Vec<u8>], path: &[&str]) -> bool {
    nodes.iter().map(Vec::as_slice).eq(path.iter().map(|name| name.as_bytes()))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

/// The text at `at`, which a zero ends.
fn text(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)?.split(|byte| *byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What dtc 1.6.1 makes of this (its strings: `reg`, `status`):
    ///
    /// ```text
    /// /dts-v1/;
    /// / {
    ///     soc {
    ///         i2c@1 { status = "disabled"; reg = <1>; };
    ///         i2c@2 { reg = <2>; };
    ///     };
    /// };
    /// ```
    const TREE: &str = "\
        d00dfeed000000b700000038000000ac000000280000001100000010000000000000000b000000740000000000000000\
        0000000000000000000000010000000000000001736f6300000000016932634031000000000000030000000900000000\
        64697361626c656400000000000000030000000400000007000000010000000200000001693263403200000000000003\
        000000040000000700000002000000020000000200000002000000097374617475730072656700";

    /// The same, of which dtc says `status = "okay"`.
    const CHANGED: &str = "\
        d00dfeed000000b700000038000000ac000000280000001100000010000000000000000b000000740000000000000000\
        0000000000000000000000010000000000000001736f6300000000016932634031000000000000030000000500000000\
        6f6b61790000000000000004000000030000000400000007000000010000000200000001693263403200000000000003\
        000000040000000700000002000000020000000200000002000000097374617475730072656700";

    fn tree() -> Vec<u8> {
        data_encoding::HEXLOWER.decode(TREE.as_bytes()).unwrap()
    }

    #[test]
    fn as_dtc_reads_it() {
        let mut changed = tree();
        enable(&mut changed, "/soc/i2c@1").unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&changed), CHANGED);
        let once = changed.clone();
        enable(&mut changed, "/soc/i2c@1").unwrap();
        assert_eq!(changed, once);
        // Without a status it is on.
        enable(&mut changed, "/soc/i2c@2").unwrap();
        assert_eq!(changed, once);
        for other in ["/soc/i2c@3", "/i2c@1", "soc/i2c@1", "/soc/i2c@1/x"] {
            assert_eq!(enable(&mut tree(), other), Err("it has no such device"), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_tree(at in 0..1000_usize, byte: u8, len in 0..1000_usize) {
            let mut tree = tree();
            let size = tree.len();
            tree[at % size] = byte;
            tree.truncate(len % (size + 1));
            let len = tree.len();
            let _ = enable(&mut tree, "/soc/i2c@1");
            prop_assert_eq!(tree.len(), len);
        }
    }
}

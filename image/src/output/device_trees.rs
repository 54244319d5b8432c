//! The device trees of a slot, as one file of which U-Boot's script (`boot.cmd`) reads the index and one tree. The index
//! is text for `env import -t`: a line `FDTFILE=SIZE OFFSET` for each tree, in hexadecimal digits, zeros to its end.

mod enable;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use miette::Diagnostic;

/// Bytes of the index; the script has the same number.
const INDEX_SIZE: usize = 8192;

/// Trees begin at multiples of so many bytes.
const ALIGNMENT: usize = 512;

/// The I2C bus on the pin header of a board, to which a display is connected, by the beginning of the tree's name. In
/// Linux's trees it is off, since its pins may be used for other things. On a Raspberry Pi it is on.
const DISPLAY_BUSES: [(&str, &str); 4] = [
    ("allwinner/sun50i-h5-orangepi-", "/soc/i2c@1c2ac00"),
    ("allwinner/sun50i-h5-nanopi-neo", "/soc/i2c@1c2ac00"),
    ("allwinner/sun50i-a64-pine64", "/soc/i2c@1c2b000"),
    ("allwinner/sun50i-a64-sopine", "/soc/i2c@1c2b000"),
];

/// The first bytes of a tree (Devicetree Specification, 5.2).
const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// A file of device trees that cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum DeviceTreesError {
    #[error("{0} of the kernel's package is not a device tree")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    NoTree(String),
    #[error("the name `{0}` of a device tree cannot be one of a variable of U-Boot's")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    Name(String),
    #[error("{device} cannot be switched on in {name}: {why}")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    Device { name: String, device: &'static str, why: &'static str },
    #[error("the index of the device trees needs {0} bytes, and has {INDEX_SIZE}")]
    #[diagnostic(help("this is a fault of Octet's: please report it"))]
    Index(usize),
}

/// A tree as a slot has it: with the bus of a display.
fn with_display_bus(name: &str, tree: &[u8]) -> Result<Vec<u8>, DeviceTreesError> {
    let mut tree = tree.to_vec();
    let bus = DISPLAY_BUSES.iter().find(|(start, _)| name.starts_with(start));
    if let Some((_, device)) = bus {
        let failed = |why| DeviceTreesError::Device { name: name.to_owned(), device, why };
        enable::enable(&mut tree, device).map_err(failed)?;
    }
    Ok(tree)
}

/// The file with these trees, by the names that U-Boot has in `fdtfile`.
pub fn render(trees: &BTreeMap<&str, &[u8]>) -> Result<Vec<u8>, DeviceTreesError> {
    let (mut index, mut content) = (String::new(), vec![]);
    for (name, tree) in trees {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.,_+-".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(DeviceTreesError::Name((*name).to_owned()));
        }
        if !tree.starts_with(&MAGIC) {
            return Err(DeviceTreesError::NoTree((*name).to_owned()));
        }
        let tree = with_display_bus(name, tree)?;
        content.resize(content.len().next_multiple_of(ALIGNMENT), 0);
        let _ = writeln!(index, "{name}={:x} {:x}", tree.len(), INDEX_SIZE + content.len());
        content.extend(tree);
    }
    // A zero ends the text.
    if index.len() >= INDEX_SIZE {
        return Err(DeviceTreesError::Index(index.len() + 1));
    }
    let mut file = index.into_bytes();
    file.resize(INDEX_SIZE, 0);
    file.extend(content);
    Ok(file)
}

/// The trees in such a file, by their names.
///
/// # Errors
/// It is no such file; in words.
pub fn parse(file: &[u8]) -> Result<BTreeMap<&str, &[u8]>, &'static str> {
    let index = file.get(..INDEX_SIZE).ok_or("it is shorter than its index")?;
    let index = index.split(|byte| *byte == 0).next().unwrap_or_default();
    let index = std::str::from_utf8(index).map_err(|_| "its index is not text")?;
    let mut trees = BTreeMap::new();
    for line in index.lines() {
        let number = |text| usize::from_str_radix(text, 16).ok();
        let found = || {
            let (name, place) = line.split_once('=')?;
            let (size, at) = place.split_once(' ')?;
            let at = number(at)?;
            Some((name, file.get(at..at.checked_add(number(size)?)?)?))
        };
        let (name, tree) = found().ok_or("its index names a tree that is not there")?;
        trees.insert(name, tree);
    }
    Ok(trees)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(content: &[u8]) -> Vec<u8> {
        [&MAGIC, content].concat()
    }

    #[test]
    fn bytes() {
        let (long, short) = (tree(&[1; 600]), tree(b"x"));
        let trees = BTreeMap::from([
            ("broadcom/bcm2837-rpi-3-b.dtb", &short[..]),
            ("allwinner/sun50i-h5-libretech.dtb", &long[..]),
        ]);
        let index = "allwinner/sun50i-h5-libretech.dtb=25c 2000\n\
                     broadcom/bcm2837-rpi-3-b.dtb=5 2400\n";
        let mut file = index.as_bytes().to_vec();
        file.resize(0x2000, 0);
        file.extend(&long);
        file.resize(0x2400, 0);
        file.extend(b"\xd0\x0d\xfe\xedx");
        assert_eq!(render(&trees).unwrap(), file);
    }

    #[test]
    fn a_board_without_its_bus_is_refused() {
        let name = "allwinner/sun50i-h5-nanopi-neo2.dtb";
        let refused = render(&BTreeMap::from([(name, &tree(&[0; 100])[..])]));
        assert!(matches!(refused, Err(DeviceTreesError::Device { name: it, .. }) if it == name));
    }

    #[test]
    fn what_u_boot_could_not_read_is_refused() {
        let (one, other) = (tree(b"x"), b"MZ".to_vec());
        let no_tree = render(&BTreeMap::from([("a/b.dtb", &other[..])]));
        assert_eq!(no_tree, Err(DeviceTreesError::NoTree("a/b.dtb".into())));
        for name in ["", "a=b", "a b", "a\nb", "a$b", "ä"] {
            let named = render(&BTreeMap::from([(name, &one[..])]));
            assert_eq!(named, Err(DeviceTreesError::Name(name.into())));
        }
        // A line of `NAME=5 OFFSET` and its newline.
        let fits = |name: usize| render(&BTreeMap::from([(&*"n".repeat(name), &one[..])]));
        assert!(fits(INDEX_SIZE - 9).is_ok());
        assert_eq!(fits(INDEX_SIZE - 8), Err(DeviceTreesError::Index(INDEX_SIZE + 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// By the script's words: the index has 2000 hexadecimal bytes, and its numbers are SIZE and OFFSET.
        #[test]
        fn what_the_index_says_is_there(
            trees in prop::collection::btree_map(
                "[a-z]{1,8}/[a-z0-9-]{1,20}\\.dtb", prop::collection::vec(any::<u8>(), 0..3000), 0..60,
            ),
        ) {
            let trees: BTreeMap<_, _> = trees.into_iter().map(|(name, it)| (name, tree(&it))).collect();
            let file = render(&trees.iter().map(|(name, it)| (name.as_str(), &it[..])).collect()).unwrap();
            let parsed = parse(&file).unwrap();
            prop_assert_eq!(&parsed, &trees.iter().map(|(name, it)| (name.as_str(), &it[..])).collect());
            let text = file[..0x2000].split(|byte| *byte == 0).next().unwrap();
            prop_assert!(file[text.len()..0x2000].iter().all(|byte| *byte == 0));
            let mut found = BTreeMap::new();
            for line in std::str::from_utf8(text).unwrap().lines() {
                let (name, place) = line.split_once('=').unwrap();
                let (size, at) = place.split_once(' ').unwrap();
                let [size, at] = [size, at].map(|it| usize::from_str_radix(it, 16).unwrap());
                prop_assert!(at % 512 == 0 && at >= 0x2000);
                found.insert(name.to_owned(), file[at..at + size].to_vec());
            }
            prop_assert_eq!(found, trees);
        }

        #[test]
        fn any_file(index in "([a-z/]{0,5}=[0-9a-f]{0,20} ?[0-9a-f]{0,20}\n){0,4}", size in 0..0x2100usize) {
            let mut file = index.into_bytes();
            file.resize(size, 0);
            let _ = parse(&file);
        }
    }
}

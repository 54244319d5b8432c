//! The boot script of U-Boot, by the words of docs/disk.md ("Tries under U-Boot"). It shares no code
//! with the crates that write the state and the files.

use std::collections::BTreeMap;

use octet_esp::boot_state::StateCopies;

use crate::boot_loader::Started;
use crate::flash::{Flash, torn};

type Variables = BTreeMap<String, String>;

/// CRC-32 as zlib has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

/// `env export -c -s 200`.
pub fn export(variables: &Variables) -> [u8; 512] {
    let lines: Vec<String> =
        variables.iter().map(|(key, value)| format!("{key}={value}\0")).collect();
    let mut sector = [0; 512];
    let text = lines.concat();
    sector[4..4 + text.len()].copy_from_slice(text.as_bytes());
    let sum = crc32(&sector[4..]);
    sector[..4].copy_from_slice(&sum.to_le_bytes());
    sector
}

/// `env import -c`: nothing if the sum is wrong.
fn import(sector: &[u8; 512]) -> Option<Variables> {
    let sum = u32::from_le_bytes(sector[..4].try_into().unwrap());
    if sum != crc32(&sector[4..]) {
        return None;
    }
    let text = String::from_utf8(sector[4..].to_vec()).unwrap();
    let lines = text.split('\0').take_while(|line| !line.is_empty());
    let pairs = lines.map(|line| line.split_once('=').unwrap());
    Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The number of the copy that counts, and its variables.
pub fn newest(copies: &StateCopies) -> Option<(usize, Variables)> {
    let seq = |state: &Variables| u32::from_str_radix(&state["seq"], 16).unwrap();
    match [0, 1].map(|at| import(&copies[at])) {
        [Some(first), Some(second)] if seq(&second) > seq(&first) => Some((1, second)),
        [Some(first), _] => Some((0, first)),
        [None, second] => second.map(|second| (1, second)),
    }
}

fn value<'a>(state: &'a Variables, key: &str) -> &'a str {
    state.get(key).map_or("", String::as_str)
}

/// What is loaded from `place`, if it has the slot of that `name` (any, if it is not known).
pub fn load(flash: &Flash, place: &str, name: Option<&str>) -> Option<(Started, String)> {
    let path = format!("octet/{place}.env");
    let text = String::from_utf8(flash.contents().get(&path)?.to_vec()).unwrap();
    let field = |key: &str| -> Option<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.map(str::to_owned)
    };
    let slot = field("slot")?;
    if name.is_some_and(|name| name != slot) {
        return None;
    }
    let file = |key| {
        let path = field(key)?;
        flash.contents().get(path.strip_prefix('/')?).map(<[u8]>::to_vec)
    };
    let (linux, initrd) = (file("linux")?, file("initrd")?);
    // Without it the firmware's tree is used.
    let dtb = field("dtb").map(|_| file("dtb").unwrap_or_default());
    assert!(field("options")?.ends_with(&format!("octet.slot={slot}")), "{text}");
    let trial = field("trial").unwrap_or_default();
    Some((Started { slot, linux, initrd, dtb, entry: path }, trial))
}

/// A start, with what U-Boot writes; `survives` says what a power failure leaves of that, and
/// without it the power stays. Returns what is started, and whether that is on trial.
pub fn start(
    flash: &mut Flash,
    survives: Option<&mut dyn FnMut() -> bool>,
) -> Option<(Started, bool)> {
    use octet_esp::medium::Medium;

    let mut copies = flash.boot_state().unwrap();
    let Some((at, state)) = newest(&copies) else {
        let places = ["a", "b"].into_iter();
        return places.filter_map(|place| load(flash, place, None)).next().map(|it| (it.0, false));
    };
    let first = value(&state, "first");
    let order = [first, if first == "a" { "b" } else { "a" }];
    let left = |place: &str| value(&state, &format!("{place}_left")).to_owned();
    let there = order.into_iter().filter(|place| state.contains_key(*place));
    let usable = there.clone().filter(|place| left(place) != "0");
    for place in usable.chain(there) {
        let Some((started, trial)) = load(flash, place, Some(&state[place])) else { continue };
        let Ok(tries) = left(place).parse::<u32>() else { return Some((started, false)) };
        if tries > 0 {
            let seq = u32::from_str_radix(&state["seq"], 16).unwrap() + 1;
            let mut next = state.clone();
            next.insert(format!("{place}_left"), (tries - 1).to_string());
            next.insert("seq".into(), format!("{seq:x}"));
            let old = copies[1 - at];
            copies[1 - at] = match survives {
                Some(survives) => torn(&old, &export(&next), survives),
                None => export(&next),
            };
            flash.set_boot_state(copies);
        }
        return Some((started, !trial.is_empty()));
    }
    None
}

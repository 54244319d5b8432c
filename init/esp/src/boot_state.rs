//! The boot state of a board that U-Boot starts (docs/disk.md, "Tries under U-Boot"): U-Boot cannot
//! rename files on FAT, so it counts tries in a partition of its own. The format is that of U-Boot's
//! `env export -c`. Nothing here accesses a disk.
//!
//! The partition has two copies, and the older one is written: a torn write leaves the newer one.

use octet_bundle::{SLOTS, SlotName, SlotState, TRIES};

/// The name of the partition in the partition table.
pub const BOOT_STATE: &str = "octet-bootstate";

/// Bytes of the partition.
pub const BOOT_STATE_SIZE: u64 = 1 << 20;

/// Offsets of both copies in the partition, in bytes.
pub const COPY_OFFSETS: [u64; 2] = [0, 512 << 10];

/// Bytes of a copy: a sector.
pub const COPY_SIZE: usize = 512;

/// Both copies, as they are on the medium.
pub type StateCopies = [[u8; COPY_SIZE]; 2];

/// Bytes of the CRC-32 before the variables.
const CHECKSUM: usize = 4;

/// The largest number of a write.
const MAX_SEQ: u32 = 0x7fff_ffff;

/// The value of a slot that was marked good, in place of its tries.
const GOOD: &str = "good";

/// One of the two places for slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotPlace {
    A,
    B,
}

impl SlotPlace {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its name in the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The path of the file that names its slot's files ([`SlotEnv`](octet_bundle::SlotEnv)).
    pub fn env_path(self) -> String {
        format!("{SLOTS}/{}.env", self.name())
    }
}

/// How often a slot may still be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriesLeft {
    /// It was marked good: its starts are not counted.
    Good,
    /// 0 to 9.
    Count(u8),
}

impl TriesLeft {
    /// The tries of a new slot.
    pub const NEW: Self = Self::Count(TRIES as u8);

    /// The same as entries have it.
    pub fn state(self) -> SlotState {
        match self {
            Self::Good => SlotState::Good,
            Self::Count(left) => {
                let left = left.into();
                SlotState::Trying { left, done: TRIES.saturating_sub(left) }
            }
        }
    }
}

/// The slot in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedSlot {
    pub name: SlotName,
    pub tries: TriesLeft,
}

impl PlacedSlot {
    /// A slot that has all of its tries.
    pub fn new(name: SlotName) -> Self {
        Self { name, tries: TriesLeft::NEW }
    }
}

/// What one copy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    pub a: Option<PlacedSlot>,
    pub b: Option<PlacedSlot>,
    /// Which place is started first.
    pub first: SlotPlace,
    /// The number of the write: the copy with the larger one counts.
    seq: u32,
}

/// A copy that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The offset in the partition, in bytes.
    pub offset: u64,
    pub bytes: [u8; COPY_SIZE],
}

/// The state cannot be written any more: its number has reached the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the boot state was written {MAX_SEQ} times, which is the most: flash the disk again")]
pub struct StateWornOut;

impl BootState {
    /// The state of an image that is flashed: one slot, in place a. It is the first write.
    pub fn initial(slot: SlotName) -> Self {
        Self { a: Some(PlacedSlot::new(slot)), b: None, first: SlotPlace::A, seq: 1 }
    }

    /// A state without slots. Its write is the first one if no copy is valid.
    pub fn empty() -> Self {
        Self { a: None, b: None, first: SlotPlace::A, seq: 0 }
    }

    /// The state if both copies are lost, from the slots that the files of both places name: the
    /// `running` one is started first, and each slot has all of its tries. `None` if no file names
    /// the running slot.
    pub fn restored(places: [Option<SlotName>; 2], running: &SlotName) -> Option<Self> {
        let [a, b] = places.map(|name| name.map(PlacedSlot::new));
        let mut state = Self { a, b, first: SlotPlace::A, seq: 0 };
        state.first = state.place_of(running)?;
        Some(state)
    }

    /// The state that counts: the valid copy that was written last.
    pub fn newest(copies: &StateCopies) -> Option<Self> {
        newest(copies).map(|(_, state)| state)
    }

    /// The write that makes this the state that counts: to the older copy, or to one that is not
    /// valid.
    ///
    /// # Errors
    /// The number of the write would be too large.
    pub fn write_over(mut self, copies: &StateCopies) -> Result<StateWrite, StateWornOut> {
        let (at, seq) = newest(copies).map_or((0, self.seq), |(at, state)| (1 - at, state.seq));
        self.seq = seq.checked_add(1).filter(|seq| *seq <= MAX_SEQ).ok_or(StateWornOut)?;
        Ok(StateWrite { offset: COPY_OFFSETS[at], bytes: self.render() })
    }

    /// The slot in `place`.
    pub fn slot(&self, place: SlotPlace) -> Option<&PlacedSlot> {
        match place {
            SlotPlace::A => self.a.as_ref(),
            SlotPlace::B => self.b.as_ref(),
        }
    }

    /// The same, to be changed.
    pub fn slot_mut(&mut self, place: SlotPlace) -> &mut Option<PlacedSlot> {
        match place {
            SlotPlace::A => &mut self.a,
            SlotPlace::B => &mut self.b,
        }
    }

    /// The place of the slot `name`.
    pub fn place_of(&self, name: &SlotName) -> Option<SlotPlace> {
        SlotPlace::BOTH
            .into_iter()
            .find(|place| self.slot(*place).is_some_and(|it| it.name == *name))
    }

    /// The places in the order in which U-Boot starts them. One that is good or has tries left
    /// comes before one that has none; if that decides nothing, `first` does. U-Boot takes the
    /// second place only if the slot of the first cannot be loaded.
    pub fn start_order(&self) -> [SlotPlace; 2] {
        let [first, second] = [self.first, self.first.other()];
        let may_start =
            |place| self.slot(place).is_some_and(|slot| slot.tries != TriesLeft::Count(0));
        if !may_start(first) && may_start(second) { [second, first] } else { [first, second] }
    }

    /// The bytes of a copy: the CRC-32 of what follows, then the variables in alphabetical order,
    /// each with a zero behind it, and zeros.
    pub fn render(&self) -> [u8; COPY_SIZE] {
        let mut text = String::new();
        for place in SlotPlace::BOTH {
            let Some(slot) = self.slot(place) else { continue };
            let key = place.name();
            let left = match slot.tries {
                TriesLeft::Good => GOOD.to_owned(),
                TriesLeft::Count(left) => left.min(9).to_string(),
            };
            text += &format!("{key}={}\0{key}_left={left}\0", slot.name);
        }
        text += &format!("first={}\0seq={:x}\0", self.first.name(), self.seq);
        let mut bytes = [0; COPY_SIZE];
        // Both names are short (`SlotName`), so there is always room.
        bytes[CHECKSUM..CHECKSUM + text.len()].copy_from_slice(text.as_bytes());
        let sum = crc32fast::hash(&bytes[CHECKSUM..]);
        bytes[..CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Parses a copy; `None` if its checksum or one of its values is wrong. Unknown variables are
    /// ignored.
    pub fn parse(bytes: &[u8; COPY_SIZE]) -> Option<Self> {
        let (sum, variables) = bytes.split_at(CHECKSUM);
        if crc32fast::hash(variables).to_le_bytes() != sum {
            return None;
        }
        let value = |name: &str| {
            let lines = variables.split(|byte| *byte == 0).take_while(|line| !line.is_empty());
            let values = lines.filter_map(|line| {
                line.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(str::from_utf8)
            });
            values.last()?.ok()
        };
        let slot = |place: SlotPlace| -> Option<Option<PlacedSlot>> {
            let Some(name) = value(place.name()) else { return Some(None) };
            let tries = match value(&format!("{}_left", place.name()))? {
                GOOD => TriesLeft::Good,
                left => TriesLeft::Count(digit(left)?),
            };
            Some(Some(PlacedSlot { name: name.parse().ok()?, tries }))
        };
        let first = value("first")?;
        let first = SlotPlace::BOTH.into_iter().find(|place| place.name() == first)?;
        let (a, b) = (slot(SlotPlace::A)?, slot(SlotPlace::B)?);
        Some(Self { a, b, first, seq: number(value("seq")?)? })
    }
}

/// The copy that counts, and what it says. If both were the same write, the first does.
fn newest(copies: &StateCopies) -> Option<(usize, BootState)> {
    let valid = copies.iter().map(BootState::parse).enumerate();
    let valid = valid.filter_map(|(at, state)| Some((at, state?)));
    valid.rev().max_by_key(|(_, state)| state.seq)
}

/// One decimal digit.
fn digit(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// The number of a write: `from_str_radix` would also accept a sign.
fn number(text: &str) -> Option<u32> {
    let is_hex = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(is_hex.then_some(text)?, 16).ok()?;
    (number <= MAX_SEQ).then_some(number)
}

#[cfg(test)]
#[path = "boot_state/tests.rs"]
mod tests;

//! Simulates boot loaders, for releases that Debian 12 does not have: it counts the tries of a slot
//! as they do, on the disk of a machine that is off, and starts the kernel of the chosen entry with
//! QEMU's `-kernel`. Unlike systemd-boot it sets no EFI variable.

use std::fs;

use octet_bundle::{ENTRIES, EntryName, SlotName, SlotState};
use octet_machine::{Builder, Machine};

use crate::disk::DiskFile;

/// How a release of systemd-boot counts the tries of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// The release in Debian 12, which is used: an entry without tries left is chosen last, and
    /// each start uses one.
    Systemd252,
    /// An entry is chosen whether it has tries left or not, and the done ones are counted further
    /// (systemd/systemd issue 40192).
    Systemd258,
    /// No entry is renamed (systemd/systemd issue 40405).
    Systemd259,
}

impl Counting {
    pub const ALL: [Self; 3] = [Self::Systemd252, Self::Systemd258, Self::Systemd259];

    /// The state of an entry after a start.
    fn started(self, standing: SlotState) -> SlotState {
        match standing {
            SlotState::Trying { left, done } if self != Self::Systemd259 => {
                SlotState::Trying { left: left.saturating_sub(1), done: done + 1 }
            }
            same => same,
        }
    }

    /// Changes `disk` as this release does up to the start of the kernel. Returns the chosen slot,
    /// and a machine that boots it.
    pub fn boot(self, disk: &DiskFile) -> (SlotName, Builder) {
        let entries = disk.entries();
        let entries = entries.iter().filter_map(|name| {
            let text = disk.esp_get(&format!("{ENTRIES}/{name}"))?;
            Some((EntryName::parse(name)?, String::from_utf8(text).expect("text")))
        });
        let rank = |(name, text): &(EntryName, String)| {
            let has_tries = !matches!(name.state, SlotState::Trying { left: 0, .. });
            let version = field(text, "version")
                .split('-')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0_u64);
            (has_tries || self == Self::Systemd258, version)
        };
        let (name, text) = entries.max_by_key(rank).expect("an entry");
        let started = EntryName { state: self.started(name.state), ..name.clone() };
        if started.state != name.state {
            disk.esp_put(&format!("{ENTRIES}/{started}"), text.as_bytes());
            disk.esp_remove(&format!("{ENTRIES}/{name}"));
        }
        let [linux, initrd] = ["linux", "initrd"].map(|key| {
            let content = disk
                .esp_get(field(&text, key).trim_start_matches('/'))
                .expect("a file of the slot");
            let file = disk.beside(key);
            fs::write(&file, content).expect("room for a file");
            file
        });
        let machine = Machine::builder(linux, initrd).disk(disk.disk());
        (name.slot, machine.command_line(field(&text, "options")))
    }
}

fn field<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}

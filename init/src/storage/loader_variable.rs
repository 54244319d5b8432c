//! The disk that the boot loader has started from: systemd-boot stores the unique GUID of its EFI
//! system partition in the variable `LoaderDevicePartUUID` (Boot Loader Interface), and U-Boot passes
//! it on the kernel's command line. A box may have Octet on its flash and on a card: the running
//! slot, its tries and its data are on one of them.

use std::fs;
use std::path::Path;

use octet_esp::boot_counter::BootCounter;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::command_line;

/// The key on the kernel's command line, after `octet.`, where U-Boot passes the GUID.
const KEY: &str = "esp";

/// The mount point of the firmware's variables; it is mounted only while one is read.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The variable, with its vendor's GUID.
const NAME: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Bytes of attributes before a variable's value (Documentation/filesystems/efivarfs.rst).
const ATTRIBUTES: usize = 4;

/// The unique GUID of the partition in lower case; `None` if firmware and boot loader do not
/// provide it. U-Boot has variables of EFI, too, but they say nothing of this start.
pub fn partition(counter: BootCounter) -> Result<Option<String>, String> {
    match counter {
        BootCounter::EntryNames => Ok(variable()),
        BootCounter::BootState => Ok(command_line::value(KEY)?.and_then(|text| parse_guid(&text))),
    }
}

fn variable() -> Option<String> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = mount(c"efivarfs", VARIABLES, c"efivarfs", flags, c"");
    let value = fs::read(Path::new(VARIABLES).join(NAME));
    if mounted.is_ok() {
        let _ = unmount(VARIABLES, UnmountFlags::DETACH);
    }
    parse(&value.ok()?)
}

/// Parses zero-terminated UTF-16 text with a GUID.
fn parse(value: &[u8]) -> Option<String> {
    let units = value.get(ATTRIBUTES..)?.chunks_exact(2);
    let units = units.map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String =
        char::decode_utf16(units.take_while(|unit| *unit != 0)).collect::<Result<_, _>>().ok()?;
    parse_guid(&text)
}

fn parse_guid(text: &str) -> Option<String> {
    let is_guid = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_guid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_as_the_boot_loader_writes_it() {
        let variable = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            [6, 0, 0, 0].into_iter().chain(units).collect()
        };
        let guid = "0C7E7000-0000-4000-8000-0000000000AB";
        assert_eq!(parse(&variable(guid)), Some(guid.to_lowercase()));
        // The terminator may be missing.
        let open = variable(guid);
        assert_eq!(parse(&open[..open.len() - 2]), Some(guid.to_lowercase()));
        for bad in ["", "0C7E7000", &guid.replace('-', "0"), &guid.replace('C', "X"), "ä"] {
            assert_eq!(parse(&variable(bad)), None, "{bad}");
        }
        // U-Boot passes the text alone, and nothing if it does not know it.
        assert_eq!(parse_guid(guid), Some(guid.to_lowercase()));
        assert_eq!(parse_guid(""), None);
        for bad in [&b""[..], &[6, 0, 0], &[6, 0, 0, 0, 0, 0xd8, 0, 0]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}

//! What the kernel lists as mounted and as swap (proc_pid_mountinfo(5), proc_swaps(5)).

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    pub major: u32,
    pub minor: u32,
}

impl Number {
    /// From `st_dev` or `st_rdev`.
    pub fn new(device: u64) -> Self {
        Self { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
    }

    /// From the kernel's `8:1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device; some file systems (btrfs) have a number that is not a device's.
    pub device: Number,
    pub at: PathBuf,
    /// What was mounted: for file systems on a device, the device's path.
    pub source: PathBuf,
}

/// The mounts in `/proc/self/mountinfo`. Lines that are not understood are left out.
pub fn mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // Some optional fields end in a single hyphen; behind it are type and source.
    let hyphen = 6 + fields.get(6..)?.iter().position(|field| *field == b"-")?;
    Some(Mount {
        device: Number::parse(std::str::from_utf8(fields.get(2)?).ok()?)?,
        at: path(fields.get(4)?),
        source: path(fields.get(hyphen + 2)?),
    })
}

/// The devices and files in `/proc/swaps`.
pub fn swaps(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ' || *byte == b'\t').next())
        .filter(|field| !field.is_empty())
        .map(path)
        .collect()
}

/// A path as the kernel writes it: blanks and backslashes are three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = vec![];
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        (rest, _) = match value {
            Some(value) => (&behind[3..], bytes.push(value)),
            None => (behind, bytes.push(*first)),
        };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTINFO: &[u8] = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
        36 27 8:17 / /media/A\\040stick rw shared:9 master:1 - vfat /dev/sdb1 rw\n\
        40 27 0:33 /sub /home rw - btrfs /dev/nvme0n1p2 rw\n\
        half a line 1:2\n";

    #[test]
    fn reads_what_the_kernel_writes() {
        let found = mounts(MOUNTINFO);
        let short: Vec<_> = found
            .iter()
            .map(|it| format!("{} {} {}", it.device, it.at.display(), it.source.display()))
            .collect();
        assert_eq!(
            short,
            ["254:0 / /dev/vda", "8:17 /media/A stick /dev/sdb1", "0:33 /home /dev/nvme0n1p2"]
        );
        let text =
            b"Filename\t\tType\t\tSize\n/dev/sda2  partition\t99\t0\t-2\n/swap\\040file file 1\n";
        assert_eq!(swaps(text), [PathBuf::from("/dev/sda2"), "/swap file".into()]);
        assert!(swaps(b"Filename Type\n").is_empty());
    }

    #[test]
    fn reads_those_of_this_machine() {
        let found = mounts(&std::fs::read("/proc/self/mountinfo").unwrap());
        // Not `/`: inside a chroot there is none.
        assert!(found.iter().any(|mount| mount.at.as_os_str() == "/proc"));
    }

    proptest! {
        #[test]
        fn never_panics(text in prop::collection::vec(prop::sample::select(
            b"01:/- \\\n\t7a".to_vec()), 0..80)) {
            mounts(&text);
            swaps(&text);
        }

        /// What is escaped as the kernel does it comes back.
        #[test]
        fn unescapes(bytes in prop::collection::vec(1u8.., 1..20)) {
            let escape = |byte: &u8| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                other => vec![*other],
            };
            let escaped: Vec<u8> = bytes.iter().flat_map(escape).collect();
            prop_assert_eq!(path(&escaped).into_os_string().into_vec(), bytes);
        }
    }
}

//! The time as an owner has stated it. The expiry of commands must not depend on the box's clock:
//! setting it back would make expired commands valid again.

use std::io;
use std::path::{Path, PathBuf};

use octet_node::boot::uptime;
use octet_node::durable;

/// The first word of the file: the version of the format.
const VERSION: &str = "octet-time-1";

/// The maximum size of the file, in bytes.
const LONGEST: u64 = 256;

/// The time that was stated in this boot, if any.
#[derive(Debug)]
pub struct Trusted {
    path: Option<PathBuf>,
    boot: String,
    /// The stated time (seconds since 1970), and the uptime at that moment, in seconds.
    stated: Option<(u64, u64)>,
}

impl Trusted {
    /// Loads the time that was stated in this boot, whose id is `boot`, from `folder`.
    pub fn open(folder: Option<&Path>, boot: String) -> Self {
        let path = folder.map(|folder| folder.join("time"));
        let kept = path.as_deref().and_then(|path| durable::read(path, LONGEST).ok()?);
        let stated = kept.and_then(|line| parse(&line, &boot));
        Self { path, boot, stated }
    }

    /// The time, in seconds since 1970; `None` until an owner has stated it.
    pub fn now(&self) -> Option<u64> {
        self.at(uptime().as_secs())
    }

    fn at(&self, uptime: u64) -> Option<u64> {
        let (time, stated_at) = self.stated?;
        Some(time.saturating_add(uptime.saturating_sub(stated_at)))
    }

    /// Sets the time as stated by an owner.
    ///
    /// # Errors
    /// The disk cannot store the time; it is not trusted then.
    pub fn state(&mut self, time: u64) -> io::Result<()> {
        let uptime = uptime().as_secs();
        if let Some(path) = &self.path {
            let line = format!("{VERSION} {} {time} {uptime}\n", self.boot);
            durable::replace(path, line.as_bytes())?;
        }
        self.stated = Some((time, uptime));
        Ok(())
    }
}

fn parse(line: &[u8], boot: &str) -> Option<(u64, u64)> {
    let mut words = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split(' ');
    let this = words.next()? == VERSION && words.next()? == boot && !boot.is_empty();
    let stated = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (this && words.next().is_none()).then_some(stated)
}

/// The id of this boot.
pub fn this_boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    #[test]
    fn for_this_boot_only() {
        let folder = TempDir::new().unwrap();
        let open = |boot: &str| Trusted::open(Some(folder.path()), boot.to_owned());
        let mut trusted = open("a");
        assert_eq!(trusted.now(), None);
        trusted.state(1_800_000_000).unwrap();
        let (_, at) = trusted.stated.unwrap();
        assert_eq!(trusted.at(at + 7), Some(1_800_000_007));
        assert_eq!(open("a").at(at + 7), Some(1_800_000_007));
        assert_eq!((open("b").now(), open("").now()), (None, None));
        std::fs::write(folder.path().join("time"), "octet-time-1 a 1").unwrap();
        assert_eq!(open("a").now(), None);
    }

    proptest! {
        #[test]
        fn never_panics(line in "(octet-time-1 )?[a-z0-9 ]{0,40}\\n?") {
            let _ = parse(line.as_bytes(), "a");
        }
    }
}

//! The EFI system partition: FAT32, with the same bytes for the same files.

pub mod dot_entries;

use std::io::{self, Seek, Write};
use std::time::{Duration, UNIX_EPOCH};

use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
};

use super::sparse::Sparse;

/// The serial number of the volume, the same in every image.
const VOLUME_ID: u32 = 0x0c7e_7000;

/// The volume's label, padded as FAT keeps it.
const LABEL: [u8; 11] = *b"OCTET      ";

/// Bytes of a cluster. With twice as many the partition would have too few for FAT32.
const CLUSTER: u32 = 2048;

/// A file or a folder on the ESP.
#[derive(Debug)]
pub struct EspItem<'a> {
    /// Its path, without a leading `/`.
    pub path: String,
    /// The content of a file, nothing for a folder.
    pub content: Option<&'a [u8]>,
}

/// The time of everything on the ESP.
#[derive(Debug)]
struct Clock(DateTime);

impl TimeProvider for Clock {
    fn get_current_date(&self) -> Date {
        self.0.date
    }

    fn get_current_date_time(&self) -> DateTime {
        self.0
    }
}

/// A file system of `size` bytes with `items`, each folder before what is in it; all times are
/// `epoch`, in seconds since 1970.
pub fn build(size: u64, epoch: u32, items: &[EspItem<'_>]) -> io::Result<Sparse> {
    let mut esp = Sparse::new(size);
    let format = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER)
        .volume_id(VOLUME_ID)
        .volume_label(LABEL);
    fatfs::format_volume(&mut esp, format)?;
    let options = options(epoch);

    let fs = mount(&mut esp, options)?;
    for item in items.iter().filter(|item| item.content.is_none()) {
        fs.root_dir().create_dir(&item.path)?;
    }
    fs.unmount()?;
    dot_entries::repair(&mut esp)?;

    let fs = mount(&mut esp, options)?;
    for item in items {
        if let Some(content) = item.content {
            let mut file = fs.root_dir().create_file(&item.path)?;
            file.write_all(content)?;
            file.flush()?;
        }
    }
    fs.stats()?; // counts the free clusters: the number is written with the rest
    fs.unmount()?;
    Ok(esp)
}

/// With these, what is written has the time `epoch`, in seconds since 1970.
pub fn options(epoch: u32) -> FsOptions {
    at(time(epoch))
}

fn at(time: DateTime) -> FsOptions {
    // fatfs keeps it for good; it is one date.
    let clock: &'static Clock = Box::leak(Box::new(Clock(time)));
    FsOptions::new().time_provider(clock).update_accessed_date(false)
}

/// Puts files into the file system `esp`, each in place of the one that may be there. They get the time of the folder
/// `octet`, as all else has: the same files in the same file system make the same bytes.
pub fn add<'a>(
    esp: &mut Sparse,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<()> {
    let fs = mount(esp, FsOptions::new())?;
    let found = fs.root_dir().iter().find_map(|entry| {
        let entry = entry.ok()?;
        (entry.is_dir() && entry.file_name() == "octet").then(|| entry.modified())
    });
    fs.unmount()?;
    let Some(time) = found else { return Err(io::ErrorKind::NotFound.into()) };
    let fs = mount(esp, at(time))?;
    for (path, content) in files {
        let mut file = fs.root_dir().create_file(path)?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
    }
    fs.unmount()
}

/// fatfs takes the place it finds for the beginning of the volume.
fn mount(esp: &mut Sparse, options: FsOptions) -> io::Result<FileSystem<&mut Sparse>> {
    esp.rewind()?;
    FileSystem::new(esp, options)
}

/// `epoch` as FAT has it: two seconds are the least that it tells apart, and 1980 is its first
/// year. 2106, the last one of `epoch`, is before its last.
fn time(epoch: u32) -> DateTime {
    const FIRST: u32 = 315_532_800; // 1980-01-01
    let time = UNIX_EPOCH + Duration::from_secs(epoch.max(FIRST).into());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    // YYYY-MM-DDTHH:MM:SSZ
    let mut numbers = text.split(['-', 'T', ':', 'Z']).map(|digits| digits.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    DateTime {
        date: Date { year: next(), month: next(), day: next() },
        time: Time { hour: next(), min: next(), sec: next(), millis: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const SIZE: u64 = 256 << 20;

    fn folder(path: &str) -> EspItem<'_> {
        EspItem { path: path.into(), content: None }
    }

    #[test]
    fn what_is_put_in_is_there() {
        let large: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        let file = |path: &str, content| EspItem { path: path.into(), content: Some(content) };
        let items = || {
            let long = file("one/two/a long name+3.conf", b"text".as_slice());
            [folder("one"), folder("one/two"), long, file("one/large", &large), file("none", b"")]
        };
        let mut esp = build(SIZE, 1_795_132_800, &items()).unwrap();
        assert_eq!(esp.digest(), build(SIZE, 1_795_132_800, &items()).unwrap().digest());
        assert_ne!(esp.digest(), build(SIZE, 1_795_132_802, &items()).unwrap().digest());
        let fs = mount(&mut esp, FsOptions::new()).unwrap();
        assert_eq!((fs.fat_type(), fs.volume_id()), (FatType::Fat32, VOLUME_ID));
        assert_eq!(fs.volume_label(), "OCTET");
        let read = |path: &str| {
            let mut bytes = vec![];
            fs.root_dir().open_file(path).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read("one/two/a long name+3.conf"), b"text");
        assert!(read("one/large") == large && read("none").is_empty());
        for entry in fs.root_dir().open_dir("one").unwrap().iter().map(Result::unwrap) {
            let date = entry.modified().date;
            assert_eq!((date.year, date.month, date.day), (2026, 11, 20));
        }
    }

    /// The text of a file that is of the time of all others.
    fn read(esp: &mut Sparse, path: &str) -> String {
        let fs = mount(esp, FsOptions::new()).unwrap();
        let root = fs.root_dir();
        let (folder, _) = path.split_once('/').unwrap();
        for entry in root.open_dir(folder).unwrap().iter().map(Result::unwrap) {
            assert_eq!(entry.modified().date.year, 2026, "{}", entry.file_name());
        }
        let mut text = String::new();
        root.open_file(path).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_is_added() {
        let made = || {
            let old = EspItem { path: "octet/old".into(), content: Some(b"old") };
            build(SIZE, 1_795_132_800, &[folder("octet"), old]).unwrap()
        };
        let [mut esp, mut other] = [made(), made()];
        assert!(add(&mut esp, [("nowhere/board.toml", &b"x"[..])]).is_err());
        assert_eq!(esp.digest(), made().digest());
        // A shorter text leaves nothing of a longer one.
        for text in ["board = \"router\"\n", "board = 3\n"] {
            for esp in [&mut esp, &mut other] {
                add(esp, [("octet/board.toml", text.as_bytes())]).unwrap();
                assert_eq!(read(esp, "octet/board.toml"), text);
            }
            assert_eq!(esp.digest(), other.digest());
        }
        assert_eq!(read(&mut esp, "octet/old"), "old");
    }

    #[test]
    fn a_full_partition_is_an_error() {
        let content = vec![1; 40 << 20];
        let item = EspItem { path: "large".into(), content: Some(&content) };
        assert!(build(36 << 20, 0, &[item]).is_err());
    }

    #[test]
    fn times_fit_into_fat() {
        let text = |epoch: u32| format!("{:?}", time(epoch));
        assert!(text(0).contains("year: 1980, month: 1, day: 1"), "{}", text(0));
        let late = text(u32::MAX);
        assert!(late.contains("year: 2106, month: 2, day: 7"), "{late}");
        assert!(late.contains("hour: 6, min: 28, sec: 15"), "{late}");
    }
}

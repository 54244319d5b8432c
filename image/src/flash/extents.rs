//! Where a sparse file has data.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// The places of the first `len` bytes of `file` that have data, in order; all the rest is zero.
/// Of a file system that knows no holes, and of a device, that is all of it.
pub fn data(file: &File, len: u64) -> io::Result<Vec<Range<u64>>> {
    let mut found = vec![];
    let mut at = 0;
    // Each turn ends behind where it began.
    while at < len {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < len => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // This kind of file has no holes.
            Err(Errno::INVAL) => {
                found.push(at..len);
                break;
            }
            Err(error) => return Err(error.into()),
        };
        at = seek(file, SeekFrom::Hole(start))?.clamp(start + 1, len);
        found.push(start..at);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn finds_data_and_only_data() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(data(&file, 0).unwrap(), []);
        file.set_len(8 << 20).unwrap();
        assert_eq!(data(&file, 8 << 20).unwrap(), []);
        for at in [1 << 20, 5 << 20] {
            file.write_all_at(&[1; 4096], at).unwrap();
        }
        let found = data(&file, 8 << 20).unwrap();
        for at in [1 << 20, 5 << 20] {
            assert!(found.iter().any(|range| range.contains(&at)), "{found:?}");
        }
        assert!(found.iter().map(|range| range.end - range.start).sum::<u64>() < 1 << 20);
        // What is beyond the length that was asked for does not count.
        assert!(data(&file, 2 << 20).unwrap().iter().all(|range| range.end <= 2 << 20));
    }
}

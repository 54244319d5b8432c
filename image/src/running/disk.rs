//! The disk of the machine that `cargo image run --disk` boots: a copy of the image, on a larger
//! medium, as if it had been flashed. It keeps its data from one run to the next, and is made anew
//! when the image is another one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use octet_appliance::BoardId;
use octet_machine::Node;

use crate::flash::board;
use crate::output::file;
use crate::output::sparse::Sparse;
use crate::output::sums;

/// The medium's size, in bytes.
const MEDIUM: u64 = 1 << 30;

/// The disk, and whether it was made just now.
#[derive(Debug)]
pub struct WorkingDisk {
    /// The file.
    pub path: PathBuf,
    /// Whether it was made just now.
    pub fresh: bool,
}

impl WorkingDisk {
    /// That of the image in `folder`: a file in `cache` beside it, because all in `folder` itself is
    /// what the inputs give. Of several machines each `node` has one of its own, and the router's says so.
    ///
    /// # Errors
    /// The folders cannot be read or written.
    pub fn of(folder: &Path, node: Option<Node>) -> io::Result<Self> {
        let own = node.map(|node| format!(".{node}")).unwrap_or_default();
        let [path, mark] =
            ["disk", "disk.from"].map(|what| beside(folder, &format!("{own}.{what}")));
        let sums = fs::read(folder.join(sums::NAME))?;
        if path.is_file() && fs::read(&mark).is_ok_and(|from| from == sums) {
            return Ok(Self { path, fresh: false });
        }
        if node == Some(Node::Router) {
            // The box makes new keys: who knows the old ones would take it for another.
            match fs::remove_dir_all(config(folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        let mut image = Sparse::read(&File::open(folder.join("octet.img"))?)?;
        if node == Some(Node::Router) {
            board::put(&mut image, BoardId::ROUTER).map_err(io::Error::other)?;
        }
        // Without its mark a disk that is half made is made again.
        file::remove(&mark).map_err(io::Error::other)?;
        // A machine that still runs from the one before keeps that.
        let fill = |disk: &File| image.write_to(disk).and_then(|()| disk.set_len(MEDIUM));
        file::write_with(&path, fill).map_err(io::Error::other)?;
        fs::write(&mark, sums)?;
        Ok(Self { path, fresh: true })
    }
}

/// The folder for the settings of devices in the lan of a box whose machines have such disks.
pub fn config(folder: &Path) -> PathBuf {
    beside(folder, ".config")
}

/// A file of the image in `folder` that is no part of it.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let target = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name("cache").join(format!("{target}{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn keeps_its_data_until_the_image_changes() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("qemu-x86_64");
        fs::create_dir(&folder).unwrap();
        fs::create_dir(out.path().join("cache")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write(sums::NAME, "one");
        write("octet.img", "an image");
        let first = WorkingDisk::of(&folder, None).unwrap();
        assert!(first.fresh && !first.path.starts_with(&folder));
        let disk = File::options().read(true).write(true).open(&first.path).unwrap();
        assert_eq!(disk.metadata().unwrap().len(), MEDIUM);
        let mut start = [0; 8];
        disk.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(&start, b"an image");
        disk.write_all_at(b"data", 1 << 29).unwrap();

        assert!(!WorkingDisk::of(&folder, None).unwrap().fresh);
        write(sums::NAME, "two");
        assert!(WorkingDisk::of(&folder, None).unwrap().fresh);
        let mut data = [1; 4];
        let disk = File::open(&first.path).unwrap();
        disk.read_exact_at(&mut data, 1 << 29).unwrap();
        assert_eq!(data, [0; 4]);
    }
}

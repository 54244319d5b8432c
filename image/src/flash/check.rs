//! What an image is not written to.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::block::{Host, SysfsBlock};
use super::error::FlashError;
use super::image::ImageFile;
use super::in_use;
use super::mounts::Number;

/// What stands at a path.
#[derive(Debug)]
pub enum PathContent {
    /// Nothing: a file can be made.
    Nothing,
    /// A file that nobody uses as a disk.
    File(Metadata),
    /// A whole disk that nobody uses.
    Disk(SysfsBlock),
}

/// Looks at what stands at `path`; touches nothing.
pub fn inspect(path: &Path, host: &Host) -> Result<PathContent, FlashError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return absent(path),
        Err(why) => return Err(FlashError::Open { path: path.to_owned(), why }),
    };
    let kind = metadata.file_type();
    if kind.is_file() {
        return match in_use::loop_device_of(host, metadata.dev(), metadata.ino()) {
            None => Ok(PathContent::File(metadata)),
            Some(block) => Err(FlashError::BehindLoop {
                path: path.to_owned(),
                device: block.path().display().to_string(),
            }),
        };
    }
    if kind.is_block_device() {
        let missing = || FlashError::NoDevice { path: path.to_owned() };
        let block = host.block(Number::new(metadata.rdev())).ok_or_else(missing)?;
        disk(path, &block, host)?;
        return Ok(PathContent::Disk(block));
    }
    let kind = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_char_device() => "a character device",
        () if kind.is_socket() => "a socket",
        () => "something else",
    };
    Err(FlashError::WrongKind { path: path.to_owned(), kind })
}

/// A mistyped device must not become a file that fills the memory.
fn absent(path: &Path) -> Result<PathContent, FlashError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")))
        .map_err(|why| FlashError::Open { path: path.to_owned(), why })?;
    if parent.starts_with("/dev") && !parent.starts_with("/dev/shm") {
        return Err(FlashError::NoDevice { path: path.to_owned() });
    }
    Ok(PathContent::Nothing)
}

/// Sees that `block` is a whole disk that can be written and that nobody uses.
pub fn disk(path: &Path, block: &SysfsBlock, host: &Host) -> Result<(), FlashError> {
    let path = path.to_owned();
    // What is mounted comes first: of a disk that must not be written to, nobody is to be told to
    // name the whole of it.
    if let Some(by) = in_use::disk_user(host, block) {
        return Err(FlashError::InUse { path, by });
    }
    if let Some(whole) = block.disk() {
        if let Some(by) = in_use::disk_user(host, &whole) {
            return Err(FlashError::InUse { path, by });
        }
        return Err(FlashError::Partition { path, disk: whole.path().display().to_string() });
    }
    if block.is_read_only() {
        return Err(FlashError::ReadOnly { path });
    }
    Ok(())
}

/// Sees that `image` has a place on what was opened as `file`, of `len` bytes.
///
/// # Errors
/// It has not, or it is what was opened.
pub fn check_fits(
    image: &ImageFile,
    path: &Path,
    file: &File,
    disk: Option<&SysfsBlock>,
    len: u64,
) -> Result<(), FlashError> {
    let path = path.to_owned();
    let Some(disk) = disk else {
        let itself = file.metadata().is_ok_and(|file| image.is_file(file.dev(), file.ino()));
        return if itself { Err(FlashError::Itself { path }) } else { Ok(()) };
    };
    let behind = disk.backing_file().and_then(|path| path.metadata().ok());
    if behind.is_some_and(|file| image.is_file(file.dev(), file.ino())) {
        return Err(FlashError::Itself { path });
    }
    if len < image.len() {
        return Err(FlashError::TooSmall { path, has: len, needs: image.len() });
    }
    if disk.sector() != 512 && image.has_table() {
        return Err(FlashError::OtherSectors { path, has: disk.sector() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::block::made_up::BlockMachine;
    use super::super::in_use::DiskUser;
    use super::*;

    #[test]
    fn only_whole_disks_that_can_be_written() {
        let machine = BlockMachine::new();
        machine.mount(&[]);
        let folder = machine.add("sda", "8:0");
        machine.add("sda/sda1", "8:1");
        let host = machine.host();
        let [whole, part] = ["8:0", "8:1"].map(|it| host.block(BlockMachine::number(it)).unwrap());
        let check = |block: &SysfsBlock| disk(Path::new("/dev/it"), block, &host);
        check(&whole).unwrap();
        let refused = check(&part).unwrap_err();
        assert!(matches!(&refused, FlashError::Partition { disk, .. } if disk == "/dev/sda"));
        // Of the system's disk no partition is written either, mounted or not.
        machine.add("sda/sda2", "8:2");
        machine.mount(&[("8:2", "/", "none")]);
        for block in [&whole, &part] {
            let refused = check(block).unwrap_err();
            let is_system =
                matches!(&refused, FlashError::InUse { by: DiskUser::System { .. }, .. });
            assert!(is_system, "{refused}");
        }
        machine.mount(&[]);
        check(&whole).unwrap();
        fs::write(folder.join("ro"), "1\n").unwrap();
        assert!(matches!(check(&whole), Err(FlashError::ReadOnly { .. })));
    }

    #[test]
    fn no_file_is_made_among_devices() {
        let host = Host::local();
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(inspect(&folder.path().join("new"), &host), Ok(PathContent::Nothing)));
        let typo = inspect(Path::new("/dev/sdnone"), &host);
        assert!(matches!(typo, Err(FlashError::NoDevice { .. })));
        let nowhere = inspect(&folder.path().join("no/such/folder"), &host);
        assert!(matches!(nowhere, Err(FlashError::Open { .. })));
    }
}

//! An image for one node of a box: all nodes start from the same one, and a file on the EFI system
//! partition says which of them the flash is for.

use octet_appliance::{BoardFile, BoardId};

use super::error::FlashError;
use super::image::ImageFile;
use crate::output::sparse::Sparse;
use crate::output::{esp, gpt};

impl ImageFile {
    /// A copy of this image with a file that says that it is for `board`.
    ///
    /// # Errors
    /// It is no image of Octet's, or there is no room for a copy.
    pub fn of_board(&self, board: BoardId) -> Result<Self, FlashError> {
        self.copy_with(|disk| put(disk, board))
    }
}

/// Puts a file onto `disk` that says that it is for `board`.
pub fn put(disk: &mut Sparse, board: BoardId) -> Result<(), String> {
    let range = gpt::find_esp(disk).ok_or("it has no EFI system partition of Octet's")?;
    let mut part = disk.part(range.clone()).map_err(|error| error.to_string())?;
    let text = BoardFile { board }.render();
    let place = BoardFile::PATH.split_once('/').unwrap_or_default();
    esp::add(&mut part, place, text.as_bytes())
        .map_err(|error| format!("{} cannot be put on it: {error}", BoardFile::PATH))?;
    disk.write_part(range.start, part);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::gpt::DiskLayout;
    use std::io::{Seek, Write};
    use std::path::Path;

    /// An image with just what is looked at, and something behind it.
    fn image(path: &Path) -> Sparse {
        let folder = esp::EspItem { path: "octet".into(), content: None };
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        gpt::write(&mut disk, DiskLayout::Uefi).unwrap();
        disk.write_part(
            DiskLayout::Uefi.esp_start(),
            esp::build(gpt::ESP_SIZE, 1_795_132_800, &[folder]).unwrap(),
        );
        disk.seek(std::io::SeekFrom::Start(DiskLayout::Uefi.esp_start() + gpt::ESP_SIZE)).unwrap();
        disk.write_all(b"data").unwrap();
        disk.write_to(&std::fs::File::create(path).unwrap()).unwrap();
        disk
    }

    fn digest(image: &ImageFile) -> crate::digest::Sha256 {
        let mut disk = Sparse::new(image.len());
        for range in image.data() {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            image.read(range.start, &mut bytes).unwrap();
            disk.seek(std::io::SeekFrom::Start(range.start)).unwrap();
            disk.write_all(&bytes).unwrap();
        }
        disk.digest()
    }

    #[test]
    fn only_the_esp_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("octet.img");
        let mut disk = image(&path);
        let plain = ImageFile::open(&path).unwrap();
        assert_eq!(digest(&plain), disk.digest());
        let of_board = plain.of_board(BoardId::ROUTER).unwrap();
        assert_eq!((of_board.len(), of_board.path()), (plain.len(), plain.path()));
        assert_eq!(digest(&of_board), digest(&plain.of_board(BoardId::ROUTER).unwrap()));
        assert_ne!(digest(&of_board), digest(&plain));
        assert_eq!(digest(&plain), disk.digest(), "the image itself is as it was");
        let mut part = disk
            .part(DiskLayout::Uefi.esp_start()..DiskLayout::Uefi.esp_start() + gpt::ESP_SIZE)
            .unwrap();
        esp::add(&mut part, ("octet", "board.toml"), b"board = \"router\"\n").unwrap();
        disk.write_part(DiskLayout::Uefi.esp_start(), part);
        assert_eq!(digest(&of_board), disk.digest());
    }

    #[test]
    fn only_images_of_octets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.img");
        std::fs::write(&path, [7; 1 << 20]).unwrap();
        let refused = ImageFile::open(&path).unwrap().of_board(BoardId::ROUTER);
        assert!(matches!(refused, Err(FlashError::BadImage { what, .. }) if what.contains("EFI")));
    }
}
